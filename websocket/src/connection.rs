//! The WebSocket an application sees: messages over a connection that its worker still owns.
//!
//! Glue only. [`Protocol`] decides what received bytes mean, [`Closing`] what the closing handshake asks for; this file
//! feeds the one from the connection's buffer, in place, and does what the other says. Control frames are answered as
//! they come, whichever read finds them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tidegate_engine::{Address, Connection, ReceiveError};

use crate::close::{CloseCode, CloseFrame};
use crate::closing::{Closing, Transport};
use crate::config::WebSocketConfig;
use crate::error::ProtocolError;
use crate::event::Event;
use crate::failure::Error;
use crate::frame::Role;
use crate::home::Home;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use crate::message::{Message, MessageKind};
use crate::protocol::{Protocol, ProtocolConfig};
use crate::sender::Sender;

/// Close 1001, unmasked: what the engine itself says to every WebSocket when a graceful shutdown begins.
const GOING_AWAY: &[u8] = &[0x88, 0x02, 0x03, 0xE9];

/// One WebSocket connection, of the server's role.
///
/// Reading answers pings and completes the closing handshake: keep a [`recv`](Self::recv) going. When the handler
/// returns, the peer is sent close 1000 (1011 if it returned an application's error or panicked) and given
/// [`close_timeout`](WebSocketConfig::close_timeout) to answer.
///
/// ```
/// use tidegate_websocket::{Error, WebSocket};
///
/// async fn echo(mut ws: WebSocket) -> Result<(), Error> {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     println!("closed with {:?}", ws.close_frame());
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct WebSocket {
    inner: Option<Inner>,
    home: Arc<Home>,
}

/// A received message, borrowed from the connection until its next read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRef<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes of any content.
    Binary(&'a [u8]),
}

impl MessageRef<'_> {
    /// The payload of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// An owned copy, which pins no receive buffer.
    pub fn to_message(&self) -> Message {
        match *self {
            Self::Text(text) => Message::from(text),
            Self::Binary(bytes) => Message::from(bytes),
        }
    }
}

impl WebSocket {
    /// A WebSocket on a connection whose opening handshake is done, for servers that make it themselves; the bytes that
    /// came after it must still be in the connection. [`upgrade`](crate::upgrade) does all of this.
    pub fn new(connection: Connection, config: Arc<WebSocketConfig>) -> Self {
        Self::at_home(connection, config, Arc::new(Home::default()))
    }

    pub(crate) fn at_home(connection: Connection, config: Arc<WebSocketConfig>, home: Arc<Home>) -> Self {
        Self { inner: Some(Inner::new(connection, config)), home }
    }

    fn inner(&mut self) -> &mut Inner {
        self.inner.as_mut().expect("a WebSocket has its inside until it is dropped")
    }

    fn inner_ref(&self) -> &Inner {
        self.inner.as_ref().expect("a WebSocket has its inside until it is dropped")
    }

