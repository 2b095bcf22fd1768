//! Ticks of deadlines in 32 bits.
//!
//! The ticks of an engine outgrow 32 bits after 397 days, and engines run for longer. So what is stored of a tick is
//! its lower half, which is judged by its distance from the current tick:
//!
//! ```text
//!              passed                     to come               FAR
//!   ├──────────────────────────────┼────────────────────┼─ ─ ─ ─ ─ ─ ─ ▶
//!   now − 2^31 (198 days)         now       now + 2^30 (99 days)
//! ```
//!
//! A tick beyond the range is not stored: [`NearTick::FAR`] stands for one that is kept elsewhere. Time that passes
//! moves a stored tick to the left only, so its owner [renews](NearTick::renewed) it at least every
//! [`RENEWAL_TICKS`], before it leaves the range there.

use std::sync::atomic::{AtomicU32, Ordering};

use super::NEVER;

/// Maximum ticks from now to a tick that is stored.
pub(crate) const NEAR_TICKS_MAX: u64 = 1 << 30;

/// Maximum ticks between two renewals of a stored tick. Far less than the 2^31 after which it would be taken for one to
/// come.
pub(crate) const RENEWAL_TICKS: u64 = 1 << 29;

/// A tick that is near the current one, or one of two values in place of a tick. The two ticks that these would be
/// otherwise, in 397 days, are stored as the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NearTick(u32);

impl NearTick {
    /// No tick. The highest that is in the future of a new engine, which then needs no second look at most ticks.
    pub(crate) const NEVER: Self = Self(i32::MAX as u32);
    /// A tick more than [`NEAR_TICKS_MAX`] ahead, which is kept elsewhere.
    pub(crate) const FAR: Self = Self(Self::NEVER.0 - 1);

    /// Returns `tick` as it is stored at the tick `now`. One in the past is stored as `now`.
    #[inline]
    pub(crate) fn new(tick: u64, now: u64) -> Self {
        if tick > now + NEAR_TICKS_MAX {
            return if tick == NEVER { Self::NEVER } else { Self::FAR };
        }
        let stored = Self(tick.max(now) as u32);
        match (stored.is_tick(), tick > now) {
            (true, _) => stored,
            (false, true) => Self(Self::NEVER.0 + 1),
            (false, false) => Self(Self::FAR.0 - 1),
        }
    }

    /// Returns whether it is a tick, and neither of the two other values.
    #[inline]
    pub(crate) fn is_tick(self) -> bool {
        self.0.wrapping_sub(Self::FAR.0) > 1
    }

    /// Returns whether it is a tick at or before `now`.
    #[inline]
    pub(crate) fn has_passed(self, now: u64) -> bool {
        (now as u32).wrapping_sub(self.0) as i32 >= 0 && self.is_tick()
    }

    /// Returns whether it is after `tick`, which must be near itself. [`NEVER`](Self::NEVER) is after every tick.
    #[inline]
    pub(crate) fn is_after(self, tick: u64) -> bool {
        self.is_after_near(Self(tick as u32))
    }

    /// As [`is_after`](Self::is_after), for a tick that is stored.
    #[inline]
    pub(crate) fn is_after_near(self, tick: Self) -> bool {
        self.0.wrapping_sub(tick.0) as i32 > 0 || self == Self::NEVER
    }

    /// Returns what was near at `before` as it is stored at `now`, however much later that is.
    pub(crate) fn renewed(self, before: u64, now: u64) -> Self {
        if self.is_tick() { Self::new(self.at(before), now) } else { self }
    }

    /// Returns the whole number, at `now`; [`NEVER`] if it is not a tick.
    #[inline]
    pub(crate) fn at(self, now: u64) -> u64 {
        if !self.is_tick() {
            return NEVER;
        }
        let ahead = self.0.wrapping_sub(now as u32) as i32;
        now.wrapping_add_signed(i64::from(ahead))
    }
}

/// A place for a [`NearTick`] that several threads use. All of its operations have one order with those of others.
#[derive(Debug)]
pub(crate) struct AtomicNearTick(AtomicU32);

impl AtomicNearTick {
    pub(crate) fn new(tick: NearTick) -> Self {
        Self(AtomicU32::new(tick.0))
    }

    #[inline]
    pub(crate) fn load(&self) -> NearTick {
        NearTick(self.0.load(Ordering::SeqCst))
    }

    #[inline]
    pub(crate) fn store(&self, tick: NearTick) {
        self.0.store(tick.0, Ordering::SeqCst);
    }

    /// Stores a tick and returns the one that was there.
    #[inline]
    pub(crate) fn swap(&self, tick: NearTick) -> NearTick {
        NearTick(self.0.swap(tick.0, Ordering::SeqCst))
    }

