//! The WebSocket that an application sees: messages over a connection that its worker still owns.
//!
//! Only the interface: `session` does the reading and closing, `message_writer` the sending. A WebSocket is one pointer
//! in size, because the handler's future holds it, perhaps twice, for each of very many idle connections.

use std::any::Any;
use std::sync::Arc;

use tidegate_engine::{Address, Connection};
use tidegate_http::RequestHead;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::config::WebSocketConfig;
use crate::conn::closed::Closed;
use crate::conn::context::ConnContext;
use crate::conn::extensions::Extensions;
use crate::conn::handler_scope::return_session;
use crate::conn::prepared::PreparedMessage;
use crate::conn::recv::Recv;
use crate::conn::recv_ref::RecvRef;
use crate::conn::send::SendMessage;
use crate::conn::sender::Sender;
use crate::conn::session::{OwnedSession, Session};
use crate::error::Error;
use crate::frame::Frame;
use crate::message::{Message, MessageRef};

/// A WebSocket connection, on the side of the server or, from [`connect`](crate::connect()), of the client.
///
/// A handler owns it. Reading answers pings and completes the closing handshake: keep a read going. When the handler
/// returns, the peer gets a close frame whose code depends on the result (see [`HandlerError`](crate::HandlerError))
/// and has [`close_timeout`](WebSocketConfig::close_timeout) to answer. A client that drops its WebSocket sends close
/// 1000 and waits for nothing; [`close`](Self::close) waits.
///
/// ```
/// use tidegate_websocket::{self as websocket, WebSocket};
///
/// async fn echo(mut ws: WebSocket) -> websocket::Result {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     println!("closed with {:?}", ws.close_frame());
///     Ok(())
/// }
/// ```
///
/// # Ways to read
/// | | Gives | For |
/// |---|---|---|
/// | [`recv`](Self::recv) | an owned [`Message`] | most handlers: it can be kept and sent on |
/// | [`recv_ref`](Self::recv_ref) | a [`MessageRef`] that is valid until the next read | looking at a message: nothing is copied or allocated, if it lies in one received chunk |
/// | [`recv_stream`](Self::recv_stream) | one message in pieces, as they arrive | messages too large to hold: a piece is at most a receive buffer, or about a megabyte of a compressed message |
/// | [`byte_stream`](Self::byte_stream) | the bytes of all messages, with a terminator after each | line protocols, `std::io::Read` |
/// | `recv_json` (feature `json`) | a value that serde deserializes | JSON |
/// | `Stream` (feature `futures`) | as `recv` | combinators |
///
/// They can alternate on one WebSocket. All end with `None`, and fail with the same errors.
///
/// # Ways to send
/// | | While the queue is full | For |
/// |---|---|---|
/// | [`send`](Self::send) | waits | owned messages: more than 4 KiB are not copied |
/// | [`send_text`](Self::send_text), [`send_binary`](Self::send_binary) | waits | borrowed text and bytes, copied once |
/// | [`Sender::send_ref`] | waits | a message from [`recv_ref`](Self::recv_ref), without owning it first |
/// | [`Sender::try_send`] | fails with [`Error::Full`] | senders that must not wait |
/// | [`send_with_deadline`](Self::send_with_deadline) | waits, then fails with [`Error::SendDeadline`] | peers that must keep up |
/// | [`send_prepared`](Self::send_prepared) | waits | one message for several peers, encoded once |
/// | [`send_stream`](Self::send_stream) | waits with each piece | messages that are not in memory as a whole |
/// | `send_json` (feature `json`) | waits | values that serde serializes |
/// | `Sink` (feature `futures`) | waits | combinators |
/// | [`Hub::broadcast`](crate::Hub::broadcast) | follows its [`SlowPolicy`](crate::SlowPolicy) and never waits | one message for all members of a group |
///
/// A queued message leaves whole and in order, or the connection fails. [`sender`](Self::sender) returns the
/// [`Sender`], for the methods that only it has, and for other tasks and threads.
#[derive(Debug)]
pub struct WebSocket {
    session: Option<Box<Session>>,
}

