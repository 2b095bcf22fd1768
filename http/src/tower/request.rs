//! Requests on their way to tower code and back.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body as HttpBody;
use http_body_util::LengthLimitError;
use tidegate_engine::Address;

use super::content::{BoxError, Content, Source};
use super::exchange::Exchange;
use crate::error::{BodyError, RequestError};
use crate::message::body::{Body, LocalContent};
use crate::message::client_gone::ClientGone;
use crate::message::head::RequestHead;
use crate::message::request::Request;

/// The two ends of a request's connection: an extension of the `http::Request`s that tower code is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The peer's address.
    pub peer: Address,
    /// The address the peer connected to.
    pub local: Address,
}

/// What an `http::Request` has no place for, so that a handler inside a layer finds it: an extension.
#[derive(Clone)]
struct Carried {
    params: Vec<(String, String)>,
    upgrade: bool,
    closed: ClientGone,
}

/// A request for tower code, the exchange that moves its content, if it has some, and its head without extensions.
#[doc(hidden)]
pub struct Converted {
    pub request: http::Request<Content>,
    pub exchange: Option<Exchange>,
    pub head: RequestHead,
}

/// What a handler inside a layer gets from the request outside.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carry {
    /// Nothing: there is no handler inside.
    Nothing,
    /// What it needs of its connection.
    Connection,
    /// The path parameters too.
    Params,
}

impl Carry {
    pub(super) fn for_handler(params: bool) -> Carry {
        if params { Carry::Params } else { Carry::Connection }
    }
}

/// Converts a request for tower code.
#[doc(hidden)]
pub fn into_http(request: Request, carry: Carry) -> Converted {
    let closed = (carry != Carry::Nothing).then(|| request.client_gone());
    let (mut head, body) = request.into_parts();
    let (content, exchange) = content_of(body);
    let mut http = http::Request::new(content);
    *http.method_mut() = head.method().clone();
    // A head that was received has a target that is a `Uri`.
    *http.uri_mut() = head.uri().unwrap_or_default();
    *http.version_mut() = head.version();
    *http.headers_mut() = head.take_headers();
    let extensions = http.extensions_mut();
    *extensions = std::mem::take(head.extensions_mut());
    if let (Some(peer), Some(local)) = (head.peer_addr(), head.local_addr()) {
        extensions.insert(Addresses { peer, local });
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = head.tls() {
        extensions.insert(tls.clone());
    }
    if let Some(closed) = closed {
        let carried = head.params().filter(|_| carry == Carry::Params);
        let params = carried.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        extensions.insert(Carried { params, upgrade: head.wants_upgrade(), closed });
    }
    Converted { request: http, exchange, head }
}

/// Converts content. What arrived together with the head is taken at once, and is all of most requests.
fn content_of(mut body: Body) -> (Content, Option<Exchange>) {
    if body.remaining() == Some(0) {
        return (Content::default(), None);
    }
    let first = body.take_arrived();
    if body.remaining() == Some(0) {
        return (first.map(Content::from).unwrap_or_default(), None);
    }
    let arrived = first.as_ref().map_or(0, Bytes::len) as u64;
    let remaining = body.remaining().map(|bytes| bytes + arrived);
    let (content, pump) = Content::pumped(Source::Request(body), remaining, first);
    let exchange = Exchange::default();
    exchange.add(pump);
    (content, Some(exchange))
}

/// Converts a request of tower code for a handler.
pub(super) fn from_http<B>(request: http::Request<B>) -> Request
where
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let carried = parts.extensions.remove::<Carried>();
    let addresses = parts.extensions.remove::<Addresses>();
    #[cfg(feature = "tls")]
    let tls = parts.extensions.remove::<tidegate_engine::TlsInfo>();
    let upgrade =
        carried.as_ref().is_some_and(|carried| carried.upgrade) && parts.headers.contains_key(http::header::UPGRADE);
    let mut head = RequestHead::of_parts(&parts.method, &parts.uri, parts.version, &parts.headers, upgrade);
    *head.extensions_mut() = parts.extensions;
    if let Some(Addresses { peer, local }) = addresses {
        head.set_addresses(crate::message::head_memory::Addresses { peer, local });
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = tls {
        head.set_tls(tls);
    }
    let mut closed = None;
    if let Some(carried) = carried {
        carried.params.iter().for_each(|(name, value)| head.push_param(name, value));
        closed = Some(carried.closed);
    }
    let content = (!body.is_end_stream()).then(|| {
        let remaining = body.size_hint().exact();
        Box::new(OfHttp { body: Box::pin(body), remaining, trailers: None }) as Box<dyn LocalContent>
    });
    Request::from_parts(head, Body::of_local(content, closed))
}

/// Content of tower code, read by a handler.
struct OfHttp<B> {
    body: Pin<Box<B>>,
    remaining: Option<u64>,
    trailers: Option<Box<HeaderMap>>,
}

impl<B> LocalContent for OfHttp<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            let frame = match self.body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(body_error(error.into()))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(mut data) if data.has_remaining() => {
                    let piece = data.copy_to_bytes(data.remaining());
                    self.remaining = self.remaining.map(|bytes| bytes.saturating_sub(piece.len() as u64));
                    return Poll::Ready(Ok(Some(piece)));
                }
                Ok(_) => {}
                Err(frame) => self.trailers = frame.into_trailers().ok().map(Box::new),
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        self.trailers.take()
    }
}

/// Returns the error of content that a layer has changed, limited or refused.
fn body_error(error: BoxError) -> BodyError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<BodyError>() {
            return error.clone();
        }
        if error.is::<LengthLimitError>() {
            return BodyError::Request(RequestError::BodyTooLarge);
        }
        cause = error.source();
    }
    BodyError::Layer(error.to_string())
}
