//! The deadlines and timeouts of a connection. A deadline is an instant that fires once; a timeout is a duration that
//! applies until it is changed.

use std::time::{Duration, Instant};

use crate::connection::Connection;

/// # Deadlines and timeouts
///
/// A deadline is an instant that fires once. A timeout is a duration that applies until it is changed. All of them
/// start as `None`, except the idle timeout, which starts as [`Config::idle_timeout`](crate::Config::idle_timeout).
/// They fire within [`time::GRANULARITY`](crate::time::GRANULARITY) of their time on an idle worker, never before it.
/// Setting one stores a number: cheap enough to renew for each message.
impl Connection {
    /// Sets the read deadline: from then on, [`receive`](Self::receive) fails with
    /// [`ReceiveError::Deadline`](crate::ReceiveError::Deadline) while nothing is buffered. The connection stays
    /// usable; `None` waits without limit. A deadline in the past makes reads fail at once when nothing is buffered.
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        self.sender().set_read_deadline(deadline);
    }

    /// Sets the read deadline to `duration` from now. It does not move when bytes arrive: call this again to renew it.
    /// See [`set_read_deadline`](Self::set_read_deadline).
    pub fn set_read_deadline_in(&self, duration: Duration) {
        self.shared().set_read_deadline_in(duration);
    }

    /// Sets the write deadline: if bytes are still queued then, the connection is reset with
    /// [`CloseCause::WriteDeadline`](crate::CloseCause::WriteDeadline), even while its handler is busy. It passes
    /// without effect if nothing is queued. One in the past applies at the worker's next tick.
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        self.sender().set_write_deadline(deadline);
    }

    /// Sets the write timeout: the connection is reset with
    /// [`CloseCause::WriteTimeout`](crate::CloseCause::WriteTimeout) when its peer acknowledges none of the queued
    /// bytes for `timeout`, and at most a quarter of it later. It applies to every send and costs nothing while nothing
    /// is queued. It is independent of the [write deadline](Self::set_write_deadline).
    ///
    /// A slow peer is not a dead one: the kernel is asked for acknowledged bytes, and only when a send takes longer
    /// than a quarter of `timeout`. On Unix-domain sockets and on systems other than Linux the kernel does not report
    /// this; progress is then noticed only when it has taken a whole batch of queued bytes (under 512 KiB). A timeout
    /// above 365 days is as `None`.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.shared().set_stall(timeout);
    }

    /// Sets the idle timeout: the connection is reset with
    /// [`CloseCause::IdleTimeout`](crate::CloseCause::IdleTimeout) when nothing is received for `timeout`, counted from
    /// this call at first. Time during which receiving is paused for backpressure counts as activity, and the peer's
    /// end of stream ends the timeout. A timeout above 365 days is as `None`.
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.shared().set_idle(timeout);
    }

    /// Sets the lifetime deadline: the connection is reset with
    /// [`CloseCause::LifetimeDeadline`](crate::CloseCause::LifetimeDeadline) at `deadline`, however active it is.
    pub fn set_lifetime_deadline(&self, deadline: Option<Instant>) {
        self.sender().set_lifetime_deadline(deadline);
    }
}