impl WebSocket {
    /// Returns a WebSocket on a connection whose opening handshake is done, for servers that do the handshake
    /// themselves. The bytes that follow it must still be in the connection. [`upgrade`](crate::upgrade()) does all of
    /// this.
    pub fn new(connection: Connection, config: &WebSocketConfig) -> Self {
        Self::with_context(connection, Arc::new(ConnContext::new(config.clone())))
    }

    /// Returns the WebSocket of a client on a connection whose opening handshake is done, for clients that do the
    /// handshake themselves ([`ClientHandshake`](crate::handshake::ClientHandshake)). The bytes that follow it must
    /// still be in the connection. [`connect`](crate::connect()) does all of this.
    pub fn new_client(connection: Connection, config: &WebSocketConfig) -> Self {
        Self::with_context(connection, ConnContext::new(config.clone()).masked())
    }

    pub(crate) fn with_context(connection: Connection, context: Arc<ConnContext>) -> Self {
        Self { session: Some(Box::new(Session::new(connection, context))) }
    }

    /// Returns the session, which the caller has to end.
    pub(crate) fn into_session(mut self) -> Box<Session> {
        self.session.take().expect("a WebSocket has its session until it is dropped")
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a WebSocket has its session until it is dropped")
    }

    pub(crate) fn session(&self) -> &Session {
        self.session.as_ref().expect("a WebSocket has its session until it is dropped")
    }
}

/// # Reading
/// The [type](Self#ways-to-read) compares all ways to read.
impl WebSocket {
    /// Waits for the next message and returns it, owned: it pins no receive buffer. `None` is the end of the messages:
    /// the peer's close frame has come, see [`close_frame`](Self::close_frame). Every later read returns `None` too.
    ///
    /// Cancel-safe: a read that is dropped loses nothing.
    ///
    /// # Errors
    /// Final errors, after which every read returns `None`: [`Error::Protocol`] when the peer broke a rule (and has got
    /// the close frame), [`Error::Lost`] when it ended the stream without a close frame or did not answer ours in time,
    /// [`Error::Closed`] when the connection failed. [`is_closed_cleanly`](Self::is_closed_cleanly) tells them apart
    /// from an orderly end.
    ///
    /// [`Error::ReadDeadline`] leaves the WebSocket open. After [`Error::Idle`] reads continue to the peer's close
    /// frame.
    pub fn recv(&mut self) -> Recv<'_> {
        Recv { session: self.session_mut() }
    }

    /// Waits for the next message and borrows it until the next read: a message that lies whole in one received chunk
    /// is not copied, and pins that chunk. A message of more than 4 KiB that fills most of its chunk can also be shared
    /// without a copy ([`Sender::send_ref`], [`MessageRef::to_message`]), for a small allocation. Otherwise as
    /// [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_ref(&mut self) -> RecvRef<'_> {
        RecvRef { session: self.session.as_deref_mut() }
    }
}

/// # Sending
/// The [type](Self#ways-to-send) compares all ways to send.
impl WebSocket {
    /// Waits for space in the outbound queue, then queues a message.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send(&mut self, message: impl Into<Message>) -> SendMessage<'_> {
        self.session().writer().send(message.into())
    }

    /// Waits for space, then queues an encoded message.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.session().writer().send_prepared(message).await
    }

    /// Waits for space, then queues a text message from borrowed text.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.session().writer().send_borrowed(MessageRef::text(text)).await
    }

    /// Waits for space, then queues a binary message from borrowed bytes.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_binary(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.session().writer().send_borrowed(MessageRef::binary(payload)).await
    }

    /// Queues a ping of at most 125 bytes.
    ///
    /// # Errors
    /// As [`Sender::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.session().control_queue().try_queue(&Frame::ping(payload)?)?)
    }

    /// Queues an unsolicited pong of at most 125 bytes.
    ///
    /// # Errors
    /// As [`Sender::ping`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.session().control_queue().try_queue(&Frame::pong(payload)?)?)
    }

    /// Returns a sending half, for other tasks and threads.
    pub fn sender(&self) -> Sender {
        self.session().sender()
    }

    /// Returns the number of bytes that are queued for the peer and not yet in the kernel.
    pub fn queued_bytes(&self) -> usize {
        self.session().connection.sender().queued_bytes()
    }
}

