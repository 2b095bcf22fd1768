//! Content that is compressed while it is sent.

use std::mem::take;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use super::codec::{Encoder, Then};
use crate::message::content_connection::ContentConnection;
use crate::message::content_stream::{ContentStream, StreamError};

/// Maximum input that is compressed in one step, and before other tasks of the thread have their turn.
const STEP_BYTES_MAX: usize = 64 * 1024;

/// Content that is compressed while it is sent.
///
/// Output waits for more input only while the source has some: when the source waits, everything so far is flushed.
/// An event of an event stream thus arrives when it is sent.
pub(super) struct CompressedContent {
    source: Option<Box<dyn ContentStream>>,
    /// Input that was taken from the source and is not compressed yet.
    input: Bytes,
    /// `None` after the end.
    encoder: Option<Encoder>,
    /// Whether input can be in the compressor that has not come out.
    is_unflushed: bool,
    /// Input compressed since other tasks had a turn.
    turn_bytes: usize,
    trailers: Option<HeaderMap>,
}

impl CompressedContent {
    pub(super) fn of_stream(source: Box<dyn ContentStream>, encoder: Encoder) -> CompressedContent {
        CompressedContent::new(Some(source), Bytes::new(), encoder)
    }

    pub(super) fn of_bytes(input: Bytes, encoder: Encoder) -> CompressedContent {
        CompressedContent::new(None, input, encoder)
    }

    fn new(source: Option<Box<dyn ContentStream>>, input: Bytes, encoder: Encoder) -> CompressedContent {
        CompressedContent { source, input, encoder: Some(encoder), is_unflushed: false, turn_bytes: 0, trailers: None }
    }

    /// Polls for more input; `None` at its end.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        if !self.input.is_empty() {
            return Poll::Ready(Some(Ok(take(&mut self.input))));
        }
        self.source.as_mut().map_or(Poll::Ready(None), |source| source.poll_next(cx))
    }

    /// Compresses input and appends what comes out.
    fn write(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> Result<(), StreamError> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        self.is_unflushed = then == Then::Continue && (self.is_unflushed || !input.is_empty());
        encoder.write(input, then, out).map_err(StreamError::new)
    }

    /// Ends the compressed content.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), StreamError> {
        self.write(&[], Then::Finish, out)?;
        if let Some(encoder) = self.encoder.take() {
            encoder.give_back();
        }
        self.trailers = self.source.take().and_then(|mut source| source.take_trailers());
        Ok(())
    }
}

impl ContentStream for CompressedContent {
    fn begin(&mut self, connection: ContentConnection) {
        if let Some(source) = &mut self.source {
            source.begin(connection.wrapped());
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        let mut out = Vec::new();
        while self.encoder.is_some() {
            if self.turn_bytes >= STEP_BYTES_MAX {
                self.turn_bytes = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let written = match self.poll_input(cx) {
                Poll::Pending => {
                    self.turn_bytes = 0;
                    if !take(&mut self.is_unflushed) {
                        return Poll::Pending;
                    }
                    self.write(&[], Then::Flush, &mut out)
                }
                Poll::Ready(None) => self.finish(&mut out),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(mut piece))) => {
                    self.input = piece.split_off(piece.len().min(STEP_BYTES_MAX));
                    self.turn_bytes += piece.len();
                    self.write(&piece, Then::Continue, &mut out)
                }
            };
            if let Err(error) = written {
                return Poll::Ready(Some(Err(error)));
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(out.into())));
            }
        }
        Poll::Ready(None)
    }

    fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}
