//! The deadlines, timeouts and keepalive of one connection.

use std::time::{Duration, Instant};

use super::WebSocket;
use crate::config::KeepaliveConfig;

/// # Deadlines and timeouts
/// A deadline is an instant that applies once; set another to renew it. A timeout is a duration that restarts at each
/// sign of life.
///
/// | | Set by | When it passes |
/// |---|---|---|
/// | read deadline | [`set_read_deadline`](Self::set_read_deadline) | reads fail with [`Error::ReadDeadline`](crate::Error::ReadDeadline), and the connection stays open |
/// | idle timeout | [`set_idle_timeout`](Self::set_idle_timeout), [`WebSocketConfig`](crate::WebSocketConfig) | close 1001, and [`Error::Idle`](crate::Error::Idle) |
/// | write deadline | [`set_write_deadline`](Self::set_write_deadline) | the connection is reset if bytes are still queued |
/// | write timeout | [`set_write_timeout`](Self::set_write_timeout), [`WebSocketConfig`](crate::WebSocketConfig) | the connection is reset if the peer has taken none of the queued bytes |
/// | deadline of one send | [`send_with_deadline`](Self::send_with_deadline) | the send fails with [`Error::SendDeadline`](crate::Error::SendDeadline), and nothing is queued |
/// | pong timeout | [`set_keepalive`](Self::set_keepalive), [`WebSocketConfig`](crate::WebSocketConfig) | close 1001, and [`Error::NoPong`](crate::Error::NoPong) |
/// | close timeout | [`WebSocketConfig`](crate::WebSocketConfig) | the peer did not answer our close frame: the connection is closed |
impl WebSocket {
    /// Sets the deadline of reads: from that instant on they fail with
    /// [`Error::ReadDeadline`](crate::Error::ReadDeadline) while nothing has arrived. The connection stays usable: set
    /// a later deadline and go on. The deadline replaces the idle timeout, and messages that arrive do not move it.
    /// `None` brings the idle timeout back, or waits forever if there is none.
    ///
    /// Ignored once a close frame has been sent: reads then end with
    /// [`close_timeout`](crate::WebSocketConfig::close_timeout).
    pub fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.session_mut().set_read_deadline(deadline);
    }

    /// Sets the deadline of writes: the connection is reset if bytes are still queued then. `None` removes the
    /// deadline.
    pub fn set_write_deadline(&mut self, deadline: Option<Instant>) {
        self.session_mut().connection.set_write_deadline(deadline);
    }

    /// Changes [`WebSocketConfig::idle_timeout`](crate::WebSocketConfig::idle_timeout) for this connection, counted
    /// from now. It replaces a read deadline. It costs a copy of the connection's settings, some hundred bytes.
    ///
    /// Ignored once a close frame has been sent.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.session_mut().set_idle_timeout(timeout);
    }

    /// Changes [`WebSocketConfig::write_timeout`](crate::WebSocketConfig::write_timeout) for this connection.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.session().connection.set_write_timeout(timeout);
    }

    /// Starts or stops the keepalive of this connection, whatever
    /// [`WebSocketConfig::keepalive`](crate::WebSocketConfig::keepalive) says. It costs about 400 bytes while it runs.
    pub fn set_keepalive(&mut self, keepalive: Option<KeepaliveConfig>) {
        self.session_mut().set_keepalive(keepalive);
    }

    /// Returns the round-trip time of the last answered ping of the [keepalive](crate::WebSocketConfig::keepalive),
    /// including the time until our reader found the pong; `None` before the first.
    pub fn rtt(&self) -> Option<Duration> {
        self.session().rtt()
    }
}