    /// The next message, owned: it pins no receive buffer. `None` is the orderly end: close frames were exchanged, and
    /// [`close_frame`](Self::close_frame) tells the peer's.
    ///
    /// Cancel-safe: a read that is dropped loses nothing.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the peer breaks a rule (it has been told by then), [`Error::Lost`] when it ends the
    /// stream without a close frame, [`Error::ReadDeadline`], [`Error::Idle`], [`Error::Closed`].
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        let inner = self.inner();
        match poll_fn(|cx| inner.poll_message(cx)).await? {
            None => Ok(None),
            Some(event) => Ok(event.into_message(inner.connection.buffer())?),
        }
    }

    /// The next message, borrowed until the next read: a message that lies whole in one received chunk is not copied.
    /// Otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_ref(&mut self) -> Result<Option<MessageRef<'_>>, Error> {
        let inner = self.inner();
        let event = poll_fn(|cx| inner.poll_message(cx)).await?;
        match event {
            Some(Event::InPlace { kind, range, .. }) => {
                let bytes = &inner.connection.buffer()[range];
                Ok(Some(match kind {
                    MessageKind::Binary => MessageRef::Binary(bytes),
                    // Checked when it was received; nothing but this check can tie that to these bytes.
                    MessageKind::Text => {
                        MessageRef::Text(simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::InvalidUtf8)?)
                    }
                }))
            }
            Some(Event::Assembled { message, .. }) => Ok(Some(match &**inner.assembled.insert(Box::new(message)) {
                Message::Text(text) => MessageRef::Text(text),
                Message::Binary(bytes) => MessageRef::Binary(bytes),
            })),
            _ => Ok(None),
        }
    }

    /// Waits for space in the outbound queue, then queues a message.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.inner_ref().sender.send(message).await
    }

    /// Queues a text message from borrowed text, waiting for space.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.inner_ref().sender.send_text(text).await
    }

    /// Queues a binary message from borrowed bytes, waiting for space.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_binary(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.inner_ref().sender.send_binary(payload).await
    }

    /// Queues a ping of at most 125 bytes.
    ///
    /// # Errors
    /// As [`Sender::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.inner_ref().sender.ping(payload)
    }

    /// Queues an unasked pong of at most 125 bytes.
    ///
    /// # Errors
    /// As [`Sender::ping`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.inner_ref().sender.pong(payload)
    }

    /// Sends a close frame and waits for the peer's, for [`close_timeout`](WebSocketConfig::close_timeout) at most;
    /// messages that come meanwhile are dropped. The connection then ends in order.
    ///
    /// # Errors
    /// [`Error::Usage`] for a code or reason that must not be sent (the WebSocket stays open then), [`Error::Lost`] if
    /// the peer did not answer.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame::new(code, reason)?;
        self.inner().close(Some(&frame)).await
    }

    /// Ends the connection at once, without a close frame: the peer sees a reset.
    pub fn abort(mut self) {
        if let Some(inner) = self.inner.take() {
            inner.connection.abort();
        }
    }

    /// A sending half, for other tasks and threads.
    pub fn sender(&self) -> Sender {
        self.inner_ref().sender.clone()
    }

    /// The peer's close frame, once it has come: `None` before, and if it carried no code (1005).
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.inner_ref().peer_close.as_deref()
    }

    /// Whether close frames were exchanged in both directions.
    pub fn is_closed_cleanly(&self) -> bool {
        self.inner_ref().closing.is_clean()
    }

    /// Changes the limit of [`WebSocketConfig::message_bytes_max`] for the frames to come.
    pub fn set_message_bytes_max(&mut self, bytes: u64) {
        self.inner().protocol.set_message_bytes_max(bytes);
    }

    /// From `deadline` on reads fail with [`Error::ReadDeadline`] while nothing comes; `None` waits for ever. The
    /// connection stays usable: set a later deadline and go on. It stands in place of the idle timeout.
    pub fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        let inner = self.inner();
        inner.idle_timeout_on = false;
        inner.connection.set_read_deadline(deadline);
    }

    /// If queued bytes have not left at `deadline` the connection is closed; `None` never does.
    pub fn set_write_deadline(&mut self, deadline: Option<Instant>) {
        self.inner().connection.set_write_deadline(deadline);
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> Address {
        self.inner_ref().connection.peer_addr()
    }

    /// The address the peer connected to.
    pub fn local_addr(&self) -> Address {
        self.inner_ref().connection.local_addr()
    }

    /// The connection below: its addresses, timers, socket options and queue depths.
    pub fn connection(&self) -> &Connection {
        &self.inner_ref().connection
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.home.give_back(inner);
        }
    }
}

/// What a [`WebSocket`] is made of; it outlives the handler for the closing handshake.
#[derive(Debug)]
pub(crate) struct Inner {
    connection: Connection,
    sender: Sender,
    protocol: Protocol,
    closing: Closing,
    idle_timeout_on: bool,
    /// Bytes of the connection's buffer that the last event has used and the next read drops.
    used: u32,
    config: Arc<WebSocketConfig>,
    /// The message last lent out that did not lie in the buffer.
    assembled: Option<Box<Message>>,
    /// A pong that waits for space.
    pong: Option<Box<[u8]>>,
    peer_close: Option<Box<CloseFrame>>,
}

impl Inner {
    fn new(connection: Connection, config: Arc<WebSocketConfig>) -> Self {
        connection.set_farewell(GOING_AWAY);
        let mut protocol = ProtocolConfig::new(Role::Server);
        protocol.message_bytes_max = config.message_bytes_max;
        let inner = Self {
            sender: Sender::new(connection.sender().clone()),
            connection,
            protocol: Protocol::new(protocol),
            closing: Closing::new(Role::Server),
            idle_timeout_on: config.idle_timeout.is_some(),
            used: 0,
            config,
            assembled: None,
            pong: None,
            peer_close: None,
        };
        inner.renew_idle_timeout();
        inner
    }

    fn renew_idle_timeout(&self) {
        if let (true, Some(timeout)) = (self.idle_timeout_on, self.config.idle_timeout) {
            self.connection.set_read_timeout(timeout);
        }
    }

