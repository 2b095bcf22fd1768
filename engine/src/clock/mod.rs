//! A worker's time: the clock in ticks, ticks in 32 bits, the timer wheel and the entries of sleeping tasks.

pub(crate) mod near_tick;
#[cfg(feature = "testing")]
pub(crate) mod simulated;
pub(crate) mod sleep_entry;
pub(crate) mod wheel;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "testing")]
use simulated::SimulatedTime;

/// A worker's time in ticks. The worker advances it once per tick; every thread can read it.
pub(crate) struct Clock {
    epoch: Instant,
    ticks: AtomicU64,
    /// The tick up to which everything that arrived has been looked at.
    settled: AtomicU64,
    /// The time in place of the system's, in tests of applications.
    #[cfg(feature = "testing")]
    simulated: Option<SimulatedTime>,
}

/// Resolution of every deadline: it never fires early, and fires at most this much late plus the delay of a busy
/// worker. A timeout starts within a tick, so it can be late by two.
pub const TICK: Duration = Duration::from_millis(8);

/// The tick that stands for no deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// Returns the instant `duration` after `start`, or thirty years after it if that is beyond the range of `Instant`.
pub fn instant_after(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or(start + Duration::from_secs(30 * 365 * 86_400))
}

impl Clock {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            ticks: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            #[cfg(feature = "testing")]
            simulated: None,
        }
    }

    /// Creates a clock that follows a simulated time. Its epoch must be that of a simulated clock.
    #[cfg(feature = "testing")]
    pub(crate) fn simulated(epoch: Instant, time: SimulatedTime) -> Self {
        Self { simulated: Some(time), ..Self::new(epoch) }
    }

    /// Returns the current instant of this clock: that of the system, unless the time is simulated.
    #[inline]
    pub(crate) fn instant(&self) -> Instant {
        #[cfg(feature = "testing")]
        if let Some(time) = &self.simulated {
            return self.epoch + time.elapsed();
        }
        Instant::now()
    }

    pub(crate) fn now(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, elapsed: Duration) -> u64 {
        let ticks = Self::whole_ticks(elapsed);
        self.ticks.store(ticks, Ordering::Relaxed);
        ticks
    }

    /// Returns the tick by which deadlines are judged. It lags behind [`now`](Self::now) by what has not been looked at
    /// yet, so a worker that stood still does not end a connection whose bytes arrived in time.
    pub(crate) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// Records that everything that arrived up to `tick` has been looked at.
    pub(crate) fn settle(&self, tick: u64) {
        self.settled.store(tick, Ordering::Relaxed);
    }

    /// Returns the tick at which `timeout` from now has passed, on any thread. Reads the system clock, because the
    /// ticks of an idle worker stand still.
    pub(crate) fn tick_from_now(&self, timeout: Duration) -> u64 {
        let now = Self::whole_ticks(self.instant().saturating_duration_since(self.epoch));
        now.max(self.now()).saturating_add(1).saturating_add(Self::ticks_in(timeout))
    }

    /// Returns the tick at which `timeout` has passed, counted from some moment within the current tick.
    pub(crate) fn after(&self, timeout: Duration) -> u64 {
        self.now().saturating_add(1).saturating_add(Self::ticks_in(timeout))
    }

    /// Returns the first tick at or after `deadline`.
    pub(crate) fn tick_of(&self, deadline: Instant) -> u64 {
        #[cfg(feature = "testing")]
        if let Some(time) = self.simulated.as_ref().filter(|_| deadline < self.epoch) {
            // An application computes with the system's clock: what is left by that is left by this one.
            return Self::ticks_in(time.elapsed() + deadline.saturating_duration_since(Instant::now()));
        }
        Self::ticks_in(deadline.saturating_duration_since(self.epoch))
    }

    /// Returns the number of ticks that have passed completely.
    pub(crate) fn whole_ticks(elapsed: Duration) -> u64 {
        (elapsed.as_millis() / TICK.as_millis()) as u64
    }

    /// Returns the number of ticks that cover `duration`, rounded up.
    pub(crate) fn ticks_in(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(NEVER)
    }

    /// Returns the time from the epoch to `tick`.
    pub(crate) fn since_epoch(tick: u64) -> Duration {
        Duration::from_millis(tick.saturating_mul(TICK.as_millis() as u64))
    }
}

/// A tick in the past in 32 bits. A tick more than a year ago is taken for a later one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecentTick(u32);

/// The ticks, over two hours, by which a recent tick can be ahead of the time that it is compared with.
const AHEAD_TICKS_MAX: u64 = 1 << 20;

impl RecentTick {
    #[inline]
    pub(crate) fn new(tick: u64) -> Self {
        Self(tick as u32)
    }

    /// Returns the whole number, at `now`.
    pub(crate) fn at(self, now: u64) -> u64 {
        let bound = now.saturating_add(AHEAD_TICKS_MAX);
        bound.saturating_sub(u64::from((bound as u32).wrapping_sub(self.0)))
    }
}

impl From<Instant> for Clock {
    fn from(epoch: Instant) -> Self {
        Self::new(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_tick_is_known_from_its_lower_half() {
        for now in [0, 1, 5000, u64::from(u32::MAX) - 1, u64::from(u32::MAX) + 1, 3 << 32, (3 << 32) + 77] {
            for before in [0, 1, 1000, 1 << 31, (1 << 32) - AHEAD_TICKS_MAX - 1] {
                let tick = now.saturating_sub(before);
                assert_eq!(RecentTick::new(tick).at(now), tick, "{before} before {now}");
            }
            for ahead in [1, 1000, AHEAD_TICKS_MAX - 1] {
                assert_eq!(RecentTick::new(now + ahead).at(now), now + ahead, "{ahead} ahead of {now}");
            }
        }
    }
}
