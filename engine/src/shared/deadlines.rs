//! The deadlines of a connection, in ticks of its worker's clock.
//!
//! The read deadline is stored in 32 bits, in the range of a [`NearTick`]. One that is further ahead is kept with the
//! outbound queue ([`QueueDeadlines`](super::waiters::QueueDeadlines)) until time has brought it near.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::ConnShared;
use super::command::Command;
use crate::clock::near_tick::{AtomicNearTick, NEAR_TICKS_MAX, NearTick};
use crate::clock::{Clock, NEVER, TICK};

/// The deadlines of a connection. Its handler writes them and its worker's timer reads them. Those that few connections
/// have are with the outbound queue ([`QueueDeadlines`](super::waiters::QueueDeadlines)).
pub(crate) struct Deadlines {
    read: AtomicNearTick,
    /// Idle timeout in ticks; 0 for none.
    pub(crate) idle: AtomicU32,
    /// Maximum time of a send, in ticks; 0 for no limit.
    pub(crate) stall: AtomicU32,
    /// The tick at which the worker will next check this connection's deadlines.
    armed: AtomicNearTick,
}

/// Maximum timeout. A longer one is taken as none. A quarter of it, after which a send in flight is looked at, must
/// be near.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 86_400);

const _: () = assert!(TIMEOUT_MAX.as_millis() / TICK.as_millis() <= 4 * (NEAR_TICKS_MAX as u128 - 2));

/// Converts a timeout to its stored form: 0 for none.
pub(crate) fn timeout_ticks(timeout: Option<Duration>) -> u32 {
    let bounded = timeout.filter(|timeout| *timeout <= TIMEOUT_MAX);
    bounded.map_or(0, |timeout| Clock::ticks_in(timeout).max(1) as u32)
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self {
            read: AtomicNearTick::new(NearTick::NEVER),
            idle: AtomicU32::new(0),
            stall: AtomicU32::new(0),
            armed: AtomicNearTick::new(NearTick::NEVER),
        }
    }

    /// Returns whether the read deadline has passed.
    #[inline]
    pub(crate) fn is_read_overdue(&self, clock: &Clock) -> bool {
        // Loaded first: by this time it is near.
        let read = self.read.load();
        read.has_passed(clock.settled())
    }

    /// Returns the tick at which the worker will next check, at the current one.
    pub(crate) fn armed_at(&self, now: u64) -> u64 {
        self.armed.load().at(now)
    }

    /// Returns whether the worker's next check is after `tick`, which must be near.
    #[inline]
    pub(crate) fn is_armed_after(&self, tick: u64) -> bool {
        self.armed.load().is_after(tick)
    }

    /// Brings the stored ticks into range: what was stored at `before` or since, at `now`.
    pub(crate) fn renew(&self, before: u64, now: u64) {
        let read = self.read.load();
        // One that the handler sets meanwhile stands.
        self.read.replace(read, read.renewed(before, now));
        self.armed.store(self.armed.load().renewed(before, now));
    }

    /// Notes the tick of the worker's next check: `tick`, or an earlier one if that is not near. Returns it.
    pub(crate) fn arm(&self, tick: u64, now: u64) -> u64 {
        let tick = if tick == NEVER { NEVER } else { tick.min(now + NEAR_TICKS_MAX) };
        let armed = NearTick::new(tick, now);
        self.armed.store(armed);
        armed.at(now)
    }
}

/// What handlers set.
impl ConnShared {
    /// Removes the read deadline.
    #[inline]
    pub(crate) fn clear_read_deadline(&self) {
        if self.deadlines.read.swap(NearTick::NEVER) == NearTick::FAR {
            self.forget_far_read_deadline();
        }
    }

    /// Sets the read deadline. The worker is notified only if its timer would fire too late.
    pub(crate) fn set_read_deadline(&self, tick: u64) {
        let clock = &self.worker().clock;
        let now = clock.settled();
        let read = NearTick::new(tick, now);
        if !read.is_tick() {
            return self.set_far_read_deadline(tick);
        }
        if self.deadlines.read.swap(read) == NearTick::FAR {
            self.forget_far_read_deadline();
        }
        if clock.settled().wrapping_sub(now) > NEAR_TICKS_MAX {
            // The worker has woken from a sleep of months in between, and renewed what was stored before.
            return self.set_read_deadline(tick);
        }
        if self.deadlines.armed.load().is_after_near(read) {
            self.post(Command::Deadline(self.key));
        }
    }