    /// The next whole message; `None` once the closing handshake is over.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        self.assembled = None;
        self.connection.consume(std::mem::take(&mut self.used) as usize);
        loop {
            if self.pong.is_some() && self.poll_pong(cx)?.is_pending() {
                return Poll::Pending;
            }
            if self.protocol.is_ended() {
                return Poll::Ready(Ok(None));
            }
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(self.lose())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail_receiving(error))),
                Poll::Pending => {
                    self.notice_farewell();
                    return Poll::Pending;
                }
            }
            if let Some(event) = self.step()? {
                return Poll::Ready(Ok(Some(event)));
            }
        }
    }

    /// Receives from the buffer up to the next event; messages are the caller's, the rest is done here.
    #[inline]
    fn step(&mut self) -> Result<Option<Event>, Error> {
        let progress = match self.protocol.receive(self.connection.buffer()) {
            Ok(progress) => progress,
            Err(error) => return Err(self.fail(error)),
        };
        match progress.event {
            Some(event @ (Event::InPlace { .. } | Event::Assembled { .. })) => {
                self.used = progress.consumed as u32;
                self.renew_idle_timeout();
                return Ok(Some(event));
            }
            Some(Event::Ping(payload)) => {
                // Kept apart from the buffer: the answer may have to wait for space, the buffer must go on.
                let payload = Box::from(payload.bytes(self.connection.buffer()));
                self.pong = Some(payload);
            }
            Some(Event::Close(frame)) => self.on_close(frame),
            _ => {}
        }
        self.renew_idle_timeout();
        self.connection.consume(progress.consumed);
        Ok(None)
    }

    /// Answers a ping, when there is space: a peer that pings and never reads must not fill memory with pongs.
    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.sender.poll_ready(cx, CONTROL_PAYLOAD_BYTES_MAX) {
            Poll::Pending => return Poll::Pending,
            // After our close frame no pong is due, and a failed connection reports itself when it is read.
            Poll::Ready(Err(_)) => self.pong = None,
            Poll::Ready(Ok(())) => {
                if let Some(payload) = self.pong.take()
                    && let Err(error) = self.sender.pong(&payload)
                {
                    log::trace!("no pong was sent: {error}");
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The peer's close frame came: echoes it, unless ours was sent before (RFC 6455 section 5.5.1).
    fn on_close(&mut self, frame: Option<CloseFrame>) {
        self.notice_farewell();
        self.closing.receive_close();
        if self.closing.transport() == Transport::SendClose {
            self.send_close(frame.as_ref());
        }
        self.peer_close = frame.map(Box::new);
    }

    fn send_close(&mut self, frame: Option<&CloseFrame>) {
        if self.closing.send_close().is_ok()
            && let Err(error) = self.sender.queue_close(frame)
        {
            // Another sender was first with a close frame, or the connection has failed: reading tells.
            log::trace!("no close frame was sent: {error}");
        }
    }

    /// The engine, or a sender elsewhere, may have queued a close frame of ours.
    fn notice_farewell(&mut self) {
        if self.closing.transport() == Transport::Keep && self.sender.is_closed() {
            let _ = self.closing.send_close();
            self.await_close();
        }
    }

    /// From now on reading ends with the close timeout.
    fn await_close(&mut self) {
        self.idle_timeout_on = false;
        self.connection.set_read_timeout(self.config.close_timeout);
    }

    /// The peer broke a rule: tells it which kind.
    fn fail(&mut self, error: ProtocolError) -> Error {
        self.closing.fail();
        if self.closing.transport() == Transport::SendClose {
            let frame = CloseFrame::new(error.close_code(), "").ok();
            self.send_close(frame.as_ref());
        }
        Error::Protocol(error)
    }

    fn lose(&mut self) -> Error {
        self.closing.lose();
        Error::Lost
    }

    fn fail_receiving(&mut self, error: ReceiveError) -> Error {
        match error {
            ReceiveError::Deadline if self.idle_timeout_on => {
                self.idle_timeout_on = false;
                let frame = CloseFrame::new(CloseCode::GOING_AWAY, "idle").ok();
                self.send_close(frame.as_ref());
                self.await_close();
                Error::Idle
            }
            ReceiveError::Deadline if self.closing.transport() == Transport::AwaitClose => self.lose(),
            ReceiveError::Deadline => Error::ReadDeadline,
            error => {
                self.closing.lose();
                Error::from(error)
            }
        }
    }

    /// Sends a close frame, unless one was sent, and waits for the peer's.
    pub(crate) async fn close(&mut self, frame: Option<&CloseFrame>) -> Result<(), Error> {
        self.notice_farewell();
        if self.closing.transport() == Transport::Keep {
            self.send_close(frame);
        }
        if self.closing.transport() != Transport::AwaitClose {
            return Ok(());
        }
        self.await_close();
        // Bounded by the read deadline; what the peer still sends is read, so that nothing resets the connection.
        while poll_fn(|cx| self.poll_message(cx)).await?.is_some() {}
        Ok(())
    }

    /// Closes without waiting: for those who have no one to wait.
    pub(crate) fn close_and_forget(mut self, code: CloseCode) {
        self.notice_farewell();
        if self.closing.transport() == Transport::Keep {
            self.send_close(CloseFrame::new(code, "").ok().as_ref());
        }
    }
}
