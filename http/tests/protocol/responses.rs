//! Responses: framing, persistence, upgrades, and misuse.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use tidegate_http::protocol::{Event, Next, Protocol, RequestError, ResponseError};
use tidegate_http::{Limits, Response};

use super::{GET, date};

/// Returns a machine that has received one request.
fn received(request: &str) -> Protocol {
    let mut protocol = Protocol::new(Arc::new(Limits::default()));
    let progress = protocol.receive(request.as_bytes()).expect("valid");
    assert!(matches!(progress.event, Some(Event::Head(_))));
    protocol
}

/// Returns the response to a request, without its date, and what comes next.
fn respond(request: &str, response: &Response, length: Option<u64>) -> (String, Next) {
    let mut protocol = received(request);
    let mut out = Vec::new();
    protocol.respond(response, length, date(), &mut out).expect("a request waits");
    protocol.content(b"hel", &mut out).expect("in turn");
    protocol.content(b"", &mut out).expect("in turn");
    protocol.content(b"lo", &mut out).expect("in turn");
    protocol.finish(None, &mut out).expect("complete");
    let text = String::from_utf8(out).expect("text");
    let text = text.replace("date: Thu, 01 Jan 1970 00:00:00 GMT\r\n", "");
    (text, protocol.advance())
}

/// The response to HEAD has the length of the response to GET, or none (RFC 9110 section 8.6).
#[test]
fn the_length_in_a_response_to_head_is_the_handlers() {
    let head = GET.replace("GET", "HEAD");
    let with_length = |value| Response::new(StatusCode::OK).with_header(header::CONTENT_LENGTH, value);
    let own = with_length(HeaderValue::from_static("1234"));
    for length in [None, Some(0), Some(5)] {
        let (text, next) = respond(&head, &own, length);
        assert_eq!((&*text, next), ("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", Next::Receive), "{length:?}");
    }
    let (text, next) = respond(&head, &Response::new(StatusCode::OK), Some(0));
    assert_eq!((&*text, next), ("HTTP/1.1 200 OK\r\n\r\n", Next::Receive));
    for invalid in ["+5", "", "5, 5", "x", "99999999999999999999"] {
        let (text, _) = respond(&head, &with_length(HeaderValue::from_static(invalid)), Some(5));
        assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "{invalid}");
    }
    // 304 has no content either, and the length of the representation.
    let (text, _) = respond(GET, &own.with_status(StatusCode::NOT_MODIFIED), Some(0));
    assert_eq!(text, "HTTP/1.1 304 Not Modified\r\ncontent-length: 1234\r\n\r\n");
    // Everywhere else, the length is that of the content.
    let (text, _) = respond(GET, &with_length(HeaderValue::from_static("1234")), Some(5));
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
}

#[test]
fn a_response_with_205_has_no_content() {
    let reset = Response::new(StatusCode::RESET_CONTENT);
    for request in [GET, &GET.replace("GET", "HEAD")] {
        for length in [None, Some(5)] {
            let (text, next) = respond(request, &reset, length);
            assert_eq!(text, "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n");
            assert_eq!(next, Next::Receive);
        }
    }
}

