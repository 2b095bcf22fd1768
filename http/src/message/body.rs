//! The content of a request, read piece by piece.
//!
//! Owns [`Body`]; `collecting` reads one into memory. The source of the content is behind a private trait: the server
//! receives from the connection only while a body is read, which is the backpressure.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use tidegate_engine::{ByteSender, Gathering};

use crate::error::BodyError;
use crate::message::access_record::AccessRecord;
use crate::message::client_gone::ClientGone;
use crate::route_config::RouteConfig;

/// The content of a request, read piece by piece.
///
/// It can be dropped unread: the server then discards up to
/// [`Limits::drain_bytes_max`](crate::Limits::drain_bytes_max) bytes to keep the connection, or closes it.
///
/// ```
/// use tidegate_http::{BodyError, Request, Response};
///
/// /// Counts lines without holding the content in memory.
/// async fn count_lines(mut request: Request) -> Result<Response, BodyError> {
///     let mut lines = 0;
///     while let Some(piece) = request.body_mut().chunk().await? {
///         lines += piece.iter().filter(|&&byte| byte == b'\n').count();
///     }
///     Ok(Response::text(format!("{lines} lines")))
/// }
/// ```
#[derive(Default)]
pub struct Body {
    source: Source,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Bytes(Bytes),
    /// A request without content.
    None {
        connection: Rc<dyn ContentSource>,
        request: u64,
    },
    Connection {
        content: Rc<dyn ContentSource>,
        request: u64,
    },
    /// Content that a layer has changed or replaced, and the end of the client it is from.
    #[cfg(feature = "tower")]
    Local {
        content: Option<Box<dyn LocalContent>>,
        closed: Option<ClientGone>,
    },
}

/// Content that comes from other code than the connection.
#[cfg(feature = "tower")]
pub(crate) trait LocalContent {
    /// The next piece, never empty; `None` at the end.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>>;

    /// The bytes to come, if known.
    fn remaining(&self) -> Option<u64>;

    /// The trailer section, once the content is complete.
    fn take_trailers(&mut self) -> Option<Box<HeaderMap>>;
}

/// The source of a request's content: the connection it arrives on.
///
/// `request` is the request's number on its connection: a body that outlives its request must not read the content of
/// the next one.
pub(crate) trait ContentSource {
    /// Polls for the next piece, never empty; `None` at the end.
    fn poll_content(&self, request: u64, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>>;

    /// Returns the bytes to come, if known.
    fn remaining(&self, request: u64) -> Option<u64>;

    /// Takes the trailer section, once the content is complete.
    fn take_trailers(&self, request: u64) -> Option<Box<HeaderMap>>;

    /// Ends the wait for the next piece.
    fn cancel_wait(&self, request: u64);

    /// Whether received bytes wait to be read.
    #[cfg(feature = "tower")]
    fn has_arrived(&self, request: u64) -> bool;

    /// The record of content that is held in memory, while the request is the current one.
    fn gathering(&self, request: u64) -> Option<Gathering>;

    /// The content is not read further: it ends with this error, and the connection after the response.
    fn give_up(&self, request: u64, error: BodyError);

    /// The connection's writing side, while the request is the current one.
    fn sender(&self, request: u64) -> Option<ByteSender>;

    /// Puts the settings of a route in force until the end of the request.
    fn apply_route_config(&self, request: u64, config: &RouteConfig);

    /// Begins the record of the request, for the access log.
    fn observe(&self, request: u64, record: AccessRecord);
}

impl Body {
    pub(crate) fn of_connection(content: Rc<dyn ContentSource>, request: u64) -> Body {
        Body { source: Source::Connection { content, request } }
    }

    /// The body of a request without content.
    pub(crate) fn none_of_connection(connection: Rc<dyn ContentSource>, request: u64) -> Body {
        Body { source: Source::None { connection, request } }
    }

    /// Puts the settings of a route in force for this content's request.
    pub(crate) fn apply_route_config(&self, config: &RouteConfig) {
        if let Some((connection, request)) = self.connection() {
            connection.apply_route_config(request, config);
        }
    }

    /// Begins the record of this content's request.
    pub(crate) fn observe(&self, record: AccessRecord) {
        if let Some((connection, request)) = self.connection() {
            connection.observe(request, record);
        }
    }

    fn connection(&self) -> Option<(&Rc<dyn ContentSource>, u64)> {
        match &self.source {
            Source::None { connection: source, request } | Source::Connection { content: source, request } => {
                Some((source, *request))
            }
            _ => None,
        }
    }

