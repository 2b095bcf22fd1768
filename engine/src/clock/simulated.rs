//! The time of a clock that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time since the epoch that passes only when it is told to. Clones are the same time.
#[derive(Clone, Default)]
pub(crate) struct SimulatedTime(Arc<AtomicU64>);

impl SimulatedTime {
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, elapsed: Duration) {
        self.0.store(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the epoch of a simulated clock: decades from now, so that no instant of the system's clock is one of
    /// this clock.
    pub(crate) fn epoch() -> Instant {
        const DECADES: Duration = Duration::from_secs(40 * 365 * 86_400);
        let now = Instant::now();
        now.checked_add(DECADES).unwrap_or(now)
    }
}
