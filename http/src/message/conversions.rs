//! Conversions from the types of the `http` and `bytes` crates.

use bytes::Bytes;

use crate::message::into_response::IntoResponse;
use crate::message::response::{Response, ResponseBody};

/// Status, fields and content. Version and extensions have no counterpart.
///
/// ```
/// use tidegate_http::Response;
///
/// let built = http::Response::builder().status(201).header("x-number", "7").body("created").expect("valid");
/// let response = Response::from(built);
/// assert_eq!(response.status(), 201);
/// assert_eq!(response.body().length(), Some(7));
/// ```
impl<B: Into<ResponseBody>> From<http::Response<B>> for Response {
    fn from(response: http::Response<B>) -> Response {
        let (parts, body) = response.into_parts();
        let mut converted = Response::new(parts.status).with_body(body.into());
        for (name, value) in &parts.headers {
            converted.append_header(name.clone(), value.clone());
        }
        converted
    }
}

impl<B: Into<ResponseBody>> IntoResponse for http::Response<B> {
    fn into_response(self) -> Response {
        self.into()
    }
}

impl From<()> for ResponseBody {
    fn from((): ()) -> ResponseBody {
        ResponseBody::Empty
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> ResponseBody {
        ResponseBody::Bytes(bytes)
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> ResponseBody {
        ResponseBody::Bytes(bytes.into())
    }
}

impl From<String> for ResponseBody {
    fn from(text: String) -> ResponseBody {
        ResponseBody::Bytes(text.into())
    }
}

impl From<&'static str> for ResponseBody {
    fn from(text: &'static str) -> ResponseBody {
        ResponseBody::Bytes(Bytes::from_static(text.as_bytes()))
    }
}
