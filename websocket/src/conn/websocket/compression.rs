//! The compression of one connection.

use tidegate_engine::Connection;

use super::WebSocket;
use crate::config::WebSocketConfig;
use crate::conn::compression::{Compression, CompressionStatus};
use crate::conn::context::ConnContext;
use crate::deflate::{CompressionLevel, DeflateConfig, DeflateParams};
use crate::role::Role;

/// # Compression
/// With the feature `compression`, on by default.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
impl WebSocket {
    /// Returns a WebSocket as [`new`](Self::new) does, with the compression that the opening handshake agreed on
    /// ([`DeflateConfig::accept`]).
    pub fn with_compression(
        connection: Connection,
        config: &WebSocketConfig,
        deflate: &DeflateConfig,
        params: DeflateParams,
    ) -> Self {
        let context = ConnContext::new(config.clone());
        Self::with_context(connection, context.with_compression(Compression::new(deflate, params, Role::Server)))
    }

    /// Returns the agreed compression and its present cost; `None` if none was agreed on.
    ///
    /// ```
    /// # use tidegate_websocket::WebSocket;
    /// # fn example(ws: &WebSocket) {
    /// if let Some(compression) = ws.compression() {
    ///     println!("{:?} at {:?}, {} bytes", compression.params, compression.level, compression.held_bytes);
    /// }
    /// # }
    /// ```
    pub fn compression(&self) -> Option<CompressionStatus> {
        let session = self.session();
        session.compression().map(|compression| compression.status(session.protocol.inflation_bytes()))
    }

    /// Changes the compression level of later messages, for all senders; `None` sends messages uncompressed. It has no
    /// effect if no compression was agreed on, nor on what hubs send to members that have already registered. The peer
    /// is free to compress.
    pub fn set_compression_level(&mut self, level: Option<CompressionLevel>) {
        if let Some(compression) = self.session().compression() {
            compression.set_level(level);
        }
    }
}
