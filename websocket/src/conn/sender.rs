//! The sending half: queues messages and control frames from any thread.

use std::future::poll_fn;
use std::sync::Arc;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::compression::Compression;
use crate::conn::encoding::Encoding;
use crate::conn::frame_queue::{ControlQueue, FrameQueue};
use crate::conn::message_writer::MessageWriter;
use crate::conn::prepared::PreparedMessage;
use crate::conn::send::{SendMessage, SendRef};
use crate::error::Error;
use crate::frame::Frame;
use crate::message::{Message, MessageRef};
use crate::reserved_bits::ReservedBits;
use crate::role::Role;

/// The sending half of a WebSocket: cloneable, usable from any thread.
///
/// Every message is queued whole, in one step, so messages of several senders never mix; those of one sender keep their
/// order. Small frames that are queued together leave together. The queue is bounded: above its high mark, 1 MiB by
/// default ([`OutboundConfig`](tidegate_engine::OutboundConfig)), [`send`](Self::send) waits and
/// [`try_send`](Self::try_send) returns [`Error::Full`]. Once any sender has queued a close frame, everything later
/// fails with [`UsageError::CloseSent`](crate::UsageError::CloseSent).
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
    encoding: Option<Arc<Encoding>>,
}

impl Sender {
    pub(crate) fn new(bytes: tidegate_engine::ByteSender, encoding: Option<Arc<Encoding>>) -> Self {
        Self { bytes, encoding }
    }

    /// Sets the deadline of the WebSocket's reads, for example to renew it in a handler of pongs. It has an effect once
    /// [`WebSocket::set_read_deadline`](crate::WebSocket::set_read_deadline) has replaced the idle timeout, and none
    /// once a close frame has been sent.
    ///
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # use tidegate_websocket::WebSocket;
    /// # fn example(ws: &mut WebSocket) {
    /// const PONG_WAIT: Duration = Duration::from_secs(60);
    /// ws.set_read_deadline(Some(Instant::now() + PONG_WAIT));
    /// ws.on_pong(|sender, _payload| {
    ///     sender.set_read_deadline(Some(Instant::now() + PONG_WAIT));
    ///     Ok(())
    /// });
    /// # }
    /// ```
    pub fn set_read_deadline(&self, deadline: Option<std::time::Instant>) {
        if !self.bytes.is_finished() {
            self.bytes.set_read_deadline(deadline);
        }
    }

    /// Waits for space, then queues a message.
    ///
    /// # Errors
    /// [`UsageError::CloseSent`](crate::UsageError::CloseSent) after a close frame, [`Error::Closed`] once the
    /// connection has failed, [`UsageError::StreamOpen`](crate::UsageError::StreamOpen) if it would wait for a
    /// [`send_stream`](Self::send_stream) of the same task.
    pub fn send(&self, message: impl Into<Message>) -> SendMessage<'_> {
        self.writer().send(message.into())
    }

    /// Queues a message if there is space.
    ///
    /// # Errors
    /// [`Error::Full`] above the high mark; otherwise as [`send`](Self::send).
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), Error> {
        Ok(self.writer().try_send(&message.into())?)
    }

    /// Waits for space, then queues an encoded message.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_prepared(&self, message: &PreparedMessage) -> Result<(), Error> {
        self.writer().send_prepared(message).await
    }

    /// Queues an encoded message if there is space.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_prepared(&self, message: &PreparedMessage) -> Result<(), Error> {
        Ok(self.writer().try_send_prepared(message)?)
    }

    /// Waits for space, then queues a borrowed message, such as one that was received, without owning it first.
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
        self.writer().send_ref(message)
    }

    /// Waits for space, then queues a text message from borrowed text.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&self, text: &str) -> Result<(), Error> {
        self.writer().send_borrowed(MessageRef::text(text)).await
    }

    /// Waits for space, then queues a binary message from borrowed bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_binary(&self, payload: &[u8]) -> Result<(), Error> {
        self.writer().send_borrowed(MessageRef::binary(payload)).await
    }

    /// Waits for space, then queues a message whose frame has reserved bits set: those of an extension that the peer
    /// agreed to (RFC 6455 section 5.2). Other peers answer with 1002. The message is not compressed: do not set RSV1
    /// where compression was agreed on.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with_bits(&self, message: impl Into<Message>, bits: ReservedBits) -> Result<(), Error> {
        let (queue, message, role) = (self.frame_queue(), message.into(), self.role());
        let try_queue = |queue: FrameQueue<'_>| match role {
            Role::Server => queue.try_queue_with_bits(&message, bits),
            Role::Client => queue.try_queue_masked(&Frame::message(&message).reserved_bits(bits)),
        };
        poll_fn(|cx| queue.poll_queue(cx, message.len(), try_queue)).await
    }

    /// Queues a ping; the peer answers with a pong of the same payload, at most 125 bytes.
    ///
    /// # Errors
    /// [`UsageError::ControlTooLong`](crate::UsageError::ControlTooLong); otherwise as [`try_send`](Self::try_send).
    pub fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.control_queue().try_queue(&Frame::ping(payload)?)?)
    }

    /// Queues an unsolicited pong of at most 125 bytes. Pings are answered automatically.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.control_queue().try_queue(&Frame::pong(payload)?)?)
    }

    /// Queues the close frame, the last frame of this side, and returns at once. The connection's reader completes the
    /// closing handshake.
    ///
    /// # Errors
    /// [`UsageError`](crate::UsageError) for a code or reason that must not be sent, or if a close frame is already
    /// queued.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame::new(code, reason)?;
        Ok(self.control_queue().queue_close(Some(&frame))?)
    }

    /// Resets the connection at once, without a close frame.
    pub fn abort(&self) {
        self.bytes.abort();
    }

    /// Returns whether nothing more can be sent: a close frame is queued, or the connection is closed.
    pub fn is_finished(&self) -> bool {
        self.bytes.is_finished()
    }

    /// Returns the number of bytes that are queued and not yet in the kernel.
    pub fn queued_bytes(&self) -> usize {
        self.bytes.queued_bytes()
    }

    /// Waits until everything queued so far is in the kernel. The peer has not necessarily received it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection failed first.
    pub async fn flush(&self) -> Result<(), Error> {
        Ok(self.bytes.flush().await?)
    }

    pub(crate) fn bytes(&self) -> &tidegate_engine::ByteSender {
        &self.bytes
    }

    pub(crate) fn role(&self) -> Role {
        self.writer().role()
    }

    pub(crate) fn compression(&self) -> Option<&Compression> {
        self.encoding.as_ref()?.compression()
    }

    #[inline]
    pub(crate) fn writer(&self) -> MessageWriter<'_> {
        MessageWriter::new(self.frame_queue(), self.encoding.as_deref())
    }

    fn frame_queue(&self) -> FrameQueue<'_> {
        FrameQueue(&self.bytes)
    }

    pub(crate) fn control_queue(&self) -> ControlQueue<'_> {
        self.writer().control()
    }
}

impl From<&Sender> for Sender {
    fn from(sender: &Sender) -> Self {
        sender.clone()
    }
}
