//! A response as a test looks at it.

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};

/// A complete response.
///
/// ```
/// use tidegate_http::testing::TestServer;
/// use tidegate_http::{Request, Response, Router};
///
/// let app = Router::new().get("/", async |_request: Request| Response::html("<h1>Hello</h1>"));
/// let response = TestServer::new(app).get("/").send().assert_status(200);
/// assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
/// assert!(response.text().contains("Hello"));
/// ```
#[derive(Debug, Clone)]
pub struct TestResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Bytes,
    pub(super) trailers: HeaderMap,
}

impl TestResponse {
    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the value of the first field of this name; `None` if it is missing, or not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the value of a cookie that the response sets, as it is in the field.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        set_cookies(&self.headers).find(|cookie| cookie.name == name).map(|cookie| cookie.value)
    }

    /// Returns the content, without its transfer coding.
    pub fn bytes(&self) -> &Bytes {
        &self.content
    }

    /// Returns the content as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.content) {
            Ok(text) => text,
            Err(error) => panic!("the content is not text: {error}"),
        }
    }

    /// Returns the content as JSON.
    ///
    /// # Panics
    /// If it is not JSON, or does not fit the type.
    #[cfg(feature = "json")]
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.content) {
            Ok(value) => value,
            Err(error) => panic!("{error} in the content {:?}", String::from_utf8_lossy(&self.content)),
        }
    }

    /// Returns the trailers.
    pub fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }

    /// Checks the status, and returns the response.
    ///
    /// # Panics
    /// If it is another one. The message has the content.
    #[track_caller]
    pub fn assert_status(self, status: u16) -> TestResponse {
        assert!(
            self.status == status,
            "the status is {}, not {status}; the content is {:?}",
            self.status,
            String::from_utf8_lossy(&self.content)
        );
        self
    }
}

/// A cookie that a response sets.
pub(super) struct SetCookie<'r> {
    pub(super) name: &'r str,
    pub(super) value: &'r str,
    /// It asks the client to forget the cookie.
    pub(super) is_removal: bool,
}

pub(super) fn set_cookies(headers: &HeaderMap) -> impl Iterator<Item = SetCookie<'_>> {
    headers.get_all(SET_COOKIE).iter().filter_map(|field| {
        let mut parts = field.to_str().ok()?.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let is_removal = parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0"));
        Some(SetCookie { name: name.trim(), value: value.trim(), is_removal })
    })
}
