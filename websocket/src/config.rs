//! The settings of WebSocket connections.

use std::sync::Arc;
use std::time::Duration;

use crate::extras::Extras;
use crate::limits::MESSAGE_BYTES_MAX_DEFAULT;

/// How the connections of an [`upgrade`](crate::upgrade) are served. One copy is shared by all of them.
///
/// ```
/// let mut config = tidegate_websocket::WebSocketConfig::default();
/// config.message_bytes_max = 1 << 20;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebSocketConfig {
    /// Bytes of payload a received message may have over all of its frames; more is answered with close 1009.
    /// Default: 64 MiB. Memory follows what arrives, not what is claimed.
    pub message_bytes_max: u64,
    /// Nothing received for this long: close 1001, and the reader gets [`Error::Idle`](crate::Error::Idle). Any frame
    /// counts, pongs too. Default: none.
    pub idle_timeout: Option<Duration>,
    /// A peer that takes nothing of what is queued for this long is given up: the connection is reset, and sends and
    /// reads fail with [`Error::Closed`](crate::Error::Closed). It holds for pongs and close frames too, and costs
    /// nothing while nothing is queued. Progress is seen in steps of up to 512 KiB, so a slow peer must take that much
    /// in it. Default: 30 s; `None` waits for ever.
    pub write_timeout: Option<Duration>,
    /// How long the closing handshake waits for the peer's close frame. Default: 5 s.
    pub close_timeout: Duration,
    /// The subprotocol that was agreed on; the connections that have agreed on it share a copy.
    pub(crate) subprotocol: Option<Arc<str>>,
    /// What one connection has of its own; then this copy is that connection's alone.
    pub(crate) extras: Option<Arc<Extras>>,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT as u64,
            idle_timeout: None,
            write_timeout: Some(Duration::from_secs(30)),
            close_timeout: Duration::from_secs(5),
            subprotocol: None,
            extras: None,
        }
    }
}
