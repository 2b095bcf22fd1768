//! Response content that is produced while it is sent.
//!
//! Owns [`ContentStream`], which a response's content is pulled through, and the adapter that lets an async function
//! push into it. The server polls for the next piece only when the connection has space, which is the backpressure: a
//! producer is never ahead by more than one piece.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use thiserror::Error;
use tidegate_engine::FilePart;

use crate::error::BodyError;
use crate::message::content_connection::ContentConnection;

/// A boxed future that stays on its thread and can borrow for `'a`.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Response content that is polled piece by piece, as the peer takes it.
///
/// For content from a poll-based source; [`Response::stream`](crate::Response::stream) makes one from an async
/// function.
///
/// ```
/// use std::task::{Context, Poll};
///
/// use bytes::Bytes;
/// use http::StatusCode;
/// use tidegate_http::{ContentStream, Response, ResponseBody, StreamError};
///
/// struct Zeros {
///     left: usize,
/// }
///
/// impl ContentStream for Zeros {
///     fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
///         let length = self.left.min(4096);
///         self.left -= length;
///         Poll::Ready((length > 0).then(|| Ok(vec![0; length].into())))
///     }
///
///     fn length(&self) -> Option<u64> {
///         Some(self.left as u64)
///     }
/// }
///
/// let body = ResponseBody::Stream(Box::new(Zeros { left: 1_000_000 }));
/// let response = Response::new(StatusCode::OK).with_body(body);
/// assert_eq!(response.body().length(), Some(1_000_000));
/// ```
pub trait ContentStream {
    /// Called once before the first poll, with the connection that the content is sent on. Default: ignored. A stream
    /// that wraps another one passes it on.
    fn begin(&mut self, connection: ContentConnection) {
        drop(connection);
    }

    /// Polls for the next piece; `None` at the end. An empty piece is skipped.
    ///
    /// # Errors
    /// The content cannot be completed. The connection is closed so that the peer sees that content is missing: without
    /// the last chunk, short of the announced length, or by a reset.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>>;

    /// As [`poll_next`](ContentStream::poll_next), and can give a part of a file too. Not part of the API.
    #[doc(hidden)]
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ContentPiece, StreamError>>> {
        self.poll_next(cx).map(|next| next.map(|piece| piece.map(ContentPiece::Bytes)))
    }

    /// Returns the length of the whole content in bytes, if it is known before the first piece; it is sent as
    /// Content-Length. Otherwise the chunked coding is used, and in HTTP/1.0 the end of the connection. Default:
    /// unknown.
    fn length(&self) -> Option<u64> {
        None
    }

    /// Takes the trailer section. Called once after the end; sent only with the chunked coding. Default: none.
    fn take_trailers(&mut self) -> Option<HeaderMap> {
        None
    }
}

/// A piece of content. Not part of the API.
#[doc(hidden)]
#[derive(Debug)]
pub enum ContentPiece {
    Bytes(Bytes),
    /// To be sent without a copy. Only where [`ContentConnection`] allows it.
    File(FilePart),
}

impl ContentPiece {
    /// Returns the bytes of memory that it takes: none for a part of a file.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            ContentPiece::Bytes(bytes) => bytes.len(),
            ContentPiece::File(_) => 0,
        }
    }
}

/// The reason why content cannot be completed. It is logged, and never sent to the peer.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct StreamError(Box<dyn std::error::Error + Send + Sync>);

impl StreamError {
    /// Creates an error from a cause: another error, or a text.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StreamError {
        StreamError(cause.into())
    }
}

/// For content that is made of the request's.
impl From<BodyError> for StreamError {
    fn from(error: BodyError) -> StreamError {
        StreamError::new(error)
    }
}

/// For content that is read from a file.
impl From<std::io::Error> for StreamError {
    fn from(error: std::io::Error) -> StreamError {
        StreamError::new(error)
    }
}

