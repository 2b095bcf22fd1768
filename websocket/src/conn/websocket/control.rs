//! Control frames and reserved bits in the application's own hands.

use std::sync::Arc;

use super::WebSocket;
use crate::close::CloseFrame;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::opcode::{Opcode, ReservedBits};

/// # Control frames
/// Handlers for this connection alone. Setting one gives the connection a context of its own, some hundred bytes.
impl WebSocket {
    /// As [`Upgrade::on_ping`](crate::Upgrade::on_ping).
    pub fn on_ping(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.session_mut().control_mut().ping = Some(Arc::new(handler));
    }

    /// As [`Upgrade::on_pong`](crate::Upgrade::on_pong).
    pub fn on_pong(&mut self, handler: impl Fn(&Sender, &[u8]) -> Result<(), Error> + Send + Sync + 'static) {
        self.session_mut().control_mut().pong = Some(Arc::new(handler));
    }

    /// As [`Upgrade::on_close`](crate::Upgrade::on_close).
    pub fn on_close(
        &mut self,
        handler: impl Fn(&Sender, Option<&CloseFrame>) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        self.session_mut().control_mut().close = Some(Arc::new(handler));
    }

    /// As [`Upgrade::on_reserved_control`](crate::Upgrade::on_reserved_control), for the frames to come.
    pub fn on_reserved_control(
        &mut self,
        handler: impl Fn(&Sender, Opcode, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
    ) {
        let session = self.session_mut();
        session.control_mut().reserved = Some(Arc::new(handler));
        session.protocol.frame_rules_mut().reserved_control = true;
    }

    /// Allows `bits` on the first frames of the messages to come, besides those of
    /// [`WebSocketConfig::reserved_bits`](crate::WebSocketConfig::reserved_bits): for an extension that this connection negotiated.
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
