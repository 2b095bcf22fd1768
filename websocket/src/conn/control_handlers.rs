//! What applications do with control frames themselves: handlers in place of what a WebSocket does by default.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use crate::close::CloseFrame;
use crate::config::WebSocketConfig;
use crate::conn::WebSocket;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::message::Message;
use crate::opcode::{Opcode, ReservedBits};

type OnPayload = dyn Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync;
type OnClose = dyn Fn(&Sender, Option<&CloseFrame>) -> Result<(), Error> + Send + Sync;
type OnReserved = dyn Fn(&Sender, Opcode, &[u8]) -> Result<(), Error> + Send + Sync;

/// The handlers of control frames; most connections have none.
#[derive(Clone, Default)]
pub(crate) struct ControlHandlers {
    pub(crate) ping: Option<Arc<OnPayload>>,
    pub(crate) pong: Option<Arc<OnPayload>>,
    pub(crate) close: Option<Arc<OnClose>>,
    pub(crate) reserved: Option<Arc<OnReserved>>,
}

/// Handlers of control frames, for all connections. They run inside the read that finds the frame, and their errors are
/// what that read returns, with the connection as it was: they must not block.
///
/// ```
/// use tidegate_websocket::WebSocketConfig;
/// let mut config = WebSocketConfig::default();
/// config.on_ping(|sender, payload| {
///     println!("pinged with {payload:?}");
///     sender.pong(payload)
/// });
/// ```
impl WebSocketConfig {
    /// What is done with a ping, in place of sending a pong with the same payload.
    pub fn on_ping(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.control.ping = Some(Arc::new(handler));
    }

    /// What is done with a pong; by default nothing. Pongs that answer the pings of [`keepalive`](Self::keepalive) are
    /// not shown.
    pub fn on_pong(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.control.pong = Some(Arc::new(handler));
    }

    /// What is done with the peer's close frame (`None`: it has no code, 1005), unless one of ours was sent before. The
    /// handler may answer with [`Sender::close`]; if it does not, the frame is echoed after it (RFC 6455 section 5.5.1).
    pub fn on_close(
        &mut self,
        handler: impl Fn(&Sender, Option<&CloseFrame>) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        self.control.close = Some(Arc::new(handler));
    }

    /// Allows control frames of the reserved opcodes 0xB to 0xF, which an extension may define (RFC 6455 section 5.2), and
    /// says what is done with them. Without this handler they are answered with 1002.
    pub fn on_reserved_control(
        &mut self,
        handler: impl Fn(&Sender, Opcode, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        self.control.reserved = Some(Arc::new(handler));
    }
}

/// Handlers of control frames, for one connection. Setting one gives the connection a copy of its configuration, some
/// hundred bytes.
impl WebSocket {
    /// As [`WebSocketConfig::on_ping`].
    pub fn on_ping(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.session_mut().control_mut().ping = Some(Arc::new(handler));
    }

    /// As [`WebSocketConfig::on_pong`].
    pub fn on_pong(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.session_mut().control_mut().pong = Some(Arc::new(handler));
    }

    /// As [`WebSocketConfig::on_close`].
    pub fn on_close(
        &mut self,
        handler: impl Fn(&Sender, Option<&CloseFrame>) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        self.session_mut().control_mut().close = Some(Arc::new(handler));
    }

    /// As [`WebSocketConfig::on_reserved_control`], for the frames to come.
    pub fn on_reserved_control(
        &mut self,
        handler: impl Fn(&Sender, Opcode, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        let session = self.session_mut();
        session.control_mut().reserved = Some(Arc::new(handler));
        session.protocol.frame_rules_mut().reserved_control = true;
    }

    /// Allows `bits` on the first frames of the messages to come, besides those of
    /// [`WebSocketConfig::reserved_bits`]: for an extension that this connection negotiated.
    pub fn allow_reserved_bits(&mut self, bits: ReservedBits) {
        let rules = self.session_mut().protocol.frame_rules_mut();
        rules.message_bits = rules.message_bits | bits;
    }

    /// The reserved bits of the message that was read last: what its extension has to see to. None after messages
    /// without, and once the next read has begun.
    pub fn reserved_bits(&self) -> ReservedBits {
        self.session().reserved_bits()
    }
}

impl Sender {
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
}

impl fmt::Debug for ControlHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlHandlers")
            .field("ping", &self.ping.is_some())
            .field("pong", &self.pong.is_some())
            .field("close", &self.close.is_some())
            .field("reserved", &self.reserved.is_some())
            .finish()
    }
}
