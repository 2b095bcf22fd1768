//! Responses on their way to tower code and back.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode};
use http_body::{Body as HttpBody, Frame};

use super::content::{BoxError, Content, Source};
use super::exchange::Exchange;
use crate::message::content_stream::{ContentStream, StreamError};
use crate::message::response::{Response, ResponseBody};

/// Converts a response of tower code to be sent. `to_head` says that it answers HEAD, whose content is not sent.
#[doc(hidden)]
pub fn from_http<B>(response: http::Response<B>, exchange: Option<Exchange>, to_head: bool) -> Response
where
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let mut converted = Response::new(parts.status);
    append_fields(&mut converted, parts.headers);
    let body = match parts.status {
        StatusCode::SWITCHING_PROTOCOLS => match exchange.and_then(|exchange| exchange.take_on_upgrade()) {
            Some(on_upgrade) => ResponseBody::Upgrade(on_upgrade),
            None => ResponseBody::Empty,
        },
        _ if to_head => match announced.or(body.size_hint().exact()) {
            Some(0) => ResponseBody::Empty,
            length => ResponseBody::Stream(Box::new(Unsent { length })),
        },
        _ if body.is_end_stream() => ResponseBody::Empty,
        _ => content_of(Box::pin(body), exchange, announced),
    };
    converted.with_body(body)
}

/// Adds fields. Repeated ones come without their name.
fn append_fields(response: &mut Response, headers: HeaderMap) {
    let mut last: Option<HeaderName> = None;
    response.reserve_fields(headers.len());
    for (name, value) in headers {
        last = name.or(last);
        if let Some(name) = &last {
            response.append_header(name.clone(), value);
        }
    }
}

/// Converts content. If its length is known and it is ready as one piece, it needs no stream.
fn content_of<B>(mut body: Pin<Box<B>>, exchange: Option<Exchange>, announced: Option<u64>) -> ResponseBody
where
    B: HttpBody + 'static,
    B::Error: Into<BoxError>,
{
    let exact = body.size_hint().exact();
    let mut first = None;
    if let Some(length) = exact {
        let mut cx = Context::from_waker(Waker::noop());
        // If it is not ready, the stream polls it again.
        first = match body.as_mut().poll_frame(&mut cx) {
            Poll::Pending => None,
            Poll::Ready(None) => return ResponseBody::Empty,
            Poll::Ready(Some(Err(error))) => Some(Err(StreamError::new(error))),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(mut data) if data.remaining() as u64 == length => {
                    return ResponseBody::Bytes(data.copy_to_bytes(data.remaining()));
                }
                Ok(mut data) => Some(Ok(data.copy_to_bytes(data.remaining()))),
                Err(_) => None,
            },
        };
    }
    ResponseBody::Stream(Box::new(OfHttp { first, body, exchange, length: exact.or(announced), trailers: None }))
}

/// Content that is announced and not sent.
struct Unsent {
    length: Option<u64>,
}

impl ContentStream for Unsent {
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        Poll::Ready(None)
    }

    fn length(&self) -> Option<u64> {
        self.length
    }
}

/// Content of tower code, polled as the peer takes it.
struct OfHttp<B> {
    /// A piece that was ready before.
    first: Option<Result<Bytes, StreamError>>,
    body: Pin<Box<B>>,
    /// Moves the content of the request and of inner handlers while this content is polled.
    exchange: Option<Exchange>,
    length: Option<u64>,
    trailers: Option<HeaderMap>,
}

impl<B> ContentStream for OfHttp<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            let body = &mut self.body;
            let frame = match &self.exchange {
                Some(exchange) => ready!(exchange.drive(cx, |cx| body.as_mut().poll_frame(cx))),
                None => ready!(body.as_mut().poll_frame(cx)),
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(StreamError::new(error)))),
                Some(Ok(Ok(mut data))) if data.has_remaining() => {
                    return Poll::Ready(Some(Ok(data.copy_to_bytes(data.remaining()))));
                }
                Some(Ok(Ok(_))) => {}
                Some(Ok(Err(frame))) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}

/// Converts a handler's response for tower code. Content that is not whole, and the code of an upgrade, stay with the
/// exchange.
pub(super) fn into_http(mut response: Response, exchange: Option<&Exchange>) -> http::Response<Content> {
    let mut http = http::Response::new(Content::default());
    *http.status_mut() = response.status();
    for (name, value) in response.fields() {
        http.headers_mut().append(name.clone(), value.clone());
    }
    match (response.take_body(), exchange) {
        (ResponseBody::Empty, _) => {}
        (ResponseBody::Bytes(bytes), _) => *http.body_mut() = Content::from(bytes),
        (ResponseBody::Stream(stream), Some(exchange)) => {
            let length = stream.length();
            let (content, pump) = Content::pumped(Source::Response(stream), length, None);
            exchange.add(pump);
            *http.body_mut() = content;
        }
        (ResponseBody::Upgrade(on_upgrade), Some(exchange)) => exchange.set_on_upgrade(on_upgrade),
        (ResponseBody::Stream(_) | ResponseBody::Upgrade(_), None) => {
            log::error!(
                "a handler's response was not sent: a `HandlerService` streams and upgrades only inside `tower::service`, \
                 `Router::layer` or `HandlerExt::layer`"
            );
            *http.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            http.headers_mut().clear();
        }
    }
    http
}

/// Polls `future` once, outside its task. If it is not ready, its task polls it again.
pub(super) fn poll_once<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
