//! The compression of a client's connections.

use super::builder::Connect;
use crate::deflate::DeflateConfig;

/// # Compression
/// With the feature `compression`, on by default.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
impl Connect {
    /// Offers compression to the server (permessage-deflate, RFC 7692), which can decline it:
    /// [`WebSocket::compression`](crate::WebSocket::compression) returns what was agreed on. Default: no offer.
    ///
    /// "Own" is the direction to the server. With context takeover in both directions, later messages refer to earlier
    /// ones: that compresses small messages much better, and costs up to 212 KB a connection.
    ///
    /// ```
    /// use tidegate_websocket::{DeflateConfig, connect};
    ///
    /// let deflate = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    /// let connect = connect("ws://prices.example/stream").compression(deflate);
    /// ```
    pub fn compression(mut self, deflate: DeflateConfig) -> Self {
        self.settings.deflate = Some(deflate);
        self
    }
}
