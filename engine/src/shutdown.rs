//! Graceful shutdown: the request, the plan and the report.

use std::time::{Duration, Instant};

use crate::clock::instant_after;

crate::__settings! {
    /// The parameters of a graceful shutdown.
    ///
    /// Accepting stops at once. Every connection is notified: its farewell
    /// ([`Connection::set_farewell`](crate::Connection::set_farewell)) is queued, and its handler is woken and sees
    /// [`Connection::is_draining`](crate::Connection::is_draining). Connections that have not ended after
    /// `drain_timeout` are reset.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidegate_engine::Shutdown;
    ///
    /// let shutdown = Shutdown::default().drain_timeout(Duration::from_secs(60)).spread(Duration::from_secs(10));
    /// assert_eq!(shutdown.spread.as_secs(), 10);
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub struct Shutdown {
        /// Time from the call until the connections still open are reset. Default: 30 s.
        pub drain_timeout: Duration,
        /// Period over which connections are notified, instead of all at once, so that their clients do not all
        /// reconnect in the same moment. At most `drain_timeout`. Default: zero.
        pub spread: Duration,
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { drain_timeout: Duration::from_secs(30), spread: Duration::ZERO }
    }
}

impl Shutdown {
    /// Returns a shutdown that resets every connection at once: both durations are zero.
    pub fn immediate() -> Self {
        Self { drain_timeout: Duration::ZERO, spread: Duration::ZERO }
    }

    pub(crate) fn plan(self, now: Instant) -> ShutdownPlan {
        let deadline = instant_after(now, self.drain_timeout);
        ShutdownPlan { began: now, deadline, spread: self.spread.min(self.drain_timeout) }
    }
}

/// A shutdown in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShutdownPlan {
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
    pub(crate) spread: Duration,
}

/// The result of a shutdown: the connections that were open when it began, by their end.
///
/// [`Running::shutdown`](crate::Running::shutdown), [`join`](crate::Running::join) and
/// [`run_until_signal`](crate::Running::run_until_signal) return it. `forced` above zero means that handlers or peers
/// needed longer than [`Shutdown::drain_timeout`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that ended by themselves between the start of the shutdown and its deadline.
    pub drained: u64,
    /// Connections that were reset at the deadline.
    pub forced: u64,
    /// Workers that failed, or that a handler kept from ending in time. Their connections are in neither number above.
    /// The log has the reasons, and [`run_until_signal`](crate::Running::run_until_signal) returns the first as an
    /// error.
    pub failed_workers: u64,
}

impl ShutdownReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.drained += other.drained;
        self.forced += other.forced;
        self.failed_workers += other.failed_workers;
    }
}
