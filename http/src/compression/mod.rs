//! Compression of responses.
//!
//! `codec` holds the compressors, `content` compresses what is sent in pieces. This module decides which responses are
//! compressed, and what their heads say.

mod codec;
mod content;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};

use crate::content_coding::{ACCEPT_ENCODING, Accepted, Choice, Coding};
use crate::field::contains_token;
use crate::media_types::gains_by_compression;
use crate::message::content_stream::{ContentStream, StreamError};
use crate::message::request::Request;
use crate::message::response::{Response, ResponseBody};
use crate::server::handler::{Handler, Reply};
use codec::{Encoder, Length, Then, is_available};
use content::CompressedContent;

/// Default of [`Compressed::content_bytes_min`]: less fits into one packet anyway.
const CONTENT_BYTES_MIN: u64 = 1024;

/// Content of up to this size is compressed at once, and has a Content-Length.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// A handler whose responses are compressed for the clients that accept it. A router is a handler too.
///
/// ```
/// use tidegate_http::{Compressed, Request, Response, Router};
///
/// let api = Router::new().get("/list", |_req: Request| async {
///     Response::json_bytes(format!("[{}0]", "0,".repeat(1000)))
/// });
/// let app = Compressed::new(api);
/// ```
///
/// # Codings
/// gzip and deflate; brotli with the feature `compression-brotli` and zstd with `compression-zstd`. The client's
/// weights in Accept-Encoding decide, and among equals the order brotli, zstd, gzip, deflate. A client that accepts
/// none of them, and refuses content without a coding (`identity;q=0`), gets 406 to GET and HEAD.
///
/// # What is compressed
/// Content of at least [1 KiB](Compressed::content_bytes_min), or of unknown length, whose type gains: text, JSON, XML,
/// JavaScript, WebAssembly, SVG, uncompressed fonts. Never an upgrade, a range (206, Content-Range), a response without
/// content, one that has a Content-Encoding, and one with `Cache-Control: no-transform`.
///
/// A response that could be compressed says `Vary: Accept-Encoding`. If it is compressed, a strong ETag becomes a weak
/// one, and Accept-Ranges is removed. Content that would not become smaller is sent as it is.
///
/// Streams are compressed as they are sent, and flushed whenever they wait: an event of an event stream arrives at
/// once. A compressed event stream cannot be shared with other senders
/// ([`EventStream::sender`](crate::EventStream::sender)).
///
/// # Secrets
/// The length of compressed content reveals something about the content. If a page contains a secret, such as a CSRF
/// token, and also text that an attacker chooses, such as a query, then the attacker can find the secret by the lengths
/// of many responses, although they are encrypted (BREACH). Do not compress such pages, or change the form of the
/// secret in each response, such as by masking it with random bytes.
#[derive(Debug)]
pub struct Compressed<H> {
    handler: H,
    content_bytes_min: u64,
}

/// The parts of a request that decide about its response.
#[derive(Debug, Clone, Copy)]
struct Asked {
    accepted: Accepted,
    is_get: bool,
    is_head: bool,
}

impl<H: Handler> Compressed<H> {
    /// Wraps a handler.
    pub fn new(handler: H) -> Compressed<H> {
        Compressed { handler, content_bytes_min: CONTENT_BYTES_MIN }
    }

    /// Sets the length below which content is not compressed, in bytes. Default 1 KiB.
    pub fn content_bytes_min(mut self, bytes: u64) -> Compressed<H> {
        self.content_bytes_min = bytes;
        self
    }
}

#[diagnostic::do_not_recommend]
impl<H: Handler> Handler for Compressed<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        let asked = Asked {
            accepted: Accepted::by(&request),
            is_get: *request.method() == Method::GET,
            is_head: *request.method() == Method::HEAD,
        };
        let content_bytes_min = self.content_bytes_min;
        self.handler.handle(request).map(move |response| compress(response, asked, content_bytes_min))
    }
}