/// The writing end of a response's content, given to the async function of
/// [`Response::stream`](crate::Response::stream).
///
/// ```
/// use tidegate_http::Response;
///
/// let response = Response::stream(|mut writer| async move {
///     for path in ["one.txt", "two.txt"] {
///         let content = std::fs::read(path)?;
///         writer.write(content).await; // completes when the connection has taken it
///     }
///     Ok(())
/// });
/// ```
#[derive(Debug)]
pub struct ContentWriter {
    slot: Rc<RefCell<Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    piece: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl ContentWriter {
    /// Sends a piece. Completes when the connection has taken it: a slow peer slows down the producer.
    ///
    /// If the connection is lost, the producer's future is dropped at this await.
    pub async fn write(&mut self, piece: impl Into<Bytes>) {
        let mut piece = Some(piece.into()).filter(|piece: &Bytes| !piece.is_empty());
        // The producer is polled again only after the piece was taken.
        std::future::poll_fn(|_| {
            let mut slot = self.slot.borrow_mut();
            if slot.piece.is_none() {
                slot.piece = piece.take();
            }
            match slot.piece {
                None => Poll::Ready(()),
                Some(_) => Poll::Pending,
            }
        })
        .await;
    }

    /// Sets the trailer section, which is sent after the last piece if the chunked coding is used.
    pub fn set_trailers(&mut self, trailers: HeaderMap) {
        self.slot.borrow_mut().trailers = Some(trailers);
    }
}

/// The reading end: runs the producer when its content is polled.
pub(crate) struct WriterStream {
    slot: Rc<RefCell<Slot>>,
    producer: Option<LocalBoxFuture<'static, Result<(), StreamError>>>,
}

impl WriterStream {
    pub(crate) fn new<F, Fut>(produce: F) -> WriterStream
    where
        F: FnOnce(ContentWriter) -> Fut,
        Fut: Future<Output = Result<(), StreamError>> + 'static,
    {
        let slot = Rc::default();
        let writer = ContentWriter { slot: Rc::clone(&slot) };
        WriterStream { slot, producer: Some(Box::pin(produce(writer))) }
    }
}

impl ContentStream for WriterStream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        let Some(producer) = &mut self.producer else {
            return Poll::Ready(None);
        };
        let polled = producer.as_mut().poll(cx);
        if let Poll::Ready(result) = polled {
            self.producer = None;
            if let Err(error) = result {
                return Poll::Ready(Some(Err(error)));
            }
        }
        // A write that was dropped before it completed leaves its piece here.
        match self.slot.borrow_mut().piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None if self.producer.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.slot.borrow_mut().trailers.take()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn pull(stream: &mut WriterStream) -> Poll<Option<Result<Bytes, String>>> {
        let mut cx = Context::from_waker(Waker::noop());
        stream.poll_next(&mut cx).map(|next| next.map(|piece| piece.map_err(|error| error.to_string())))
    }

    #[test]
    fn pieces_come_one_at_a_time() {
        let steps = Rc::new(RefCell::new(0));
        let counted = Rc::clone(&steps);
        let mut stream = WriterStream::new(|mut writer| async move {
            for piece in ["one", "", "two"] {
                *counted.borrow_mut() += 1;
                writer.write(piece).await;
            }
            writer.set_trailers(HeaderMap::new());
            Ok(())
        });
        assert_eq!(*steps.borrow(), 0);
        assert_eq!(pull(&mut stream), Poll::Ready(Some(Ok("one".into()))));
        assert_eq!(*steps.borrow(), 1);
        assert_eq!(pull(&mut stream), Poll::Ready(Some(Ok("two".into()))));
        assert_eq!(pull(&mut stream), Poll::Ready(None));
        assert_eq!(pull(&mut stream), Poll::Ready(None));
        assert!(stream.take_trailers().is_some());
    }

    #[test]
    fn failures_and_waits_are_passed_on() {
        let mut stream = WriterStream::new(|mut writer| async move {
            writer.write("a").await;
            Err(StreamError::new("no more"))
        });
        assert_eq!(pull(&mut stream), Poll::Ready(Some(Ok("a".into()))));
        assert_eq!(pull(&mut stream), Poll::Ready(Some(Err("no more".into()))));
        assert_eq!(pull(&mut stream), Poll::Ready(None));
        let mut waiting = WriterStream::new(|_writer| std::future::pending());
        assert_eq!(pull(&mut waiting), Poll::Pending);
    }
}
