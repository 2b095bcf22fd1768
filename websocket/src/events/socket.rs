//! The WebSocket that an event handler sees during a call.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use tidegate_engine::{CloseCause, spawn_local};

use super::flow::{ABORTED, CLOSING, Change, FULL, Flow, HAS_MAILBOX, PAUSED};
use super::handle::Mailbox;
use super::{EventHandle, EventHandler};
use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::config::KeepaliveConfig;
#[cfg(feature = "compression")]
use crate::conn::encoding::Encoding;
use crate::conn::frame_queue::FrameQueue;
use crate::conn::message_writer::MessageWriter;
use crate::conn::prepared::PreparedMessage;
use crate::conn::sender::Sender;
use crate::conn::session::Around;
#[cfg(feature = "compression")]
use crate::deflate::CompressionLevel;
use crate::error::Error;
use crate::frame::Frame;
use crate::message::MessageRef;
use crate::reserved_bits::ReservedBits;
use crate::serve::handler_error;
use crate::usage_error::UsageError;

/// A WebSocket during a call of its [`EventHandler`].
///
/// Nothing here waits. What has to be known later goes into the handler's state; work that waits is
/// [spawned](Self::spawn).
///
/// | In uWebSockets | Here |
/// |---|---|
/// | `ws.send`, `ws.getBufferedAmount` | [`send`](Self::send), [`buffered_amount`](Self::buffered_amount) |
/// | `drain` | [`on_drained`](EventHandler::on_drained) |
/// | `ws.subscribe`, `ws.unsubscribe`, `ws.getTopics` | [`subscribe`](Self::subscribe), [`unsubscribe`](Self::unsubscribe), [`subscriptions`](Self::subscriptions) |
/// | `ws.isSubscribed` | [`is_subscribed`](Self::is_subscribed) |
/// | `ws.publish`, `app.publish` | [`publish`](Self::publish), [`Hub::publish`](crate::Hub::publish) |
/// | `app.numSubscribers` | [`Hub::room_len`](crate::Hub::room_len) |
/// | `ws.end(code, reason)`, `ws.close()` | [`close`](Self::close), [`abort`](Self::abort) |
/// | `ws.cork` | not needed: what a call sends leaves together |
/// | `ws.getUserData` | the state, a parameter of each call |
/// | `ws.getRemoteAddress` | [`peer_addr`](Self::peer_addr) |
/// | `loop.defer` | [`handle`](Self::handle), [`EventHandle::post`] |
pub struct EventSocket<'a, H: EventHandler> {
    pub(super) handler: &'a H,
    pub(super) around: Around<'a>,
    pub(super) flow: &'a mut Flow<H>,
    pub(super) waker: &'a Waker,
}

/// # Sending
/// A send queues the message whole, and never waits. See [`EventHandler`] for what happens when the peer does not read.
impl<H: EventHandler> EventSocket<'_, H> {
    /// Queues a message: one that has arrived, a `&str`, a `&[u8]`, or a `&Message`. Where compression was agreed on, a
    /// message of more than 256 KiB is sent as it is: compressing it would hold the thread for too long.
    /// [`Sender::send`] in [spawned](Self::spawn) work compresses it slice by slice.
    ///
    /// # Errors
    /// [`Error::Full`] after a send that has brought the queue to its high mark, until
    /// [`on_drained`](EventHandler::on_drained); [`UsageError::CloseSent`] after a close frame; [`Error::Closed`] once
    /// the connection has failed.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<MessageRef<'m>>) -> Result<(), Error> {
        self.check_room()?;
        if self.writer().queue_in_order(&message.into())? {
            self.flow.set(FULL);
        }
        Ok(())
    }

    /// Queues an encoded message.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.check_room()?;
        if self.writer().queue_prepared_in_order(message)? {
            self.flow.set(FULL);
        }
        Ok(())
    }

    /// Queues a message whose frame has reserved bits set: those of an extension that the peer agreed to (RFC 6455
    /// section 5.2). Other peers answer with 1002. The message is not compressed: do not set RSV1 where compression was
    /// agreed on.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with_bits<'m>(&mut self, message: impl Into<MessageRef<'m>>, bits: ReservedBits) -> Result<(), Error> {
        self.check_room()?;
        if FrameQueue(self.around.sender).queue_with_bits_in_order(&message.into(), bits)? {
            self.flow.set(FULL);
        }
        Ok(())
    }

    /// Queues a ping; the peer answers with a pong of the same payload, at most 125 bytes.
    ///
    /// # Errors
    /// [`UsageError::ControlTooLong`]; [`Error::Full`] if the queue is full; otherwise as [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        Ok(self.writer().control().try_queue(&Frame::ping(payload)?)?)
    }

    /// Queues an unsolicited pong of at most 125 bytes. Pings are answered automatically.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        Ok(self.writer().control().try_queue(&Frame::pong(payload)?)?)
    }

    /// Returns the number of bytes that are queued and not yet in the kernel.
    pub fn buffered_amount(&self) -> usize {
        self.around.sender.queued_bytes()
    }

    /// Returns whether sends fail with [`Error::Full`] until [`on_drained`](EventHandler::on_drained).
    pub fn is_full(&self) -> bool {
        self.flow.has(FULL)
    }

    /// Returns whether nothing more can be sent: a close frame of ours is due or queued, whoever sends it, or the
    /// connection is closed.
    pub fn is_finished(&self) -> bool {
        self.flow.has(CLOSING) || self.around.sender.is_finished()
    }

    #[inline]
    fn check_room(&self) -> Result<(), Error> {
        if self.flow.has(FULL | CLOSING) { Err(self.refusal()) } else { Ok(()) }
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.flow.has(CLOSING) { Err(self.refusal()) } else { Ok(()) }
    }

    #[cold]
    fn refusal(&self) -> Error {
        if self.flow.has(ABORTED) {
            Error::Closed(CloseCause::Aborted)
        } else if self.flow.has(CLOSING) {
            UsageError::CloseSent.into()
        } else {
            Error::Full
        }
    }

    #[inline]
    fn writer(&self) -> MessageWriter<'_> {
        MessageWriter::new(FrameQueue(self.around.sender), self.around.context.encoding.as_deref())
    }
}

