//! Path parameters and queries, decoded and converted.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use crate::extract::rejection::Rejection;
use crate::message::head::RequestHead;

/// # Typed and decoded parts
impl RequestHead {
    /// Returns the value of a path parameter, parsed.
    ///
    /// ```
    /// use tidegate_http::{Rejection, Request, Router};
    ///
    /// async fn page(request: Request) -> Result<String, Rejection> {
    ///     let number: u32 = request.param_as("number")?;
    ///     Ok(format!("page {number}"))
    /// }
    ///
    /// let app = Router::new().get("/pages/:number", page);
    /// ```
    ///
    /// # Errors
    /// [`Rejection::Param`] (400) if it does not parse, [`Rejection::ParamMissing`] (500) if the route has no such
    /// parameter.
    pub fn param_as<T>(&self, name: &str) -> Result<T, Rejection>
    where
        T: FromStr,
        T::Err: Display,
    {
        let value = self.param(name).ok_or_else(|| Rejection::ParamMissing(name.to_owned()))?;
        value.parse().map_err(|error: T::Err| Rejection::Param { name: name.to_owned(), reason: error.to_string() })
    }

    /// Returns the first value of this name in the query, decoded as [`query_pairs`](RequestHead::query_pairs) does;
    /// `None` if there is none.
    ///
    /// ```
    /// let head = b"GET /find?text=a+%26%20b&page=2 HTTP/1.1\r\nHost: a\r\n\r\n";
    /// let request = tidegate_http::Request::parse(head, "")?;
    /// assert_eq!(request.query("text").as_deref(), Some("a & b"));
    /// assert_eq!(request.query("size"), None);
    /// # Ok::<(), tidegate_http::protocol::RequestError>(())
    /// ```
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.raw_query()?.split('&').find_map(|pair| {
            if !pair.contains('%') && !pair.contains('+') {
                // As it is: a long value is not walked through byte by byte.
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                return (key == name && !pair.is_empty()).then_some(Cow::Borrowed(value));
            }
            let (key, value) = form_urlencoded::parse(pair.as_bytes()).next()?;
            (key == name).then_some(value)
        })
    }

    /// Returns the names and values in the query, decoded as HTML forms encode them
    /// (`application/x-www-form-urlencoded`): a plus sign is a space, percent signs are decoded, and bytes that are not
    /// UTF-8 are replaced by U+FFFD. Nothing is malformed.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.raw_query().unwrap_or_default().as_bytes())
    }

    /// Returns the query as a type. Fields of the type have the names of the query; an [`Option`] can be missing, a
    /// [`Vec`] takes all values of its name, and unknown names are ignored.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tidegate_http::{Rejection, Request};
    ///
    /// #[derive(Deserialize)]
    /// struct Page {
    ///     number: u32,
    ///     #[serde(default)]
    ///     tag: Vec<String>,
    /// }
    ///
    /// async fn list(request: Request) -> Result<String, Rejection> {
    ///     let page: Page = request.query_as()?; // ?number=2&tag=a&tag=b
    ///     Ok(format!("page {} of {:?}", page.number, page.tag))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Rejection::Query`] (400).
    #[cfg(feature = "form")]
    pub fn query_as<'de, T: serde::Deserialize<'de>>(&'de self) -> Result<T, Rejection> {
        let query = self.raw_query().unwrap_or_default();
        serde_html_form::from_str(query).map_err(|error| Rejection::Query(error.to_string()))
    }
}
