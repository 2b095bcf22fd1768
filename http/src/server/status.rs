//! A status page whose content the application gives.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};

use crate::message::request::Request;
use crate::message::response::{Response, ResponseBody};
use crate::server::handler::{Handler, Reply, SharedAcrossThreads};

/// Creates a handler for load balancers and monitors, which answers each request with content that a function returns,
/// of this media type, and which nobody may cache.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tidegate_http::{Router, status_handler};
///
/// static JOBS: AtomicU64 = AtomicU64::new(0);
///
/// let status = || format!("{{\"jobs\":{}}}", JOBS.load(Ordering::Relaxed));
/// let app = Router::new().get("/status", status_handler("application/json", status));
/// ```
///
/// # Panics
/// If the media type has a character that a field value cannot have.
pub fn status_handler<F, C>(media_type: &'static str, content: F) -> StatusHandler<F>
where
    F: Fn() -> C + SharedAcrossThreads,
    C: Into<Bytes>,
{
    StatusHandler { media_type: HeaderValue::from_static(media_type), content }
}

/// A handler made by [`status_handler`].
#[derive(Debug, Clone)]
pub struct StatusHandler<F> {
    media_type: HeaderValue,
    content: F,
}

#[diagnostic::do_not_recommend]
impl<F, C> Handler for StatusHandler<F>
where
    F: Fn() -> C + SharedAcrossThreads,
    C: Into<Bytes>,
{
    fn handle(&self, _request: Request) -> Reply<'_> {
        let body = ResponseBody::Bytes((self.content)().into());
        let response = Response::new(StatusCode::OK)
            .with_header(header::CONTENT_TYPE, self.media_type.clone())
            .with_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
            .with_body(body);
        Reply::Ready(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_made_for_each_request() {
        let count = std::sync::atomic::AtomicU64::new(0);
        let count = move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let handler = status_handler("text/plain", count);
        for expected in ["0", "1"] {
            let request = Request::parse(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n", "").expect("valid");
            let Reply::Ready(response) = handler.handle(request) else { panic!("ready") };
            let ResponseBody::Bytes(content) = response.body() else { panic!("bytes") };
            assert_eq!(content, expected);
            assert_eq!(response.header(&header::CONTENT_TYPE).expect("a type"), "text/plain");
        }
    }
}