    /// Sets a read deadline that is not near. The tick and the value that stands for it are written under the lock, so
    /// that they agree.
    #[cold]
    #[inline(never)]
    fn set_far_read_deadline(&self, tick: u64) {
        let mut outbound = self.lock_outbound();
        outbound.set_deadlines(|deadlines| deadlines.far_read = tick);
        self.deadlines.read.store(NearTick::FAR);
        drop(outbound);
        self.notify_deadline(tick);
    }

    pub(crate) fn set_read_deadline_in(&self, duration: Duration) {
        self.set_read_deadline(self.worker().clock.tick_from_now(duration));
    }

    pub(crate) fn set_write_deadline(&self, tick: u64) {
        self.lock_outbound().set_deadlines(|deadlines| deadlines.write = tick);
        self.notify_deadline(tick);
    }

    pub(crate) fn set_lifetime_deadline(&self, tick: u64) {
        self.lock_outbound().set_deadlines(|deadlines| deadlines.lifetime = tick);
        self.notify_deadline(tick);
    }

    pub(crate) fn set_stall(&self, timeout: Option<Duration>) {
        self.deadlines.stall.store(timeout_ticks(timeout), Ordering::SeqCst);
        // The worker reads it when a send begins, which happens under the queue's lock, so a send already begun shows
        // here.
        if self.lock_outbound().bytes() > 0 {
            self.post(Command::Deadline(self.key));
        }
    }

    pub(crate) fn set_idle(&self, timeout: Option<Duration>) {
        // The worker stores it together with the time it counts from.
        self.post(Command::Idle(self.key, timeout_ticks(timeout)));
    }

    /// Forgets a read deadline that was not near, unless there is another one by now.
    #[cold]
    fn forget_far_read_deadline(&self) {
        let mut outbound = self.lock_outbound();
        if self.deadlines.read.load() != NearTick::FAR {
            outbound.set_deadlines(|deadlines| deadlines.far_read = NEVER);
        }
    }

    fn notify_deadline(&self, tick: u64) {
        // Loaded first: by this time it is near.
        let armed = self.deadlines.armed.load();
        if tick < armed.at(self.worker().clock.settled()) {
            self.post(Command::Deadline(self.key));
        }
    }
}

/// What the worker's timer does with the read deadline.
impl ConnShared {
    /// Returns whether the read deadline has passed at `now`. One that was far is stored once it is near.
    pub(crate) fn review_read_deadline(&self, now: u64) -> bool {
        let read = self.deadlines.read.load();
        if read == NearTick::FAR { self.review_far_read_deadline(now) } else { read.has_passed(now) }
    }

    #[cold]
    fn review_far_read_deadline(&self, now: u64) -> bool {
        let mut outbound = self.lock_outbound();
        let read = NearTick::new(outbound.deadlines().far_read, now);
        // The handler can have set a near one meanwhile.
        if read != NearTick::FAR && self.deadlines.read.replace(NearTick::FAR, read) {
            outbound.set_deadlines(|deadlines| deadlines.far_read = NEVER);
        }
        self.deadlines.read.load().has_passed(now)
    }

    /// Returns the tick of the read deadline if that is to come. `far` is the one that is kept with the outbound queue.
    pub(crate) fn next_read_deadline(&self, far: u64, now: u64) -> u64 {
        match self.deadlines.read.load() {
            NearTick::FAR => far,
            // The reader was woken for it and now checks by itself.
            passed if passed.has_passed(now) => NEVER,
            read => read.at(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_tick_at_least_and_end_at_a_year() {
        let day = Duration::from_secs(86_400);
        let cases = [
            (None, 0),
            (Some(Duration::ZERO), 1),
            (Some(Duration::from_nanos(1)), 1),
            (Some(TICK + Duration::from_nanos(1)), 2),
            (Some(60 * day), 60 * 86_400 * 125),
            (Some(TIMEOUT_MAX), 365 * 86_400 * 125),
            (Some(TIMEOUT_MAX + Duration::from_nanos(1)), 0),
            (Some(Duration::MAX), 0),
        ];
        for (timeout, ticks) in cases {
            assert_eq!(timeout_ticks(timeout), ticks, "{timeout:?}");
        }
    }
}