/// # Ending
impl<H: EventHandler> EventSocket<'_, H> {
    /// Closes the WebSocket: queues the close frame after the call and waits for the peer's, at most for
    /// [`close_timeout`](crate::WebSocketConfig::close_timeout). Messages that arrive meanwhile are dropped; then comes
    /// [`on_close`](EventHandler::on_close). Closing again has no effect.
    ///
    /// # Errors
    /// [`Error::Usage`] for a code or reason that must not be sent.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame::new(code, reason)?;
        self.flow.close(Some(frame));
        Ok(())
    }

    /// Ends the connection without a close frame: what is queued is sent, then the TCP connection ends in order. The
    /// peer sees the loss of the connection (code 1006). Nothing more is delivered but
    /// [`on_close`](EventHandler::on_close). No effect once a close frame is due.
    pub fn quit(&mut self) {
        self.flow.quit();
    }

    /// Resets the connection at once, without a close frame. Nothing more is delivered but
    /// [`on_close`](EventHandler::on_close).
    pub fn abort(&mut self) {
        self.around.sender.abort();
        self.flow.abort();
    }
}

/// # Work that waits
impl<H: EventHandler> EventSocket<'_, H> {
    /// Returns a handle of this connection for tasks and threads. A connection takes about 150 bytes more while it has
    /// handles.
    pub fn handle(&mut self) -> EventHandle<H> {
        self.flow.set(HAS_MAILBOX);
        let calls_max = self.around.context.config.posted_calls_max;
        let mailbox = self.flow.extra_mut().mailbox.get_or_insert_with(|| Mailbox::new(calls_max));
        let mailbox = Arc::clone(mailbox);
        EventHandle::new(self.sender(), mailbox, self.waker.clone())
    }

    /// Runs `future` as a task on this thread and calls `then` with its output, the connection and its state, as a call
    /// that is [posted](EventHandle::post): while the outbound queue is full it waits, so an answer meets no
    /// [`Error::Full`]. Messages are delivered meanwhile, unless the delivery is [paused](Self::pause). Nothing is
    /// called if the connection ends first; the future is not cancelled.
    ///
    /// ```
    /// use tidegate_websocket::{self as websocket, EventHandler, EventSocket, MessageRef};
    ///
    /// async fn look_up(key: String) -> String {
    ///     format!("the value of {key}")
    /// }
    ///
    /// struct Lookups;
    ///
    /// impl EventHandler for Lookups {
    ///     type State = u64;
    ///
    ///     fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result<u64> {
    ///         Ok(0)
    ///     }
    ///
    ///     fn on_message(
    ///         &self,
    ///         ws: &mut EventSocket<'_, Self>,
    ///         _answered: &mut u64,
    ///         message: MessageRef<'_>,
    ///     ) -> websocket::Result {
    ///         let key = message.as_text().unwrap_or_default().to_owned();
    ///         ws.spawn(look_up(key), |ws, answered, value| {
    ///             *answered += 1;
    ///             Ok(ws.send(&value)?)
    ///         });
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    /// On a thread that runs no handlers, as in a test that calls the handler by itself.
    pub fn spawn<F>(
        &mut self,
        future: F,
        then: impl FnOnce(&mut EventSocket<'_, H>, &mut H::State, F::Output) -> handler_error::Result + Send + 'static,
    ) where
        F: Future<Output: Send> + 'static,
    {
        let handle = self.handle();
        spawn_local(async move {
            let output = future.await;
            // An error means that the connection has ended.
            let _ = handle.answer(Box::new(move |ws, state| then(ws, state, output)));
        });
    }

    /// Stops the delivery until [`resume`](Self::resume). What the peer sends stays in the receive buffers, and its
    /// sending is slowed down. Pings are not answered meanwhile, and neither the peer's close frame nor a read deadline
    /// is noticed. A close frame of ours, of any sender or of a shutdown, ends the pause, as does the failure of the
    /// connection.
    pub fn pause(&mut self) {
        self.flow.set(PAUSED);
    }

    /// Goes on with the delivery: in a call that was [posted](EventHandle::post).
    pub fn resume(&mut self) {
        self.flow.clear(PAUSED);
    }

    /// Returns the sending half, for other tasks and threads.
    pub fn sender(&self) -> Sender {
        Sender::new(self.around.sender.clone(), self.around.context.encoding.clone())
    }
}