#[test]
fn response_framing() {
    let ok = Response::new(StatusCode::OK);
    let (text, next) = respond(GET, &ok, Some(5));
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(next, Next::Receive);
    let (text, next) = respond(GET, &ok, None);
    assert_eq!(text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    assert_eq!(next, Next::Receive);
    // HTTP/1.0 has no chunks: the content ends with the connection.
    let keep = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let (text, next) = respond(keep, &ok, None);
    assert_eq!(text, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
    assert_eq!(next, Next::Close);
    // HEAD has the fields without the content (RFC 9110 section 9.3.2).
    let head = GET.replace("GET", "HEAD");
    let (text, next) = respond(&head, &ok, Some(5));
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(next, Next::Receive);
    let (text, _) = respond(&head, &ok, None);
    assert_eq!(text, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let (text, next) = respond(GET, &Response::new(status), Some(5));
        let reason = status.canonical_reason().expect("a reason");
        let expected = format!("HTTP/1.1 {} {reason}\r\n\r\n", status.as_str());
        assert_eq!(text, expected);
        assert_eq!(next, Next::Receive);
    }
}

#[test]
fn persistence() {
    let ok = Response::new(StatusCode::OK);
    let ask = |request: &str| {
        let (text, next) = respond(request, &ok, Some(5));
        let field = text.lines().find_map(|line| line.strip_prefix("connection: ")).map(str::to_owned);
        (field, next)
    };
    let close = (Some("close".into()), Next::Close);
    assert_eq!(ask(GET), (None, Next::Receive));
    let with = |fields: &str| GET.replace("Host: a\r\n", &format!("Host: a\r\n{fields}"));
    assert_eq!(ask(&with("Connection: close\r\n")), close);
    assert_eq!(ask(&with("Connection: x , CLOSE\r\n")), close);
    assert_eq!(ask(&with("Connection: keep-alive\r\n")), (None, Next::Receive));
    assert_eq!(ask("GET / HTTP/1.0\r\n\r\n"), close);
    assert_eq!(ask("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), (Some("keep-alive".into()), Next::Receive));
    let value = HeaderValue::from_static("x, close");
    let closing = Response::new(StatusCode::OK).with_header(header::CONNECTION, value);
    let (text, next) = respond(GET, &closing, Some(5));
    assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    assert_eq!(next, Next::Close);
    let mut draining = Protocol::new(Arc::new(Limits::default()));
    draining.close_after_response();
    assert_eq!(draining.advance(), Next::Close);
}

/// RFC 9110 section 7.8: Upgrade needs the connection option too.
#[test]
fn upgrade_is_announced_in_connection() {
    let required =
        Response::new(StatusCode::UPGRADE_REQUIRED).with_header(header::UPGRADE, HeaderValue::from_static("websocket"));
    for (request, field) in [
        (GET.to_owned(), "upgrade"),
        (GET.replace("Host: a\r\n", "Host: a\r\nConnection: close\r\n"), "close, upgrade"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(), "keep-alive, upgrade"),
    ] {
        let (text, _) = respond(&request, &required, Some(5));
        assert!(
            text.contains(&format!("\r\nupgrade: websocket\r\ncontent-length: 5\r\nconnection: {field}\r\n")),
            "{text}"
        );
    }
}

#[test]
fn expect_continue() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut protocol = received(post);
    let mut out = Vec::new();
    assert!(protocol.send_continue(&mut out));
    assert!(!protocol.send_continue(&mut out));
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    protocol.receive(b"hello").expect("valid");
    protocol.respond_whole(&Response::text(""), &Bytes::new(), date(), &mut out).expect("in turn");
    assert_eq!(protocol.advance(), Next::Receive);
    // Content arrived without waiting: 100 can be omitted.
    let mut protocol = received(post);
    protocol.receive(b"he").expect("valid");
    assert!(!protocol.send_continue(&mut out));
    // Answered without asking for the content: whether it follows is ambiguous.
    let (text, next) = respond(post, &Response::new(StatusCode::FORBIDDEN), Some(5));
    assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    assert_eq!(next, Next::Close);
}

#[test]
fn unread_content_is_drained_up_to_a_bound() {
    let limits = Limits::default().drain_bytes_max(10);
    let answered = |fields: &str| {
        let mut protocol = Protocol::new(Arc::new(limits.clone()));
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        protocol.receive(head.as_bytes()).expect("valid");
        let mut out = Vec::new();
        protocol.respond_whole(&Response::text(""), &Bytes::new(), date(), &mut out).expect("in turn");
        protocol
    };
    let mut protocol = answered("Content-Length: 10");
    assert_eq!(protocol.advance(), Next::Drain);
    let progress = protocol.receive(b"01234").expect("valid");
    assert!(progress.consumed == 5 && progress.event.is_none());
    assert_eq!(protocol.advance(), Next::Drain);
    assert_eq!(protocol.receive(b"56789GET").expect("valid").consumed, 5);
    assert_eq!(protocol.advance(), Next::Receive);
    assert_eq!(answered("Content-Length: 11").advance(), Next::Close);
    let mut protocol = answered("Transfer-Encoding: chunked");
    assert_eq!(protocol.advance(), Next::Drain);
    let mut input = &b"8\r\n01234567\r\n"[..];
    while !input.is_empty() {
        input = &input[protocol.receive(input).expect("valid").consumed..];
    }
    assert_eq!(protocol.advance(), Next::Close);
}

#[test]
fn the_bound_of_draining_does_not_depend_on_the_cut() {
    let limits = Arc::new(Limits::default().drain_bytes_max(4));
    // Within the bound a malformed chunk is refused; beyond it nothing is looked at.
    for (chunks, refused) in [(&b"1\r\n0X"[..], false), (b"1\rX", true), (b"1;aX\rX", false), (b"\x00", true)] {
        for piece_len in 1..=chunks.len() {
            let mut protocol = Protocol::new(Arc::clone(&limits));
            protocol.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").expect("valid");
            protocol.respond_whole(&Response::text(""), &Bytes::new(), date(), &mut Vec::new()).expect("in turn");
            let mut outcome = Ok(());
            'pieces: for mut piece in chunks.chunks(piece_len) {
                while !piece.is_empty() && protocol.advance() == Next::Drain {
                    match protocol.receive(piece) {
                        Ok(progress) => piece = &piece[progress.consumed..],
                        Err(error) => {
                            outcome = Err(error);
                            break 'pieces;
                        }
                    }
                }
            }
            assert_eq!(outcome.is_err(), refused, "{chunks:?} in pieces of {piece_len}");
            assert_eq!(protocol.advance(), Next::Close, "{chunks:?} in pieces of {piece_len}");
        }
    }
}

#[test]
fn misuse_is_an_error() {
    let mut out = Vec::new();
    let ok = Response::new(StatusCode::OK);
    let mut protocol = Protocol::new(Arc::new(Limits::default()));
    assert_eq!(protocol.respond(&ok, None, date(), &mut out), Err(ResponseError::OutOfTurn));
    assert_eq!(protocol.content(b"a", &mut out), Err(ResponseError::OutOfTurn));
    assert_eq!(protocol.finish(None, &mut out), Err(ResponseError::OutOfTurn));
    let mut protocol = received(GET);
    let early = Response::new(StatusCode::CONTINUE);
    assert_eq!(protocol.respond(&early, None, date(), &mut out), Err(ResponseError::Status));
    assert_eq!(protocol.advance(), Next::Respond);
    assert!(out.is_empty());
    protocol.respond(&ok, Some(5), date(), &mut out).expect("in turn");
    assert_eq!(protocol.content(b"sixsix", &mut out), Err(ResponseError::LengthMismatch));
    protocol.content(b"four", &mut out).expect("fits");
    assert_eq!(protocol.finish(None, &mut out), Err(ResponseError::LengthMismatch));
}

#[test]
fn trailers_follow_chunks() {
    let mut protocol = received(GET);
    let mut out = Vec::new();
    let ok = Response::new(StatusCode::OK);
    protocol.respond(&ok, None, date(), &mut out).expect("in turn");
    protocol.content(b"a", &mut out).expect("in turn");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    protocol.finish(Some(&trailers), &mut out).expect("complete");
    assert!(out.ends_with(b"\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"));
}

#[test]
fn the_end_of_the_stream() {
    let limits = || Arc::new(Limits::default());
    let mut idle = Protocol::new(limits());
    assert_eq!(idle.receive_end(), Ok(()));
    assert_eq!(idle.advance(), Next::Close);
    let mut partial = Protocol::new(limits());
    partial.receive(b"GET").expect("so far");
    assert!(partial.is_in_head());
    assert_eq!(partial.receive_end(), Err(RequestError::Incomplete));
    // An empty line after a request does not begin another one.
    for blank in ["\r", "\r\n"] {
        let mut idle = Protocol::new(limits());
        idle.receive(blank.as_bytes()).expect("so far");
        assert!(!idle.is_in_head());
        assert_eq!(idle.receive_end(), Ok(()));
    }
    let mut partial = Protocol::new(limits());
    partial.receive(b"\r\n\r").expect("so far");
    assert!(partial.is_in_head());
    // A peer can end its side after the request and still wait for the response.
    let mut waiting = received(GET);
    assert_eq!(waiting.receive_end(), Ok(()));
    let mut out = Vec::new();
    let content = Bytes::from_static(b"a");
    waiting.respond_whole(&Response::text(""), &content, date(), &mut out).expect("in turn");
    assert_eq!(waiting.advance(), Next::Close);
    let mut within = received("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    within.receive(b"hell").expect("valid");
    assert_eq!(within.receive_end(), Err(RequestError::Incomplete));
    assert!(within.refuse(RequestError::Incomplete, date(), &mut out));
}

#[test]
fn upgrades() {
    let asking = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n";
    let value = HeaderValue::from_static("x");
    let switching = Response::new(StatusCode::SWITCHING_PROTOCOLS).with_header(header::UPGRADE, value);
    let mut out = Vec::new();
    let mut protocol = received(&format!("{asking}\r\n"));
    protocol.upgrade(&switching, date(), &mut out).expect("asked for");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(
        text,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\
         date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
    );
    let mut out = Vec::new();
    let mut refused = |mut protocol: Protocol, response: &Response| {
        let result = protocol.upgrade(response, date(), &mut out);
        assert!(out.is_empty());
        result == Err(ResponseError::Status)
    };
    assert!(refused(received(GET), &switching));
    assert!(refused(received(&format!("{asking}\r\n")), &Response::text("")));
    let with_content = format!("{asking}Content-Length: 1\r\n\r\n");
    assert!(refused(received(&with_content), &switching));
    let old = asking.replace("1.1", "1.0") + "\r\n";
    assert!(refused(received(&old), &switching));
}

#[test]
fn a_refusal_gives_its_reason_unless_a_response_has_begun() {
    let mut protocol = Protocol::new(Arc::default());
    let error = protocol.receive(b"GET / HTTP/2.0\r\n\r\n").expect_err("an unsupported version");
    let mut out = Vec::new();
    assert!(protocol.refuse(error, date(), &mut out));
    let text = String::from_utf8(out).expect("text");
    assert!(text.starts_with("HTTP/1.1 505 ") && text.ends_with(&format!("\r\n\r\n{error}")), "{text}");

    let mut begun = received("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    begun.respond(&Response::new(StatusCode::OK), Some(2), date(), &mut Vec::new()).expect("in turn");
    let mut out = Vec::new();
    assert!(!begun.refuse(RequestError::Incomplete, date(), &mut out));
    assert!(out.is_empty());
}