    /// Content of other code. `closed` is the end of the client, if the request is one of a client.
    #[cfg(feature = "tower")]
    pub(crate) fn of_local(content: Option<Box<dyn LocalContent>>, closed: Option<ClientGone>) -> Body {
        Body { source: Source::Local { content, closed } }
    }

    /// Takes the piece that is received already, if there is one. Neither receives nor waits.
    #[cfg(feature = "tower")]
    pub(crate) fn take_arrived(&mut self) -> Option<Bytes> {
        if let Source::Connection { content, request } = &self.source
            && !content.has_arrived(*request)
        {
            return None;
        }
        let wait = Wait(self);
        match wait.0.poll_chunk(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(Ok(piece)) => piece,
            // An error is found again by the next poll.
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    /// The end of the client of this content's request.
    pub(super) fn client_gone(&self) -> ClientGone {
        match &self.source {
            Source::None { connection: source, request } | Source::Connection { content: source, request } => {
                ClientGone::of(source.sender(*request))
            }
            Source::Empty | Source::Bytes(_) => ClientGone::of(None),
            #[cfg(feature = "tower")]
            Source::Local { closed, .. } => closed.clone().unwrap_or_else(|| ClientGone::of(None)),
        }
    }

    /// Reads the next piece of content as it arrived; `None` at the end. Pieces are never empty.
    ///
    /// The first call sends 100 (Continue) if the peer waits for it. Dropping the future loses no content.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let wait = Wait(self);
        poll_fn(|cx| wait.0.poll_chunk(cx)).await
    }

    /// Polls for the next piece, as [`chunk`](Body::chunk) does.
    /// [`content_timeout`](crate::HttpConfig::content_timeout) runs from the first pending call to the next ready one.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        match &mut self.source {
            Source::Empty | Source::None { .. } => Poll::Ready(Ok(None)),
            Source::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Empty;
                Poll::Ready(Ok(Some(bytes).filter(|bytes| !bytes.is_empty())))
            }
            Source::Connection { content, request } => content.poll_content(*request, cx),
            #[cfg(feature = "tower")]
            Source::Local { content, .. } => {
                content.as_mut().map_or(Poll::Ready(Ok(None)), |content| content.poll_content(cx))
            }
        }
    }

    /// Returns the bytes to come; `None` if the peer did not announce them (the chunked coding).
    pub fn remaining(&self) -> Option<u64> {
        match &self.source {
            Source::Empty | Source::None { .. } => Some(0),
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Connection { content, request } => content.remaining(*request),
            #[cfg(feature = "tower")]
            Source::Local { content, .. } => content.as_ref().map_or(Some(0), |content| content.remaining()),
        }
    }

    /// Takes the trailer section of the chunked coding, once [`chunk`](Body::chunk) returned `None`. Its fields are
    /// never merged into those of the head (RFC 9110 section 6.5).
    pub fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        match &mut self.source {
            Source::Connection { content, request } => content.take_trailers(*request),
            #[cfg(feature = "tower")]
            Source::Local { content, .. } => content.as_mut()?.take_trailers(),
            Source::Empty | Source::None { .. } | Source::Bytes(_) => None,
        }
    }

    /// The record of this content while it is held in memory; `None` if nothing of it is still to arrive.
    pub(super) fn gathering(&self) -> Option<Gathering> {
        match &self.source {
            Source::Connection { content, request } => content.gathering(*request),
            Source::Empty | Source::Bytes(_) | Source::None { .. } => None,
            #[cfg(feature = "tower")]
            Source::Local { .. } => None,
        }
    }

    /// Reads nothing further: the content ends with this error, and the connection after the response.
    pub(super) fn give_up(&self, error: BodyError) {
        if let Source::Connection { content, request } = &self.source {
            content.give_up(*request, error);
        }
    }
}

/// A wait for a piece of content. Dropping it cancels the content timeout.
pub(super) struct Wait<'a>(pub(super) &'a mut Body);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Source::Connection { content, request } = &self.0.source {
            content.cancel_wait(*request);
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body {
            source: match bytes.is_empty() {
                true => Source::Empty,
                false => Source::Bytes(bytes),
            },
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remaining() {
            Some(length) => write!(f, "Body({length} bytes)"),
            None => f.write_str("Body(chunked)"),
        }
    }
}