    /// Stores `new` in place of `former`. Returns whether that was there.
    pub(crate) fn replace(&self, former: NearTick, new: NearTick) -> bool {
        self.0.compare_exchange(former.0, new.0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks around which the stored half wraps, changes its sign or meets the values that are no ticks.
    const TIMES: [u64; 10] = [
        0,
        1,
        5000,
        (1 << 30) + 3,
        (1 << 31) - 3,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        (1 << 33) + (1 << 31) - 1,
        (9 << 32) + 77,
    ];

    /// Returns distances up to `max`: small ones, and those around it.
    fn distances(max: u64) -> impl Iterator<Item = u64> {
        [0, 1, 2, 3, 4, 1000, max / 2, max - 1, max].into_iter()
    }

    /// Returns times and distances from them.
    fn pairs() -> impl Iterator<Item = (u64, u64)> {
        TIMES.into_iter().flat_map(|now| distances(NEAR_TICKS_MAX).map(move |ahead| (now, ahead)))
    }

    /// Returns the tick that is stored for `tick`.
    fn rounded(tick: u64) -> u64 {
        let low = tick as u32;
        if NearTick(low).is_tick() { tick } else { tick + u64::from(NearTick::NEVER.0 + 1 - low) }
    }

    #[test]
    fn a_near_tick_is_known_from_its_lower_half() {
        for (now, ahead) in pairs() {
            let stored = NearTick::new(now + ahead, now);
            if ahead > 0 {
                assert_eq!(stored.at(now), rounded(now + ahead), "{ahead} after {now}");
                assert!(!stored.has_passed(now + ahead - 1), "{ahead} after {now} is early");
            }
            assert!(stored.has_passed(now + ahead + 2), "{ahead} after {now} is late");
            // It stays known for as long after it has passed.
            for later in distances(NEAR_TICKS_MAX) {
                let later = now + ahead + 2 + later;
                assert!(stored.has_passed(later) && stored.at(later) <= later, "{ahead} after {now}, at {later}");
            }
        }
    }

    #[test]
    fn what_has_passed_is_stored_as_the_current_tick_and_never_as_a_later_one() {
        for now in TIMES.into_iter().flat_map(|now| [now, now + 1, now + 2, now + 3]) {
            for tick in [0, now / 2, now.saturating_sub(1), now] {
                let stored = NearTick::new(tick, now);
                assert!(stored.has_passed(now), "{tick} at {now}");
                assert!((now.saturating_sub(2)..=now).contains(&stored.at(now)), "{tick} at {now}");
            }
        }
    }

    #[test]
    fn a_tick_beyond_the_range_is_far() {
        for now in TIMES {
            for tick in [now + NEAR_TICKS_MAX + 1, now + (1 << 31), now + (1 << 32), NEVER - 1] {
                assert_eq!(NearTick::new(tick, now), NearTick::FAR, "{tick} at {now}");
            }
            assert_eq!(NearTick::new(NEVER, now), NearTick::NEVER);
        }
    }

    #[test]
    fn a_renewed_tick_passes_when_it_would_have() {
        for (before, ahead) in pairs() {
            let stored = NearTick::new(before + ahead, before);
            for later in [0, 1, ahead / 2, ahead, RENEWAL_TICKS, 1 << 31, (1 << 32) + 5, 9 << 32] {
                let (now, tick) = (before + later, stored.at(before));
                let renewed = stored.renewed(before, now);
                assert_eq!(renewed.has_passed(now), tick <= now, "{ahead} after {before}, {later} later");
                assert!(tick <= now || renewed.at(now) == tick, "{ahead} after {before}, {later} later");
            }
        }
        for stored in [NearTick::NEVER, NearTick::FAR] {
            assert_eq!(stored.renewed(7, 9 << 32), stored);
        }
    }

    #[test]
    fn never_and_far_do_not_pass_at_any_time() {
        for now in TIMES.into_iter().flat_map(|now| [now, now + 1, now + 2, now + 3]) {
            assert!(NearTick::NEVER.is_after(now), "at {now}");
            for stored in [NearTick::NEVER, NearTick::FAR] {
                assert!(!stored.has_passed(now), "at {now}");
                assert_eq!(stored.at(now), NEVER);
            }
        }
    }

    #[test]
    fn near_ticks_have_an_order() {
        for (now, ahead) in pairs() {
            let stored = NearTick::new(now + ahead, now);
            let tick = stored.at(now);
            assert!(!stored.is_after(tick) && !stored.is_after(tick + NEAR_TICKS_MAX), "{ahead} after {now}");
            assert!(tick == 0 || stored.is_after(tick - 1), "{ahead} after {now}");
        }
    }
}
