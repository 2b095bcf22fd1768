//! The router of HTTP requests.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use http::Method;
use tidegate_http::{Handler, Request, Response, ResponseBody, Router, sync_handler};

use crate::paths::Segment;

/// A router whose handlers answer with their index and their parameters.
pub struct Routes(Router);

impl Routes {
    /// Creates a router for these paths, which must differ. A method of `None` means any.
    pub fn new(routes: &[(Option<&'static str>, Vec<Segment>)]) -> Routes {
        let mut router = Router::new();
        for (index, (method, segments)) in routes.iter().enumerate() {
            let handler = sync_handler(move |request: Request| {
                let params: Vec<&str> = request.params().map(|(_, value)| value).collect();
                format!("{index} {params:?}")
            });
            router = match method {
                Some(method) => {
                    router.route(Method::from_bytes(method.as_bytes()).expect("a method"), &path(segments), handler)
                }
                None => router.any(&path(segments), handler),
            };
        }
        Routes(router)
    }

    /// The status and the text of a response. `None` if the request is not HTTP.
    pub fn answer(&self, method: &str, target: &str) -> Option<(u16, String)> {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = Request::parse(head.as_bytes(), "").ok()?;
        let response: Response =
            match pin!(self.0.handle(request).response()).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(response) => response,
                Poll::Pending => panic!("the handlers of this target do not wait"),
            };
        let text = match response.body() {
            ResponseBody::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        Some((response.status().as_u16(), text))
    }
}

/// Whether the router refuses to have both routes: a parameter and a wildcard in the same place conflict.
pub fn conflicts(one: &[Segment], other: &[Segment]) -> bool {
    let differing = one.iter().zip(other).find(|(one, other)| one != other);
    matches!(differing, Some((Segment::Param, Segment::Wildcard) | (Segment::Wildcard, Segment::Param)))
}

/// A route's path. The names of parameters depend on their position alone, so that routes do not conflict.
fn path(segments: &[Segment]) -> String {
    let segment = |(index, segment): (usize, &Segment)| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Param => format!("/:p{index}"),
        Segment::Wildcard => format!("/*p{index}"),
    };
    segments.iter().enumerate().map(segment).collect()
}
