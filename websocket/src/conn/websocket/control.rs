//! The application's own handling of control frames and reserved bits.

use std::sync::Arc;

use super::WebSocket;
use crate::close::CloseFrame;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::opcode::Opcode;
use crate::reserved_bits::ReservedBits;

/// # Control frames
/// Handlers for this connection alone; they replace those of its [`Upgrade`](crate::Upgrade). Setting one costs a copy
/// of the connection's settings, some hundred bytes.
impl WebSocket {
    /// Handles pings as [`Upgrade::on_ping`](crate::Upgrade::on_ping) does.
    pub fn on_ping(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.session_mut().control_mut().ping = Some(Arc::new(handler));
    }

    /// Handles pongs as [`Upgrade::on_pong`](crate::Upgrade::on_pong) does.
    pub fn on_pong(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.session_mut().control_mut().pong = Some(Arc::new(handler));
    }

    /// Handles the peer's close frame as [`Upgrade::on_close`](crate::Upgrade::on_close) does.
    pub fn on_close(
        &mut self,
        handler: impl Fn(&Sender, Option<&CloseFrame>) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        self.session_mut().control_mut().close = Some(Arc::new(handler));
    }

    /// Allows and handles later control frames of the reserved opcodes, as
    /// [`Upgrade::on_reserved_control`](crate::Upgrade::on_reserved_control) does.
    pub fn on_reserved_control(
        &mut self,
        handler: impl Fn(&Sender, Opcode, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        let session = self.session_mut();
        session.control_mut().reserved = Some(Arc::new(handler));
        session.protocol.frame_rules_mut().reserved_control = true;
    }

    /// Allows `bits` on the first frames of later messages, in addition to
    /// [`WebSocketConfig::reserved_bits`](crate::WebSocketConfig::reserved_bits): for an extension that this connection
    /// negotiated.
    pub fn allow_reserved_bits(&mut self, bits: ReservedBits) {
        self.session_mut().allow_reserved_bits(bits);
    }

    /// Returns the reserved bits of the last message that was read, for its extension. They are cleared when the next
    /// read begins.
    pub fn reserved_bits(&self) -> ReservedBits {
        self.session().reserved_bits()
    }
}
