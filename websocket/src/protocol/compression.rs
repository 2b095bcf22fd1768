//! The part of the interface that needs the feature `compression`.

use super::{Protocol, ProtocolConfig};
use crate::deflate::DeflateParams;

#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
impl ProtocolConfig {
    /// Accepts compressed messages, as the opening handshake agreed on. RSV1 then marks a compressed message, and
    /// [`message_bytes_max`](Self::message_bytes_max) bounds the payload while it is inflated. Default: none are
    /// accepted.
    pub const fn deflate(mut self, params: DeflateParams) -> Self {
        self.deflate = Some(params);
        self
    }
}

#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
impl Protocol {
    /// Returns the bytes held between messages to inflate the peer's.
    pub(crate) fn inflation_bytes(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.inflation_bytes())
    }
}