/// # Deadlines, timeouts and limits
/// They are set when the call has returned. [`WebSocket`](crate::WebSocket) has a table of them.
impl<H: EventHandler> EventSocket<'_, H> {
    /// Sets the deadline of reads: if nothing has arrived by then, [`on_deadline`](EventHandler::on_deadline) is
    /// called. It replaces the idle timeout. `None` removes it.
    pub fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.flow.change(Change::ReadDeadline(deadline));
    }

    /// Sets the deadline of writes: the connection is reset if bytes are still queued then.
    pub fn set_write_deadline(&mut self, deadline: Option<Instant>) {
        self.around.sender.set_write_deadline(deadline);
    }

    /// Changes [`WebSocketConfig::idle_timeout`](crate::WebSocketConfig::idle_timeout) for this connection. It costs a
    /// copy of the connection's settings, some hundred bytes.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.flow.change(Change::IdleTimeout(timeout));
    }

    /// Changes [`WebSocketConfig::write_timeout`](crate::WebSocketConfig::write_timeout) for this connection.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.flow.change(Change::WriteTimeout(timeout));
    }

    /// Starts or stops the [keepalive](crate::WebSocketConfig::keepalive) of this connection. It costs about 400 bytes
    /// while it runs.
    pub fn set_keepalive(&mut self, keepalive: Option<KeepaliveConfig>) {
        self.flow.change(Change::Keepalive(keepalive));
    }

    /// Changes [`WebSocketConfig::message_bytes_max`](crate::WebSocketConfig::message_bytes_max) for the messages to
    /// come. It costs about 200 bytes for the life of the connection.
    pub fn set_message_bytes_max(&mut self, bytes: u64) {
        self.flow.change(Change::MessageBytesMax(bytes));
    }

    /// Allows `bits` on the first frames of later messages, in addition to
    /// [`WebSocketConfig::reserved_bits`](crate::WebSocketConfig::reserved_bits): for an extension that this connection
    /// negotiated. It costs as much as [`set_message_bytes_max`](Self::set_message_bytes_max).
    pub fn allow_reserved_bits(&mut self, bits: ReservedBits) {
        self.flow.change(Change::ReservedBits(bits));
    }
}

/// # Compression
/// With the feature `compression`, on by default.
#[cfg(feature = "compression")]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
impl<H: EventHandler> EventSocket<'_, H> {
    /// Changes the compression level of later messages, for all senders, as
    /// [`WebSocket::set_compression_level`](crate::WebSocket::set_compression_level) does. It has no effect if no
    /// compression was agreed on.
    pub fn set_compression_level(&mut self, level: Option<CompressionLevel>) {
        if let Some(compression) = self.around.context.encoding.as_deref().and_then(Encoding::compression) {
            compression.set_level(level);
        }
    }
}

impl<H: EventHandler> From<&EventSocket<'_, H>> for Sender {
    fn from(ws: &EventSocket<'_, H>) -> Self {
        ws.sender()
    }
}

impl<H: EventHandler> From<&mut EventSocket<'_, H>> for Sender {
    fn from(ws: &mut EventSocket<'_, H>) -> Self {
        ws.sender()
    }
}

impl<H: EventHandler> fmt::Debug for EventSocket<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSocket").field("peer_addr", &self.peer_addr()).finish_non_exhaustive()
    }
}
