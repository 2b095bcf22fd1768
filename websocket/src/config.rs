//! The settings of WebSocket connections.

use std::time::Duration;

use tidegate_engine::ConfigError;
use tidegate_engine::time::GRANULARITY;

use crate::limits::MESSAGE_BYTES_MAX_DEFAULT;
use crate::reserved_bits::ReservedBits;

tidegate_engine::__settings! {
    /// The settings of the connections of an [`upgrade`](crate::upgrade()) or of a client
    /// ([`connect`](crate::connect())).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_websocket::WebSocketConfig;
    ///
    /// let config = WebSocketConfig::default()
    ///     .message_bytes_max(1 << 20)
    ///     .idle_timeout(Duration::from_secs(300))
    ///     .write_timeout(None);
    /// ```
    #[derive(Clone, Debug)]
    pub struct WebSocketConfig {
        /// Maximum payload bytes of a received message, over all of its frames, after inflating. A larger message is
        /// answered with close 1009. Default: 64 MiB. Memory grows with the bytes that arrive, not with the claimed
        /// length.
        pub message_bytes_max: u64,
        /// The time without any received byte, those of pongs and of unfinished messages included, after which the
        /// connection is closed with 1001 and the reader gets [`Error::Idle`](crate::Error::Idle). If the handler waits
        /// for something other than a read, the peer is sent 1001 when nothing was received for a quarter longer (at
        /// least 250 ms), and the connection is reset if it has not ended within twice the close timeout. Default:
        /// none.
        pub idle_timeout: Option<Duration>,
        /// The time in which the peer must take some of the queued bytes. After it the connection is reset, and sends
        /// and reads fail with [`Error::Closed`](crate::Error::Closed). It applies to pongs and close frames too, and
        /// costs nothing while nothing is queued. A slow peer is not affected: every acknowledged byte counts, see
        /// [`Connection::set_write_timeout`](tidegate_engine::Connection::set_write_timeout). Default: 30 s. `None`
        /// waits forever.
        pub write_timeout: Option<Duration>,
        /// The time in which the peer must answer our close frame. After it the connection is closed, and the read that
        /// waits fails with [`Error::Lost`](crate::Error::Lost). If nothing reads in the meantime, such as after the
        /// 1001 of a shutdown, the connection is reset after twice this time, in whole seconds. Default: 5 s.
        pub close_timeout: Duration,
        /// Regular pings, which tell a silent peer from a lost one and keep proxies from dropping a silent connection.
        /// Default: none.
        pub keepalive: Option<KeepaliveConfig>,
        /// Reserved bits that the peer can set on the first frames of messages, because the application knows their
        /// meaning: [`WebSocket::reserved_bits`](crate::WebSocket::reserved_bits) returns those of a message. Other
        /// bits are answered with 1002 (RFC 6455 section 5.2). Default: none.
        pub reserved_bits: ReservedBits,
        /// Maximum calls that wait for one connection of an event handler;
        /// [`EventHandle::post`](crate::EventHandle::post) refuses more. They wait while the peer does not read.
        /// Default: 1024, more than a thread posts before that of the connection has its turn.
        pub posted_calls_max: usize,
    }
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
            posted_calls_max: 1024,
        }
    }
}

impl WebSocketConfig {
    /// Returns the defaults of a client: as [`default`](Self::default), with a ping every 10 s and 10 s for the answer
    /// to our close frame. More middleboxes that forget silent connections are near a client, and it has few
    /// connections where a server has very many.
    pub fn client() -> Self {
        let keepalive = KeepaliveConfig::default().interval(Duration::from_secs(10));
        Self::default().close_timeout(Duration::from_secs(10)).keepalive(keepalive)
    }

    /// Checks the settings. [`Upgrade::config`](crate::Upgrade::config) calls it.
    ///
    /// # Errors
    /// The first setting that cannot work: a timeout or a limit of zero.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.message_bytes_max == 0 {
            return Err(ConfigError::new("message_bytes_max", 0, "at least 1 byte"));
        }
        if self.posted_calls_max == 0 {
            return Err(ConfigError::new("posted_calls_max", 0, "at least 1 call"));
        }
        for (setting, time) in [
            ("idle_timeout", self.idle_timeout),
            ("write_timeout", self.write_timeout),
            ("close_timeout", Some(self.close_timeout)),
            ("keepalive.interval", self.keepalive.map(|keepalive| keepalive.interval)),
            ("keepalive.pong_timeout", self.keepalive.map(|keepalive| keepalive.pong_timeout)),
        ] {
            ConfigError::check_time(setting, time)?;
        }
        Ok(())
    }
}

tidegate_engine::__settings! {
    /// Regular pings, each of which must be answered in time.
    ///
    /// Connections ping at different phases, so connections that were opened together do not ping together. The pings
    /// go on whatever the handler waits for. No ping is sent while a sign of life after another is awaited. That is the
    /// pong, or any received byte: the pong can be behind a long message, or behind what the handler has not read.
    ///
    /// A peer without one in time is given up: close 1001 is sent, in case it reads, and reads fail with
    /// [`Error::NoPong`](crate::Error::NoPong). If the handler does not read, the connection is reset after the
    /// [`close_timeout`](WebSocketConfig::close_timeout), and [`WebSocket::closed`](crate::WebSocket::closed)
    /// completes. The wait is prolonged while the ping is still queued, here or, with the peer acknowledging the bytes
    /// before it, in the kernel. While receiving is paused because the handler does not read, a peer whose kernel
    /// acknowledges the ping lives.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_websocket::{KeepaliveConfig, WebSocketConfig};
    ///
    /// let keepalive = KeepaliveConfig::default()
    ///     .interval(Duration::from_secs(10))
    ///     .pong_timeout(Duration::from_secs(5));
    /// let config = WebSocketConfig::default().keepalive(keepalive);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct KeepaliveConfig {
        /// The time from one ping to the next. A shorter one than [`GRANULARITY`](tidegate_engine::time::GRANULARITY)
        /// is raised to it. Default: 25 s, below the 30 s after which many proxies drop a connection.
        pub interval: Duration,
        /// The time in which a ping must be answered; choose more than the longest round trip. If it is longer than the
        /// interval, later pings wait for the answer. Default: 20 s.
        pub pong_timeout: Duration,
    }
}

impl KeepaliveConfig {
    /// Returns the interval in force: [`interval`](field@Self::interval), but at least the engine's granularity.
    pub(crate) fn interval_in_force(&self) -> Duration {
        self.interval.max(GRANULARITY)
    }
}

impl Default for KeepaliveConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(25), pong_timeout: Duration::from_secs(20) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        type Change = fn(WebSocketConfig) -> WebSocketConfig;
        let table: [(&str, Change); 7] = [
            ("message_bytes_max", |config| config.message_bytes_max(0)),
            ("posted_calls_max", |config| config.posted_calls_max(0)),
            ("idle_timeout", |config| config.idle_timeout(Duration::ZERO)),
            ("write_timeout", |config| config.write_timeout(Duration::ZERO)),
            ("close_timeout", |config| config.close_timeout(Duration::ZERO)),
            ("keepalive.interval", |config| config.keepalive(KeepaliveConfig::default().interval(Duration::ZERO))),
            ("keepalive.pong_timeout", |config| {
                config.keepalive(KeepaliveConfig::default().pong_timeout(Duration::ZERO))
            }),
        ];
        assert_eq!(WebSocketConfig::default().check(), Ok(()));
        for (setting, change) in table {
            assert_eq!(change(WebSocketConfig::default()).check().expect_err(setting).setting, setting);
        }
    }
}
