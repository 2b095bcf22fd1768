//! Reading owned messages.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::buffer_pool;
use crate::conn::session::Session;
use crate::error::Error;
use crate::message::{Message, MessageKind};
use crate::protocol::ShortFrame;
use crate::utf8::Text;

/// Minimum bytes of a payload that keeps the memory it was received in, if it fills at least half of that memory.
/// Copying a smaller one costs less.
const TAKE_BYTES_MIN: usize = 2048;

/// The future of [`WebSocket::recv`](crate::WebSocket::recv).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Recv<'a> {
    pub(crate) session: &'a mut Session,
}

impl Future for Recv<'_> {
    type Output = Result<Option<Message>, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().session.poll_owned(cx)
    }
}

impl Session {
    /// Reads the next whole message, owned. Short ones that lie in the buffer, nearly all, are read without an event.
    #[inline]
    pub(crate) fn poll_owned(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        match self.poll_short_frame(cx) {
            Poll::Ready(Some(frame)) => Poll::Ready(self.own_message(frame).map(Some)),
            Poll::Ready(None) => self.poll_owned_event(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    #[inline]
    fn own_message(&mut self, frame: ShortFrame) -> Result<Message, Error> {
        let payload = self.payload(frame);
        if payload.len() >= TAKE_BYTES_MIN {
            return self.take_message(frame);
        }
        let message = match frame.kind() {
            MessageKind::Binary => Message::from(payload),
            MessageKind::Text => match Text::copy_from_utf8(payload) {
                Ok(text) => Message::Text(text),
                Err(_) => return Err(self.refuse_text()),
            },
        };
        if self.cursor.end() == self.connection.buffer().len() {
            // An owned message pins no receive buffer.
            self.release();
        }
        Ok(message)
    }

    /// Takes over the memory of a message that is too large to copy.
    fn take_message(&mut self, frame: ShortFrame) -> Result<Message, Error> {
        let range = self.cursor.payload(frame);
        self.cursor.rewind();
        let payload = self.connection.try_take_bytes(range.clone()).unwrap_or_else(|| {
            let payload = buffer_pool::copy(&self.connection.buffer()[range.clone()]);
            self.connection.consume(range.end);
            payload
        });
        self.owned_message(frame.kind(), payload)
    }

    fn poll_owned_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        let Some(event) = ready!(self.poll_message(cx))? else { return Poll::Ready(Ok(None)) };
        let message = event.into_message(self.connection.buffer()).map_err(Error::from);
        self.release();
        Poll::Ready(message)
    }
}
