//! The WebSocket an application sees: messages over a connection that its worker still owns.
//!
//! The interface alone: what it does is in `session` (reading, closing) and `sender`. It is one pointer in size, because
//! a handler's future holds it, perhaps twice, for each of very many idle connections.

#[cfg(feature = "compression")]
mod compression;
mod control;
mod timeouts;

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
use crate::conn::session::Session;
use crate::error::Error;
use crate::frame::Frame;
use crate::message::{Message, MessageRef};

/// One WebSocket connection, of the server's role.
///
/// Reading answers pings and completes the closing handshake: keep a [`recv`](Self::recv) going. When the handler
/// returns, the peer is sent a close frame that says how (see [`upgrade`](crate::upgrade())) and given
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
    session: Option<Box<Session>>,
}

impl WebSocket {
    /// A WebSocket on a connection whose opening handshake is done, for servers that make it themselves; the bytes that
    /// came after it must still be in the connection. [`upgrade`](crate::upgrade()) does all of this.
    pub fn new(connection: Connection, config: &WebSocketConfig) -> Self {
        Self::with_context(connection, Arc::new(ConnContext::new(config.clone())))
    }

    pub(crate) fn with_context(connection: Connection, context: Arc<ConnContext>) -> Self {
        Self { session: Some(Box::new(Session::new(connection, context))) }
    }

    pub(crate) fn session_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a WebSocket has its session until it is dropped")
    }

    pub(crate) fn session(&self) -> &Session {
        self.session.as_ref().expect("a WebSocket has its session until it is dropped")
    }

    /// The next message, owned: once it is returned, no receive buffer is pinned. `None` is the end of the messages: the
    /// peer's close frame has come, and [`close_frame`](Self::close_frame) tells it. Every later read is `None` too.
    ///
    /// Cancel-safe: a read that is dropped loses nothing.
    ///
    /// # Errors
    /// The final ones, after which every read is `None`: [`Error::Protocol`] when the peer breaks a rule (it has been
    /// told by then), [`Error::Lost`] when it ends the stream without a close frame or does not answer ours in time,
    /// [`Error::Closed`] when the connection failed. [`is_closed_cleanly`](Self::is_closed_cleanly) tells them from the
    /// orderly end.
    ///
    /// [`Error::ReadDeadline`] leaves the WebSocket open; after [`Error::Idle`] reads go on to the peer's close frame.
    pub fn recv(&mut self) -> Recv<'_> {
        Recv { session: self.session_mut() }
    }

    /// The next message, borrowed until the next read: a message that lies whole in one received chunk is not copied, and
    /// that chunk is pinned until then. One of more than 4 KiB that fills most of its chunk can also be shared without a copy
    /// ([`Sender::send_ref`], [`MessageRef::to_message`]); that takes a small allocation. Otherwise as [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and as there `None` after a final one.
    pub fn recv_ref(&mut self) -> RecvRef<'_> {
        RecvRef { session: self.session.as_deref_mut() }
    }

    /// Waits for space in the outbound queue, then queues a message.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send(&mut self, message: impl Into<Message>) -> SendMessage<'_> {
        self.session().writer().send(message.into())
    }

    /// Queues a message that was encoded before, waiting for space.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_prepared(&mut self, message: &PreparedMessage) -> Result<(), Error> {
        self.session().writer().send_prepared(message).await
    }

    /// Queues a text message from borrowed text, waiting for space.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.session().writer().send_borrowed(MessageRef::text(text)).await
    }

    /// Queues a binary message from borrowed bytes, waiting for space.
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
        Ok(self.session().frame_queue().try_queue_control(&Frame::ping(payload)?)?)
    }

    /// Queues an unasked pong of at most 125 bytes.
    ///
    /// # Errors
    /// As [`Sender::ping`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        Ok(self.session().frame_queue().try_queue_control(&Frame::pong(payload)?)?)
    }

    /// Sends a close frame and waits for the peer's, for [`close_timeout`](WebSocketConfig::close_timeout) at most;
    /// messages that come meanwhile are dropped. The connection then ends in order.
    ///
    /// # Errors
    /// [`Error::Usage`] for a code or reason that must not be sent (the WebSocket stays open then), [`Error::Lost`] if
    /// the peer did not answer.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame::new(code, reason)?;
        self.session_mut().close(Some(&frame)).await
    }

    pub(crate) async fn close_with(&mut self, frame: Option<&CloseFrame>) -> Result<(), Error> {
        self.session_mut().close(frame).await
    }

    /// Ends the connection at once, without a close frame: the peer sees a reset.
    pub fn abort(mut self) {
        if let Some(session) = self.session.take() {
            session.connection.sender().abort();
        }
    }

    /// A sending half, for other tasks and threads.
    pub fn sender(&self) -> Sender {
        self.session().sender()
    }

    /// The peer's close frame, once it has come: `None` before, and if it carried no code (1005).
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.session().peer_close()
    }

    /// Whether close frames were exchanged in both directions. False while the WebSocket is open, and after the peer broke
    /// a rule, was lost, or could not be sent our close frame.
    pub fn is_closed_cleanly(&self) -> bool {
        self.session().closing.is_clean()
    }

    /// Changes the limit of [`WebSocketConfig::message_bytes_max`] for the frames to come.
    pub fn set_message_bytes_max(&mut self, bytes: u64) {
        self.session_mut().protocol.set_message_bytes_max(bytes);
    }

    /// Bytes queued for the peer and not yet in the kernel's hands.
    pub fn queued_bytes(&self) -> usize {
        self.session().connection.sender().outbound_bytes()
    }

    /// The limit of [`WebSocketConfig::message_bytes_max`](crate::WebSocketConfig::message_bytes_max) in force.
    pub fn message_bytes_max(&self) -> u64 {
        self.session().protocol.message_bytes_max()
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> Address {
        self.session().connection.peer_addr()
    }

    /// The address the peer connected to.
    pub fn local_addr(&self) -> Address {
        self.session().connection.local_addr()
    }

    /// The subprotocol that was agreed on, one of [`Upgrade::subprotocols`](crate::Upgrade::subprotocols).
    pub fn subprotocol(&self) -> Option<&str> {
        self.session().context().subprotocol.as_deref()
    }

    /// The head of the request that was upgraded, with its path parameters, query and fields: for the connection's whole
    /// life, where [`keep_request`](crate::Upgrade::keep_request) asked for it; else `None`.
    pub fn request(&self) -> Option<&RequestHead> {
        self.session().attachments()?.request.as_ref()
    }

    /// What the application keeps with this connection, among it what [`authorize`](crate::Upgrade::authorize) gave.
    /// The first call costs about 500 bytes for as long as the connection lives; connections without extensions have none
    /// of that.
    pub fn extensions(&mut self) -> Extensions {
        self.session_mut().attachments_mut().extensions.clone()
    }

    /// The value of this type that is kept with this connection.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.session().attachments()?.extensions.get()
    }

    /// Completes when the connection has ended: for tasks and threads that help it. Costs as [`extensions`](Self::extensions).
    pub fn closed(&mut self) -> Closed {
        self.session_mut().closed()
    }

    /// The connection below: its addresses, timers, socket options and queue depths.
    pub fn connection(&self) -> &Connection {
        &self.session().connection
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            return_session(session);
        }
    }
}

impl From<&WebSocket> for Sender {
    fn from(ws: &WebSocket) -> Self {
        ws.sender()
    }
}
