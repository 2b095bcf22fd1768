//! What a handler is given: the head of a request and the way to its content.
//!
//! Owns the pairing of head and content and the collecting helpers. Where content comes from is behind a private trait:
//! the serving loop pulls it out of the connection when it is asked for, which is the backpressure. Content that is
//! never asked for is never read.

use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::error::{BodyError, RequestError};
use crate::protocol::head::RequestHead;
use crate::protocol::parse::parse_head;

/// A request. Everything of its head is there by dereferencing to [`RequestHead`].
///
/// ```
/// use tidegate_http::{Request, Response};
///
/// async fn greet(mut request: Request) -> Result<Response, tidegate_http::BodyError> {
///     let name = request.text().await?;
///     Ok(Response::text(format!("{} {name}", request.header("x-greeting").unwrap_or("Hello,"))))
/// }
/// ```
#[derive(Debug)]
pub struct Request {
    head: RequestHead,
    body: Body,
}

impl Request {
    pub(crate) fn new(head: RequestHead, body: Body) -> Request {
        Request { head, body }
    }

    /// A request from the bytes of a head, with its empty line, and content beside it: for testing handlers.
    ///
    /// # Errors
    /// What a peer would be refused for.
    ///
    /// ```
    /// let request = tidegate_http::Request::parse(b"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n", "")?;
    /// assert_eq!(request.path(), "/a");
    /// # Ok::<(), tidegate_http::RequestError>(())
    /// ```
    pub fn parse(head: &[u8], content: impl Into<Bytes>) -> Result<Request, RequestError> {
        let (head, _) = parse_head(head, &Arc::default())?;
        Ok(Request::new(head, Body::from(content.into())))
    }

    /// The head. It can be taken along by itself with [`into_parts`](Request::into_parts).
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The content.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The content, to be read.
    pub fn body_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// Takes the request apart.
    pub fn into_parts(self) -> (RequestHead, Body) {
        (self.head, self.body)
    }

    /// Puts a request together.
    pub fn from_parts(head: RequestHead, body: Body) -> Request {
        Request { head, body }
    }

    /// Reads the rest of the content into memory, up to the server's limit for content
    /// ([`Limits::body_bytes_max`](crate::Limits::body_bytes_max)).
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn bytes(&mut self) -> Result<Bytes, BodyError> {
        self.body.collect(u64::MAX).await
    }

    /// As [`bytes`](Request::bytes), but of content up to a limit in bytes.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] beyond the limit, without reading if the length was announced.
    pub async fn bytes_up_to(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        self.body.collect(limit).await
    }

    /// As [`bytes`](Request::bytes), as UTF-8 text.
    ///
    /// # Errors
    /// [`BodyError::NotText`] if it is not UTF-8.
    pub async fn text(&mut self) -> Result<String, BodyError> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into()).map_err(|_| BodyError::NotText)
    }
}

impl Deref for Request {
    type Target = RequestHead;

    fn deref(&self) -> &RequestHead {
        &self.head
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut RequestHead {
        &mut self.head
    }
}

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
    fn end_wait(&self, request: u64);
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
    async fn collect(&mut self, limit: u64) -> Result<Bytes, BodyError> {
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
            content.end_wait(*request);
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
