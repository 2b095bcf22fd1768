//! The compression of an upgrade's connections.

use super::upgrade::Upgrade;
use crate::deflate::DeflateConfig;

/// # Compression
/// With the feature `compression`, on by default.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
impl Upgrade {
    /// Accepts compression where the client offers it (permessage-deflate, RFC 7692): messages are compressed, and
    /// compressed ones are received. Default: every offer is declined. Requests whose `Sec-WebSocket-Extensions` break
    /// the grammar are then refused with 400.
    ///
    /// The limit of a message applies to the inflated payload.
    /// [`WebSocket::compression`](crate::WebSocket::compression) returns the agreement,
    /// [`WebSocket::set_compression_level`](crate::WebSocket::set_compression_level) changes the level of a connection.
    /// Messages sent in pieces ([`Sender::send_stream`](crate::Sender::send_stream)) are sent uncompressed, and so are
    /// those of more than 256 KiB that must not wait ([`Sender::try_send`](crate::Sender::try_send)).
    ///
    /// The length of a compressed message reveals something of its content: do not compress secrets together with text
    /// that an attacker chooses.
    ///
    /// ```
    /// use tidegate_websocket::{CompressionLevel, DeflateConfig, upgrade};
    ///
    /// # fn main() -> Result<(), tidegate_websocket::UsageError> {
    /// let echo = upgrade(async |mut ws| {
    ///     while let Some(message) = ws.recv().await? {
    ///         ws.send(message).await?;
    ///     }
    ///     Ok(())
    /// })
    /// .compression(DeflateConfig::default().level(CompressionLevel::new(6)?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn compression(mut self, deflate: DeflateConfig) -> Self {
        self.deflate = Some(deflate);
        self
    }
}
