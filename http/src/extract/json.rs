//! JSON content, in requests and in responses.

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::extract::media_type::media_type;
use crate::extract::rejection::Rejection;
use crate::message::request::Request;
use crate::message::response::Response;

/// # JSON
impl Request {
    /// Reads the rest of the content as JSON, up to the same limit as [`bytes`](Request::bytes).
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use tidegate_http::{Rejection, Request, Response};
    ///
    /// #[derive(Deserialize)]
    /// struct Order {
    ///     item: String,
    ///     count: u32,
    /// }
    ///
    /// #[derive(Serialize)]
    /// struct Receipt {
    ///     number: u64,
    /// }
    ///
    /// async fn order(mut request: Request) -> Result<Response, Rejection> {
    ///     let order: Order = request.json().await?;
    ///     println!("{} of {}", order.count, order.item);
    ///     Ok(Response::json(&Receipt { number: 1 }))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Rejection::MediaType`] (415) unless Content-Type is `application/json` or ends with `+json`,
    /// [`Rejection::Malformed`] (400) for content that is not JSON, [`Rejection::Content`] (422) for JSON that does not
    /// fit the type, and [`Rejection::Body`].
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Rejection> {
        if !is_json(media_type(self)) {
            return Err(Rejection::MediaType("application/json"));
        }
        let content = self.bytes().await?;
        serde_json::from_slice(&content).map_err(refuse)
    }
}

/// # JSON
impl Response {
    /// Creates a 200 with a value as JSON, as `application/json`. A value that has no JSON form, such as a map whose
    /// keys are not text, is logged and answered with 500.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use tidegate_http::{Response, ResponseBody};
    ///
    /// let response = Response::json(&BTreeMap::from([("hello", "world")]));
    /// assert!(matches!(response.body(), ResponseBody::Bytes(json) if json == r#"{"hello":"world"}"#));
    /// ```
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Response {
        match serde_json::to_vec(value) {
            Ok(json) => Response::json_bytes(json),
            Err(error) => {
                log::error!("a response has no JSON form: {error}");
                Response::text("internal server error\n").with_status(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

fn is_json(media_type: &str) -> bool {
    let Some((kind, subtype)) = media_type.split_once('/') else { return false };
    let subtype = subtype.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application") && (subtype == "json" || subtype.ends_with("+json"))
}

fn refuse(error: serde_json::Error) -> Rejection {
    match error.classify() {
        Category::Data => Rejection::Content(error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => Rejection::Malformed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_of_json() {
        for (media_type, expected) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/problem+json", true),
            ("application/jsonp", false),
            ("text/json", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_json(media_type), expected, "{media_type}");
        }
    }
}
