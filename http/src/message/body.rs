//! The content of a request, read piece by piece.
//!
//! Owns [`Body`] and the collecting helpers. Where content comes from is behind a private trait: the server pulls it out
//! of the connection when it is asked for, which is the backpressure. Content that is never asked for is never read.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::error::BodyError;

/// The content of a request, read piece by piece.
///
/// Dropping it unread is fine: the server reads a little more to keep the connection, or closes it.
#[derive(Default)]
pub struct Body {
    source: Source,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Bytes(Bytes),
    Connection {
        content: Rc<dyn ContentSource>,
        request: u64,
    },
}

/// Where the content of the request under way comes from.
///
/// `request` numbers the requests of a connection: a body that outlives its request must not read the next one's.
pub(crate) trait ContentSource {
    /// The next piece, never empty; `None` at the end.
    fn poll_content(&self, request: u64, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>>;

    /// The bytes still to come, if that is known.
    fn remaining(&self, request: u64) -> Option<u64>;

    /// The trailer section, once the content is complete.
    fn take_trailers(&self, request: u64) -> Option<Box<HeaderMap>>;

    /// Nobody waits for the next piece any longer.
    fn cancel_wait(&self, request: u64);
}

impl Body {
    pub(crate) fn of_connection(content: Rc<dyn ContentSource>, request: u64) -> Body {
        Body { source: Source::Connection { content, request } }
    }

    /// The next piece of content as it arrived; `None` at the end. Pieces are never empty.
    ///
    /// The first call sends 100 (Continue) if the peer waits for it.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let wait = Wait(self);
        poll_fn(|cx| wait.0.poll_chunk(cx)).await
    }

    /// See [`chunk`](Body::chunk). The time the content may take counts from the first call that is pending to the
    /// next that is ready.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(Ok(None)),
            Source::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Empty;
                Poll::Ready(Ok(Some(bytes).filter(|bytes| !bytes.is_empty())))
            }
            Source::Connection { content, request } => content.poll_content(*request, cx),
        }
    }

    /// The bytes still to come; `None` if the peer did not announce them (the chunked coding).
    pub fn remaining(&self) -> Option<u64> {
        match &self.source {
            Source::Empty => Some(0),
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Connection { content, request } => content.remaining(*request),
        }
    }

    /// The trailer section of the chunked coding, once [`chunk`](Body::chunk) gave `None`. Its fields are the peer's
    /// word only, and never part of the head's (RFC 9110, section 6.5).
    pub fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        match &self.source {
            Source::Connection { content, request } => content.take_trailers(*request),
            Source::Empty | Source::Bytes(_) => None,
        }
    }

    /// Reads the rest into memory. Memory grows with what arrives, not with what was announced.
    pub(super) async fn collect(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        if self.remaining().is_some_and(|length| length > limit) {
            return Err(BodyError::TooLarge(limit));
        }
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if self.remaining() == Some(0) && first.len() as u64 <= limit {
            return Ok(first);
        }
        let mut collected = BytesMut::from(first);
        loop {
            if collected.len() as u64 > limit {
                return Err(BodyError::TooLarge(limit));
            }
            match self.chunk().await? {
                Some(piece) => collected.extend_from_slice(&piece),
                None => return Ok(collected.freeze()),
            }
        }
    }
}

/// Waits for a piece of content. Given up, it takes the time for the piece with it.
struct Wait<'a>(&'a mut Body);

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
