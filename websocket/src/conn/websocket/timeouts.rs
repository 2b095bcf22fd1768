//! The deadlines, timeouts and keepalive of one connection.

use std::time::{Duration, Instant};

use super::WebSocket;
use crate::config::KeepaliveConfig;

/// # Deadlines and timeouts
impl WebSocket {
    /// Sets the deadline of reads: from then on they fail with [`Error::ReadDeadline`](crate::Error::ReadDeadline)
    /// while nothing arrives. The connection stays usable: set a later deadline and go on. The deadline replaces the
    /// idle timeout; `None` brings it back, or waits forever if there is none.
    ///
    /// Ignored once a close frame has been sent: reads then end with
    /// [`close_timeout`](crate::WebSocketConfig::close_timeout).
    pub fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.session_mut().set_read_deadline(deadline);
    }

    /// Sets the deadline of writes: the connection is closed if queued bytes have not left by then. `None` never closes
    /// it.
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
