//! Graceful shutdown: what was asked for, and what came of it.

use std::time::{Duration, Instant};

/// How to shut an engine down.
///
/// Accepting stops at once. Every connection is told (its farewell is queued, its handler is woken and sees
/// [`Connection::is_draining`](crate::Connection::is_draining)) and has until `drain_timeout` to end; the rest are then
/// reset.
///
/// ```
/// let mut shutdown = tidegate_engine::Shutdown::default();
/// shutdown.spread = std::time::Duration::from_secs(10);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Shutdown {
    /// From the call until connections that are still open are reset. Default: 30 s.
    pub drain_timeout: Duration,
    /// Tells the connections over this period instead of all at once, so that their clients do not all reconnect in the
    /// same moment. Bounded by `drain_timeout`. Default: zero.
    pub spread: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain_timeout: Duration::from_secs(30), spread: Duration::ZERO }
    }
}

impl Shutdown {
    /// Resets every connection now.
    pub fn immediate() -> Self {
        Self { drain_timeout: Duration::ZERO, spread: Duration::ZERO }
    }

    pub(crate) fn plan(self, now: Instant) -> ShutdownPlan {
        // Thirty years stand for a timeout beyond the clock's range.
        let deadline = now.checked_add(self.drain_timeout).unwrap_or(now + Duration::from_secs(30 * 365 * 86_400));
        ShutdownPlan { began: now, deadline, spread: self.spread.min(self.drain_timeout) }
    }
}

/// A shutdown under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShutdownPlan {
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
    pub(crate) spread: Duration,
}

/// What a shutdown came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that ended by themselves between the shutdown's begin and its deadline.
    pub drained: u64,
    /// Connections that were reset at the deadline.
    pub forced: u64,
}

impl ShutdownReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.drained += other.drained;
        self.forced += other.forced;
    }
}
