//! The settings of WebSocket connections.

use std::time::Duration;

use tidegate_engine::time::GRANULARITY;

use crate::limits::MESSAGE_BYTES_MAX_DEFAULT;
use crate::opcode::ReservedBits;

/// The settings of the connections of an [`upgrade`](crate::upgrade()).
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
    /// Pings of our own accord, to tell a silent peer from a lost one and to keep what is between awake. Default: none.
    pub keepalive: Option<KeepaliveConfig>,
    /// Reserved bits that the peer may set on the first frames of messages, because the application knows what they mean:
    /// [`WebSocket::reserved_bits`](crate::WebSocket::reserved_bits) then tells which a message had. Others are answered
    /// with 1002 (RFC 6455 section 5.2). Default: none.
    pub reserved_bits: ReservedBits,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT as u64,
            idle_timeout: None,
            write_timeout: Some(Duration::from_secs(30)),
            close_timeout: Duration::from_secs(5),
            keepalive: None,
            reserved_bits: ReservedBits::NONE,
        }
    }
}

/// Pings at regular times, each of which must be answered in time.
///
/// Each connection pings at a phase of its own, so that connections that were made together do not all ping at once. The
/// pings are sent, and the pongs found, by the connection's reader: keep a read going. While the pong of a ping is
/// awaited no other is sent.
///
/// A pong that does not come in time ends the connection: close 1001 is sent, for the case that the peer reads, and reads
/// fail with [`Error::NoPong`](crate::Error::NoPong). The wait is prolonged while the ping is still queued here, and while
/// the pong may stand behind what our own reader has not taken.
///
/// ```
/// use std::time::Duration;
/// use tidegate_websocket::{KeepaliveConfig, WebSocketConfig};
/// let mut config = WebSocketConfig::default();
/// config.keepalive = Some(KeepaliveConfig::default()); // 25 s and 20 s
/// config.keepalive = Some(KeepaliveConfig::new(Duration::from_secs(10), Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepaliveConfig {
    /// From one ping to the next. Default: 25 s, below the half minute after which many a proxy forgets a connection. Less
    /// than the engine's granularity counts as that.
    pub interval: Duration,
    /// How long a pong may take. Default: 20 s.
    pub pong_timeout: Duration,
}

impl KeepaliveConfig {
    /// Pings each `interval`, whose pongs may take `pong_timeout`.
    #[must_use]
    pub const fn new(interval: Duration, pong_timeout: Duration) -> Self {
        Self { interval, pong_timeout }
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval.max(GRANULARITY)
    }
}

impl Default for KeepaliveConfig {
    fn default() -> Self {
        Self::new(Duration::from_secs(25), Duration::from_secs(20))
    }
}