/// Compresses a response if it should be.
fn compress(mut response: Response, asked: Asked, content_bytes_min: u64) -> Response {
    let accepted = asked.accepted;
    if response.status() == StatusCode::NOT_MODIFIED {
        // RFC 9110 section 15.4.5: it has the field that a 200 would have had.
        add_vary(&mut response);
        return response;
    }
    if !can_be_compressed(&response) {
        return response;
    }
    let is_short = response.body().length().is_some_and(|length| length < content_bytes_min);
    if is_short && !accepted.refuses_identity() {
        return response;
    }
    add_vary(&mut response);
    match accepted.choose(Coding::ALL.into_iter().filter(|coding| is_available(*coding))) {
        Choice::Identity => response,
        Choice::Nothing if asked.is_get || asked.is_head => {
            let refusal = Response::text("no acceptable content coding\n").with_status(StatusCode::NOT_ACCEPTABLE);
            refusal.with_header(header::VARY, ACCEPT_ENCODING)
        }
        // The request may have changed something, and its answer is better than none.
        Choice::Nothing => response,
        Choice::Coding(coding) => encode(response, coding, asked),
    }
}

/// Returns whether a response has content that may be compressed, and that gains.
fn can_be_compressed(response: &Response) -> bool {
    let status = response.status();
    let has_content = !matches!(response.body(), ResponseBody::Empty | ResponseBody::Upgrade(_));
    let allows = !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT);
    has_content
        && allows
        && response.content_type().is_some_and(|media_type| gains_by_compression(media_type.as_bytes()))
        && response.other_fields().iter().all(|(name, value)| {
            *name != header::CONTENT_ENCODING
                && *name != header::CONTENT_RANGE
                && (*name != header::CACHE_CONTROL || !contains_token(value.as_bytes(), b"no-transform"))
        })
}

/// Compresses the content, at once if it is small.
fn encode(mut response: Response, coding: Coding, asked: Asked) -> Response {
    let length = match response.body() {
        ResponseBody::Bytes(content) => Length::of(content),
        _ => Length::Long,
    };
    let mut encoder = match Encoder::take(coding, length) {
        Ok(encoder) => encoder,
        Err(error) => {
            log::warn!("response sent without {}: {error}", coding.name());
            return response;
        }
    };
    let body = match response.take_body() {
        ResponseBody::Bytes(content) if content.len() <= WHOLE_BYTES_MAX => {
            let mut out = Vec::with_capacity(content.len() / 2);
            if let Err(error) = encoder.write(&content, Then::Finish, &mut out) {
                log::warn!("response sent without {}: {error}", coding.name());
                return response.with_body(ResponseBody::Bytes(content));
            }
            encoder.give_back();
            if out.len() >= content.len() && !asked.accepted.refuses_identity() {
                return response.with_body(ResponseBody::Bytes(content));
            }
            ResponseBody::Bytes(out.into())
        }
        // The length would be that of the compressed content, which is not made for HEAD.
        ResponseBody::Bytes(_) | ResponseBody::Stream(_) if asked.is_head => ResponseBody::Stream(Box::new(Unsent)),
        ResponseBody::Bytes(content) => ResponseBody::Stream(Box::new(CompressedContent::of_bytes(content, encoder))),
        ResponseBody::Stream(source) => ResponseBody::Stream(Box::new(CompressedContent::of_stream(source, encoder))),
        body @ (ResponseBody::Empty | ResponseBody::Upgrade(_)) => return response.with_body(body),
    };
    response.set_header(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    response.remove_header(&header::CONTENT_LENGTH);
    response.remove_header(&header::ACCEPT_RANGES);
    weaken_etag(&mut response);
    response.with_body(body)
}

/// Content in the answer to HEAD, of unknown length.
struct Unsent;

impl ContentStream for Unsent {
    fn poll_next(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Result<Bytes, StreamError>>> {
        std::task::Poll::Ready(None)
    }
}

/// Makes a strong ETag a weak one: the same tag must not name different bytes (RFC 9110 section 8.8.1).
fn weaken_etag(response: &mut Response) {
    let strong = response.header(&header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    let weak = strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        response.set_header(header::ETAG, weak);
    }
}

/// Adds Accept-Encoding to Vary, unless it is there.
fn add_vary(response: &mut Response) {
    let fields = response.other_fields();
    let lines = || fields.iter().filter(|(name, _)| *name == header::VARY).map(|(_, value)| value.as_bytes());
    if lines().next().is_none() {
        return response.append_header(header::VARY, ACCEPT_ENCODING);
    }
    if lines().any(|line| contains_token(line, b"accept-encoding") || contains_token(line, b"*")) {
        return;
    }
    let mut merged = Vec::new();
    for line in lines() {
        merged.extend_from_slice(line);
        merged.extend_from_slice(b", ");
    }
    merged.extend_from_slice(ACCEPT_ENCODING.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&merged) {
        response.set_header(header::VARY, value);
    }
}
