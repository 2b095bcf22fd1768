//! The deadlines, timeouts and keepalive of one connection.

use std::time::{Duration, Instant};

use super::WebSocket;
use crate::config::KeepaliveConfig;

/// # Deadlines and timeouts
impl WebSocket {
    /// From `deadline` on reads fail with [`Error::ReadDeadline`](crate::Error::ReadDeadline) while nothing comes; `None` waits for ever. The
    /// connection stays usable: set a later deadline and go on. It stands in place of the idle timeout.
    ///
    /// Ignored once a close frame has been sent: reads then end with [`close_timeout`](crate::WebSocketConfig::close_timeout).
    pub fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.session_mut().set_read_deadline(deadline);
    }

    /// If queued bytes have not left at `deadline` the connection is closed; `None` never does.
    pub fn set_write_deadline(&mut self, deadline: Option<Instant>) {
        self.session_mut().connection.set_write_deadline(deadline);
    }

    /// Changes [`WebSocketConfig::idle_timeout`](crate::WebSocketConfig::idle_timeout) for this connection, counted from
    /// now; it stands in place of a read deadline. Gives the connection a context of its own, some hundred bytes.
    ///
    /// Ignored once a close frame has been sent.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.session_mut().set_idle_timeout(timeout);
    }

    /// Changes [`WebSocketConfig::write_timeout`](crate::WebSocketConfig::write_timeout) for this connection.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.session().connection.set_write_timeout(timeout);
    }

    /// Begins to ping, or ends it, whatever [`WebSocketConfig::keepalive`](crate::WebSocketConfig::keepalive) says.
    /// Costs about 400 bytes while it lasts.
    pub fn set_keepalive(&mut self, keepalive: Option<KeepaliveConfig>) {
        self.session_mut().set_keepalive(keepalive);
    }

    /// How long the last answered ping of the [keepalive](crate::WebSocketConfig::keepalive) took, with what our own
    /// reader took to find the pong; `None` before the first.
    pub fn rtt(&self) -> Option<Duration> {
        self.session().rtt()
    }
}
