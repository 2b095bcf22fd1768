//! The sending half: messages and control frames into the connection's outbound queue, from any thread.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::SendError;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::compressor::Compression;
use crate::conn::frame_queue::FrameQueue;
use crate::conn::prepared::PreparedMessage;
use crate::conn::send_deflated::{DeflatedSend, Payload};
use crate::error::Error;
use crate::frame::Frame;
use crate::message::{Message, MessageRef};
use crate::opcode::ReservedBits;

/// Sends on one WebSocket: cloneable, usable from any thread.
///
/// Every message is queued whole, in one step, so messages of several senders never mix; those of one sender keep their
/// order. Small frames that are queued together leave together. The queue is bounded: above its high mark
/// [`send`](Self::send) waits and [`try_send`](Self::try_send) says [`Error::Full`]. Once a close frame is queued, by
/// whomever, everything later fails with [`UsageError::CloseSent`](crate::UsageError::CloseSent).
///
/// ```no_run
/// # use tidegate_websocket::WebSocket;
/// # fn example(ws: &WebSocket) {
/// let sender = ws.sender();
/// std::thread::spawn(move || sender.try_send("from another thread"));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sender {
    bytes: tidegate_engine::ByteSender,
    compression: Option<Arc<Compression>>,
}

impl Sender {
    pub(crate) fn new(bytes: tidegate_engine::ByteSender, compression: Option<Arc<Compression>>) -> Self {
        Self { bytes, compression }
    }

    /// Waits for space, then queues a message.
    ///
    /// # Errors
    /// [`UsageError::CloseSent`](crate::UsageError::CloseSent) after a close frame, [`Error::Closed`] once the connection has failed.
    pub fn send(&self, message: impl Into<Message>) -> SendMessage<'_> {
        SendMessage::new(self.frame_queue(), self.compression(), message.into())
    }

    /// Queues a message if there is space.
    ///
    /// # Errors
    /// [`Error::Full`] above the high mark; else as [`send`](Self::send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        match self.compression() {
            None => self.frame_queue().try_queue(&message)?,
            Some(compression) => compression.try_queue(self.frame_queue(), &MessageRef::from(&message))?,
        }
        Ok(())
    }

    /// Waits for space, then queues a message that was encoded before.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_prepared(&self, message: &PreparedMessage) -> Result<(), Error> {
        Ok(self.bytes.send(self.frame_of(message)).await?)
    }

    /// Queues a message that was encoded before, if there is space.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_prepared(&self, message: &PreparedMessage) -> Result<(), Error> {
        Ok(self.bytes.try_send(self.frame_of(message))?)
    }

    /// Waits for space, then queues a borrowed message: one that was received, without owning it first.
    ///
    /// ```no_run
    /// # use tidegate_websocket::{Error, WebSocket};
    /// # async fn example(mut ws: WebSocket) -> Result<(), Error> {
    /// let sender = ws.sender();
    /// while let Some(message) = ws.recv_ref().await? {
    ///     sender.send_ref(&message).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_ref<'a>(&'a self, message: &'a MessageRef<'a>) -> SendRef<'a> {
        SendRef::new(self.frame_queue(), self.compression(), message)
    }

    /// Waits for space, then queues a text message from borrowed text.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&self, text: &str) -> Result<(), Error> {
        match self.compression() {
            None => self.frame_queue().send_frame(&Frame::text(text), text.len()).await,
            Some(with) => DeflatedSend::new(self.frame_queue(), with, Payload::Borrowed(MessageRef::text(text))).await,
        }
    }

    /// Waits for space, then queues a binary message from borrowed bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_binary(&self, payload: &[u8]) -> Result<(), Error> {
        match self.compression() {
            None => self.frame_queue().send_frame(&Frame::binary(payload), payload.len()).await,
            Some(with) => {
                DeflatedSend::new(self.frame_queue(), with, Payload::Borrowed(MessageRef::binary(payload))).await
            }
        }
    }

    /// Waits for space, then queues a message whose frame has reserved bits set: those of an extension that the peer agreed
    /// to (RFC 6455 section 5.2). Any other peer answers with 1002.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with_bits(&self, message: impl Into<Message>, bits: ReservedBits) -> Result<(), Error> {
        let (frame_queue, message) = (self.frame_queue(), message.into());
        poll_fn(|cx| {
            frame_queue.poll_queue(cx, message.len(), |frame_queue| frame_queue.try_queue_with_bits(&message, bits))
        })
        .await
    }

    /// Queues a ping; the peer answers with a pong of the same payload, at most 125 bytes.
    ///
    /// # Errors
    /// [`UsageError::ControlTooLong`](crate::UsageError::ControlTooLong); else as [`try_send`](Self::try_send).
    pub fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.frame_queue().try_queue_control(&Frame::ping(payload)?)?)
    }

    /// Queues a pong, at most 125 bytes. Pings are answered without this.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.frame_queue().try_queue_control(&Frame::pong(payload)?)?)
    }

    /// Queues the close frame, the last frame of this side, and returns at once. The connection's reader completes the
    /// closing handshake.
    ///
    /// # Errors
    /// [`UsageError`](crate::UsageError) for a code or reason that must not be sent, or if a close frame was queued before.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame::new(code, reason)?;
        Ok(self.frame_queue().queue_close(Some(&frame))?)
    }

    /// Ends the connection at once, without a close frame: the peer sees a reset.
    pub fn abort(&self) {
        self.bytes.abort();
    }

    /// Whether nothing more can be sent: a close frame was queued or the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.bytes.is_finished()
    }

    /// Bytes queued and not yet in the kernel's hands.
    pub fn queued_bytes(&self) -> usize {
        self.bytes.outbound_bytes()
    }

    /// Waits until everything queued so far is in the kernel's hands.
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection failed first.
    pub async fn flush(&self) -> Result<(), Error> {
        Ok(self.bytes.flush().await?)
    }

    pub(crate) fn bytes(&self) -> &tidegate_engine::ByteSender {
        &self.bytes
    }

    pub(crate) fn compression(&self) -> Option<&Compression> {
        self.compression.as_deref()
    }

    fn frame_of(&self, message: &PreparedMessage) -> Bytes {
        self.compression().map_or_else(|| message.plain().clone(), |compression| compression.frame_of(message))
    }

    pub(crate) fn frame_queue(&self) -> FrameQueue<'_> {
        FrameQueue(&self.bytes)
    }
}

