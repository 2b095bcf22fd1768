//! Content on tower's side: `Send`, whatever it is read from.
//!
//! The content of a request is read from its connection, and that of a streamed response from its handler; both stay on
//! the connection's thread. [`Content`] reads them through a slot for one piece. The task of the connection fills the
//! slot when the reader has asked for a piece, so nothing is read ahead, wherever the reader runs.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::error::BodyError;
use crate::message::body::Body;
use crate::message::content_stream::ContentStream;

/// An error of tower services and of content.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The content of a request or a response for tower services: an [`http_body::Body`] that is `Send`.
///
/// It is read piece by piece, each when it is polled for. A reader on another thread slows the peer down like one on
/// the connection's own. The content of a request can be read until its response has been sent; later reads fail with
/// [`BodyError::Finished`].
#[derive(Default)]
pub struct Content(State);

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Bytes(Bytes),
    Slot {
        slot: Arc<Slot>,
        /// The bytes to come, if they are known.
        remaining: Option<u64>,
    },
}

impl Content {
    /// Creates content that a pump of the connection's task provides, after the piece `first`.
    pub(super) fn pumped(source: Source, remaining: Option<u64>, first: Option<Bytes>) -> (Content, Pump) {
        let slot = Arc::<Slot>::default();
        slot.lock().item = first.map(Item::Piece);
        let pump = Pump { slot: Arc::clone(&slot), source };
        (Content(State::Slot { slot, remaining }), pump)
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, State::Empty)
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content(if bytes.is_empty() { State::Empty } else { State::Bytes(bytes) })
    }
}

impl HttpBody for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            State::Empty => Poll::Ready(None),
            State::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = State::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            State::Slot { slot, remaining } => {
                let frame = match slot.poll_take(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Item::Piece(piece)) => {
                        *remaining = remaining.map(|bytes| bytes.saturating_sub(piece.len() as u64));
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    Poll::Ready(Item::End(trailers)) => trailers.map(|trailers| Ok(Frame::trailers(*trailers))),
                    Poll::Ready(Item::Failed(error)) => Some(Err(error)),
                };
                self.0 = State::Empty;
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Empty => SizeHint::with_exact(0),
            State::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Slot { remaining, .. } => remaining.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let State::Slot { slot, .. } = &self.0 {
            let pump = {
                let mut places = slot.lock();
                places.reader_gone = true;
                places.item = None;
                places.pump.take()
            };
            pump.into_iter().for_each(Waker::wake);
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size_hint().exact() {
            Some(length) => write!(f, "Content({length} bytes)"),
            None => f.write_str("Content(chunked)"),
        }
    }
}

/// What goes through a slot.
enum Item {
    Piece(Bytes),
    End(Option<Box<HeaderMap>>),
    Failed(BoxError),
}

/// The place for one piece, between its reader and its pump.
#[derive(Default)]
struct Slot(Mutex<Places>);

#[derive(Default)]
struct Places {
    item: Option<Item>,
    /// Whether the reader waits for an item.
    wanted: bool,
    reader: Option<Waker>,
    pump: Option<Waker>,
    reader_gone: bool,
    pump_gone: bool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Item> {
        let pump = {
            let mut places = self.lock();
            if let Some(item) = places.item.take() {
                return Poll::Ready(item);
            }
            if places.pump_gone {
                return Poll::Ready(Item::Failed(BodyError::Finished.into()));
            }
            places.wanted = true;
            match &mut places.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                reader => *reader = Some(cx.waker().clone()),
            }
            // A pump of the same task is polled after this reader.
            places.pump.take_if(|pump| !pump.will_wake(cx.waker()))
        };
        pump.into_iter().for_each(Waker::wake);
        Poll::Pending
    }
}

/// The source that a pump reads, on the connection's thread.
pub(super) enum Source {
    /// The content of a request.
    Request(Body),
    /// The content of a response.
    Response(Box<dyn ContentStream>),
}

impl Source {
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Item> {
        match self {
            Source::Request(body) => body.poll_chunk(cx).map(|piece| match piece {
                Ok(Some(piece)) => Item::Piece(piece),
                Ok(None) => Item::End(body.take_trailers()),
                Err(error) => Item::Failed(error.into()),
            }),
            Source::Response(stream) => stream.poll_next(cx).map(|piece| match piece {
                Some(Ok(piece)) => Item::Piece(piece),
                None => Item::End(stream.take_trailers().map(Box::new)),
                Some(Err(error)) => Item::Failed(error.into()),
            }),
        }
    }
}

/// Moves content from its source into a slot, each piece when the reader waits for it. Polled by the task of the
/// connection.
pub(super) struct Pump {
    slot: Arc<Slot>,
    source: Source,
}

/// What a pump did when it was polled.
#[derive(PartialEq)]
pub(super) enum Pumped {
    /// Nothing: the reader does not wait, or the source has nothing.
    Nothing,
    /// It filled the slot. The reader is in the same task and was not woken.
    Filled,
    /// It has ended. `true` as for `Filled`.
    Ended(bool),
}

impl Pump {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Pumped {
        {
            let mut places = self.slot.lock();
            if places.reader_gone {
                return Pumped::Ended(false);
            }
            if !places.wanted {
                match &mut places.pump {
                    Some(pump) => pump.clone_from(cx.waker()),
                    pump => *pump = Some(cx.waker().clone()),
                }
                return Pumped::Nothing;
            }
        }
        let Poll::Ready(item) = self.source.poll_item(cx) else {
            return Pumped::Nothing;
        };
        let ended = !matches!(item, Item::Piece(_));
        let reader = {
            let mut places = self.slot.lock();
            places.item = Some(item);
            places.wanted = false;
            // Woken by the reader's next call.
            places.pump = Some(cx.waker().clone());
            places.reader.take()
        };
        let same_task = reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker()));
        if let Some(reader) = reader.filter(|_| !same_task) {
            reader.wake();
        }
        if ended { Pumped::Ended(same_task) } else { Pumped::Filled.if_same_task(same_task) }
    }
}

impl Pumped {
    fn if_same_task(self, same_task: bool) -> Pumped {
        if same_task { self } else { Pumped::Nothing }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let reader = {
            let mut places = self.slot.lock();
            places.pump_gone = true;
            places.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }
}
