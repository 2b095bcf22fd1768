//! The compression of one connection.

use tidegate_engine::Connection;

use super::WebSocket;
use crate::config::WebSocketConfig;
use crate::conn::compression::{Compression, CompressionStatus};
use crate::conn::context::ConnContext;
use crate::deflate::{CompressionLevel, DeflateConfig, DeflateParams};

/// # Compression
/// With the feature `compression`, on by default.
impl WebSocket {
    /// As [`new`](Self::new), with the compression that the opening handshake agreed on ([`DeflateConfig::accept`]).
    pub fn with_compression(
        connection: Connection,
        config: &WebSocketConfig,
        deflate: &DeflateConfig,
        params: DeflateParams,
    ) -> Self {
        let context = ConnContext::new(config.clone());
        Self::with_context(connection, context.with_compression(Compression::new(deflate, params)))
    }

    /// What was agreed on about compression, and what it costs now; `None` if nothing was.
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

    /// Changes the level at which messages are compressed from now on, those of all senders; `None` sends them as they
    /// are. Without effect if nothing was agreed on, and for what hubs send to those that registered before. The peer goes on
    /// as it likes.
    pub fn set_compression_level(&mut self, level: Option<CompressionLevel>) {
        if let Some(compression) = self.session().compression() {
            compression.set_level(level);
        }
    }
}