impl From<&Sender> for Sender {
    fn from(sender: &Sender) -> Self {
        sender.clone()
    }
}

/// The future of [`Sender::send_ref`]. Dropped before it completes, it has queued nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SendRef<'a>(RefWay<'a>);

/// No larger than what the plain way needs.
#[derive(Debug)]
enum RefWay<'a> {
    ShortFrame { frame_queue: FrameQueue<'a>, message: &'a MessageRef<'a> },
    Deflated(DeflatedSend<'a>),
}

impl<'a> SendRef<'a> {
    #[inline]
    fn new(frame_queue: FrameQueue<'a>, compression: Option<&'a Compression>, message: &'a MessageRef<'a>) -> Self {
        Self(match compression {
            None => RefWay::ShortFrame { frame_queue, message },
            Some(compression) => {
                RefWay::Deflated(DeflatedSend::new(frame_queue, compression, Payload::Borrowed(*message)))
            }
        })
    }
}

impl Future for SendRef<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            RefWay::ShortFrame { frame_queue, message } => loop {
                match frame_queue.try_queue_ref(message) {
                    Err(SendError::Full) => ready!(frame_queue.poll_ready(cx, message.as_bytes().len()))?,
                    queued => return Poll::Ready(queued.map_err(Error::from)),
                }
            },
            RefWay::Deflated(send) => Pin::new(send).poll(cx),
        }
    }
}

/// The future of [`Sender::send`] and [`WebSocket::send`](crate::WebSocket::send). Dropped before it completes, it has
/// queued nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SendMessage<'a>(MessageWay<'a>);

/// No larger than what the plain way needs.
#[derive(Debug)]
enum MessageWay<'a> {
    ShortFrame { frame_queue: FrameQueue<'a>, message: Option<Message> },
    Deflated(DeflatedSend<'a>),
}

impl<'a> SendMessage<'a> {
    #[inline]
    pub(crate) fn new(frame_queue: FrameQueue<'a>, compression: Option<&'a Compression>, message: Message) -> Self {
        Self(match compression {
            None => MessageWay::ShortFrame { frame_queue, message: Some(message) },
            Some(compression) => {
                MessageWay::Deflated(DeflatedSend::new(frame_queue, compression, Payload::Owned(message)))
            }
        })
    }
}

impl Future for SendMessage<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            MessageWay::ShortFrame { frame_queue, message: slot } => {
                let Some(message) = slot else { return Poll::Ready(Ok(())) };
                ready!(frame_queue.poll_queue(cx, message.len(), |frame_queue| frame_queue.try_queue(message)))?;
                *slot = None;
                Poll::Ready(Ok(()))
            }
            MessageWay::Deflated(send) => Pin::new(send).poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_are_no_larger_for_what_most_connections_do_not_have() {
        let pointer = size_of::<FrameQueue<'_>>();
        assert_eq!(size_of::<SendMessage<'_>>(), pointer + size_of::<Message>());
        assert_eq!(size_of::<SendRef<'_>>(), pointer + size_of::<&MessageRef<'_>>());
    }
}
