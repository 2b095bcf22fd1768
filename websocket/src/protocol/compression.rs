//! What only protocols that can inflate have.

use super::{Protocol, ProtocolConfig};
use crate::deflate::DeflateParams;

impl ProtocolConfig {
    /// Takes compressed messages, as the opening handshake agreed on; default: none are expected. Then RSV1 marks a
    /// compressed message, and [`message_bytes_max`](Self::message_bytes_max) bounds the inflated payload while it is made.
    #[must_use]
    pub const fn deflate(mut self, params: DeflateParams) -> Self {
        self.deflate = Some(params);
        self
    }
}

impl Protocol {
    /// Bytes held between messages to inflate what the peer compresses.
    pub(crate) fn inflation_bytes(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.inflation_bytes())
    }
}