/// # Closing
/// A handler that returns closes its WebSocket too.
impl WebSocket {
    /// Sends a close frame and waits for the peer's, for at most [`close_timeout`](WebSocketConfig::close_timeout).
    /// Messages that arrive meanwhile are dropped. The connection then ends in order.
    ///
    /// # Errors
    /// [`Error::Usage`] for a code or reason that must not be sent; the WebSocket then stays open. [`Error::Lost`] if
    /// the peer did not answer.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame::new(code, reason)?;
        self.session_mut().close(Some(&frame)).await
    }

    /// Ends the connection without a close frame: what is queued is sent, then the TCP connection ends in order. The
    /// peer sees the loss of the connection (code 1006). Messages that it still sends are dropped.
    pub fn quit(mut self) {
        if let Some(mut session) = self.session.take().map(OwnedSession::new) {
            session.quit();
        }
    }

    /// Resets the connection at once, without a close frame.
    pub fn abort(mut self) {
        if let Some(session) = self.session.take().map(OwnedSession::new) {
            session.connection.sender().abort();
        }
    }

    /// Returns the peer's close frame, once it has come: `None` before, and if it carried no code (1005).
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.session().peer_close()
    }

    /// Returns whether close frames were exchanged in both directions. False while the WebSocket is open, and if the
    /// peer broke a rule or was lost, or our close frame could not be sent.
    pub fn is_closed_cleanly(&self) -> bool {
        self.session().closing.is_clean()
    }

    /// Returns a future that completes when the connection has ended, for tasks and threads that serve it. It costs as
    /// much as [`extensions`](Self::extensions).
    pub fn closed(&mut self) -> Closed {
        self.session_mut().closed()
    }
}

/// # About the connection
impl WebSocket {
    /// Returns the address of the peer.
    pub fn peer_addr(&self) -> Address {
        self.session().connection.peer_addr()
    }

    /// Returns the address on our side.
    pub fn local_addr(&self) -> Address {
        self.session().connection.local_addr()
    }

    /// Returns the agreed subprotocol, one of [`Upgrade::subprotocols`](crate::Upgrade::subprotocols); `None` if the
    /// client offered none of them, or the server chose none of the client's.
    pub fn subprotocol(&self) -> Option<&str> {
        self.session().context().subprotocol.as_deref()
    }

    /// Returns the head of the upgraded request, with its path parameters, query and fields. `None` unless
    /// [`keep_request`](crate::Upgrade::keep_request) is set.
    pub fn request(&self) -> Option<&RequestHead> {
        self.session().attachments()?.request.as_ref()
    }

    /// Returns the application's values for this connection, including the one from
    /// [`authorize`](crate::Upgrade::authorize). The first call costs about 500 bytes for the life of the connection;
    /// connections without extensions pay nothing.
    pub fn extensions(&mut self) -> Extensions {
        self.session_mut().attachments_mut().extensions.clone()
    }

    /// Returns the application's value of this type; `None` if there is none.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.session().attachments()?.extensions.get()
    }

    /// Returns the limit in force: [`WebSocketConfig::message_bytes_max`], unless it was changed.
    pub fn message_bytes_max(&self) -> u64 {
        self.session().protocol.message_bytes_max()
    }

    /// Changes [`WebSocketConfig::message_bytes_max`] for the frames to come.
    pub fn set_message_bytes_max(&mut self, bytes: u64) {
        self.session_mut().protocol.set_message_bytes_max(bytes);
    }

    /// Returns the connection below, with its addresses, timers, socket options and queue depths.
    pub fn connection(&self) -> &Connection {
        &self.session().connection
    }
}

// Here, because the documentation lists methods in this order.
mod timeouts;

mod control;

#[cfg(feature = "compression")]
mod compression;

impl Drop for WebSocket {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            return_session(OwnedSession::new(session));
        }
    }
}

impl From<&WebSocket> for Sender {
    fn from(ws: &WebSocket) -> Self {
        ws.sender()
    }
}
