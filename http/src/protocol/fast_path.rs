//! The fast path of the common exchange: a request whose head is complete in the input, and a whole response with the
//! same head as the last one.
//!
//! Each function either does exactly what the steps in `reading` and `writing` do together, or nothing.

use bytes::Bytes;

use super::{Protocol, Reading, Writing};
use crate::message::head::RequestHead;
use crate::message::response::Response;
use crate::protocol::date::HttpDate;
use crate::protocol::exchange::Persistence;
use crate::protocol::head_cache::try_write_like_last;
use crate::protocol::parse::parse_unscanned;

impl Protocol {
    /// Does [`advance`](Protocol::advance) and [`receive`](Protocol::receive) in one step if the last exchange is
    /// complete and the input begins with a complete head. Returns the head and its length; otherwise `None`, and
    /// nothing changed.
    #[inline]
    pub(crate) fn try_receive_next(&mut self, input: &[u8]) -> Option<(RequestHead, usize)> {
        let (Reading::Complete | Reading::Head(None), Writing::Complete | Writing::Idle, Persistence::Persistent) =
            (&self.reading, &self.writing, self.persistence)
        else {
            return None;
        };
        let (head, conclusion, length) = parse_unscanned(input, &self.limits)?;
        self.begin_exchange(&head, &conclusion);
        Some((head, length))
    }

    /// Does [`respond_whole`](Protocol::respond_whole) if the request is complete, the connection persists, and the
    /// head is the same as the last one on this thread. Otherwise returns `false`, and nothing changed.
    #[inline]
    pub(super) fn try_respond_like_last(
        &mut self,
        response: &Response,
        content: &Bytes,
        date: &HttpDate,
        out: &mut Vec<u8>,
    ) -> bool {
        let (Reading::Complete, Writing::Awaiting(exchange), Persistence::Persistent) =
            (&self.reading, &self.writing, self.persistence)
        else {
            return false;
        };
        let same = exchange.is_common() && try_write_like_last(response, content, self.server.as_ref(), date, out);
        if same {
            self.writing = Writing::Complete;
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use http::header::{self, HeaderValue};
    use http::{Method, StatusCode};

    use super::*;
    use crate::limits::Limits;
    use crate::protocol::date::DateCache;
    use crate::protocol::event::Next;

    const REQUESTS: [&str; 6] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    ];

    fn responses() -> Vec<Response> {
        let value = HeaderValue::from_static;
        vec![
            Response::text(""),
            Response::bytes(""),
            Response::new(StatusCode::OK),
            Response::text("").with_status(StatusCode::NO_CONTENT),
            Response::text("").with_status(StatusCode::NOT_FOUND),
            Response::text("").with_header(header::CONNECTION, value("close")),
            Response::text("").with_header(header::ETAG, value("1")),
        ]
    }

    fn protocol(request: &str, server: Option<&'static str>, closing: bool) -> Protocol {
        let server = server.map(HeaderValue::from_static);
        let mut protocol = Protocol::new(Arc::<Limits>::default()).with_server(server);
        assert!(protocol.receive(request.as_bytes()).expect("valid").event.is_some());
        if closing {
            protocol.close_after_response();
        }
        protocol
    }

    fn whole(mut protocol: Protocol, response: &Response, content: &Bytes, date: HttpDate) -> (Vec<u8>, Next) {
        let mut out = b"before".to_vec();
        protocol.respond_whole(response, content, date, &mut out).expect("its turn");
        (out, protocol.advance())
    }

    fn in_steps(mut protocol: Protocol, response: &Response, content: &Bytes, date: HttpDate) -> (Vec<u8>, Next) {
        let mut out = b"before".to_vec();
        protocol.respond(response, Some(content.len() as u64), date, &mut out).expect("its turn");
        protocol.content(content, &mut out).expect("as announced");
        protocol.finish(None, &mut out).expect("all of it");
        (out, protocol.advance())
    }

    #[test]
    fn a_whole_response_is_what_its_steps_give() {
        let mut dates = DateCache::new();
        for (index, request) in REQUESTS.iter().enumerate() {
            // All of them take minutes under miri.
            let step = if cfg!(miri) { 4 } else { 1 };
            for response in responses().iter().step_by(step) {
                for (server, content) in [(None, "a"), (Some("one"), "a"), (Some("two"), "b"), (Some("two"), "longer")]
                {
                    for (closing, seconds) in [(false, 1), (false, 1), (true, 1), (false, 2)] {
                        let date = dates.at(UNIX_EPOCH + Duration::from_secs(seconds));
                        let content = Bytes::from_static(content.as_bytes());
                        // Fills the cache, so that the next head is copied if it is the same.
                        let _ = whole(protocol(REQUESTS[0], server, false), response, &content, date);
                        let make = || protocol(request, server, closing);
                        let of_steps = in_steps(make(), response, &content, date);
                        assert_eq!(whole(make(), response, &content, date), of_steps, "request {index}, {response:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_common_response_is_copied_and_others_are_not() {
        let date = DateCache::new().at(UNIX_EPOCH);
        let (response, content) = (Response::text(""), Bytes::from_static(b"a"));
        let same =
            |protocol: &mut Protocol| protocol.try_respond_like_last(&response, &content, &date, &mut Vec::new());
        let _ = whole(protocol(REQUESTS[0], None, false), &response, &content, date);
        let mut common = protocol(REQUESTS[0], None, false);
        assert!(same(&mut common));
        assert!(!same(&mut common), "there is one response to a request");
        assert_eq!(common.advance(), Next::Receive);
        let (head, length) = common.try_receive_next(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET").expect("whole");
        assert_eq!((head.method(), head.path(), length), (&Method::GET, "/2", 28));
        for request in &REQUESTS[1..] {
            assert!(!same(&mut protocol(request, None, false)), "{request:?}");
        }
        assert!(!same(&mut protocol(REQUESTS[0], None, true)));
        assert!(!same(&mut protocol(REQUESTS[0], Some("one"), false)));
    }
}
