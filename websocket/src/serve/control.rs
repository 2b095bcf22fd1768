//! Handlers of control frames for all connections of an upgrade.

use std::sync::Arc;

use super::upgrade::Upgrade;
use crate::close::CloseFrame;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::opcode::Opcode;

/// # Control frames
/// Handlers for all connections. They run inside the read that finds the frame and must not block. That read returns
/// their errors and leaves the connection as it was.
///
/// ```
/// use tidegate_websocket::{WebSocket, upgrade};
/// let chat = upgrade(async |mut ws: WebSocket| Ok(ws.send("welcome").await?)).on_ping(|sender, payload| {
///     println!("pinged with {payload:?}");
///     sender.pong(payload)
/// });
/// ```
impl Upgrade {
    /// Handles pings, in place of sending a pong with the same payload.
    pub fn on_ping(self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        self.with_control(|control| control.ping = Some(Arc::new(handler)))
    }

    /// Handles pongs, which are ignored by default. Pongs that answer pings of the
    /// [`keepalive`](crate::WebSocketConfig::keepalive) are not passed on.
    pub fn on_pong(self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        self.with_control(|control| control.pong = Some(Arc::new(handler)))
    }

    /// Handles the peer's close frame (`None`: it has no code, 1005), unless ours was sent first. The handler can
    /// answer with [`Sender::close`]; otherwise the frame is echoed afterwards (RFC 6455 section 5.5.1).
    pub fn on_close(
        self,
        handler: impl Fn(&Sender, Option<&CloseFrame>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        self.with_control(|control| control.close = Some(Arc::new(handler)))
    }

    /// Allows and handles control frames of the reserved opcodes 0xB to 0xF, which an extension can define (RFC 6455
    /// section 5.2). Without this handler they are answered with 1002.
    pub fn on_reserved_control(
        self,
        handler: impl Fn(&Sender, Opcode, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        self.with_control(|control| control.reserved = Some(Arc::new(handler)))
    }
}
