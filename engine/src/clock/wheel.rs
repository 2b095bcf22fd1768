//! A hierarchical timer wheel, one per worker. It has no clock: the owner passes the time in.
//!
//! Insertion, removal and expiry are O(1) (an entry moves down at most [`LEVELS`] − 1 times); the next tick that needs
//! attention is found from one bitmap per level, without touching the entries. Time is in ticks of the owner's
//! choosing. An entry never fires before its tick. [`Lists`] leaves the entries to their owner, [`Wheel`] keeps them.
//!
//! Invariant: an entry of level `l` lies in the slot given by the `l`-th group of bits of its deadline, and its
//! deadline equals `now` in all groups above `l`.

use super::NEVER;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Four levels of 64 slots reach 2^24 ticks (37 hours at 8 ms); a more distant deadline is parked in the last level and
/// placed again when its slot is reached.
const LEVELS: usize = 4;

/// The place of an entry in the lists of a wheel, which its owner keeps with it. Eight bytes, because there are very
/// many entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    /// The entry before this one, or [`HEAD`] plus the number of the list that it heads.
    prev: u32,
    /// The entry behind this one, [`END`], or [`UNARMED`].
    next: u32,
}

/// Numbers of entries are below these.
const HEAD: u32 = u32::MAX - (LEVELS * SLOTS) as u32 - 1;
const UNARMED: u32 = u32::MAX - 1;
const END: u32 = u32::MAX;

impl Links {
    /// The links of an entry in no list.
    pub(crate) const UNARMED: Self = Self { prev: END, next: UNARMED };
}

/// The entries of a wheel, by number.
pub(crate) trait Entries {
    fn links(&mut self, index: u32) -> &mut Links;
    /// Returns the deadline with which an entry was inserted.
    fn deadline(&self, index: u32) -> u64;
    /// Takes note that an entry, which is in no list any more, is due.
    fn fire(&mut self, index: u32);
}

/// The lists of a wheel: entries ordered by deadline, with a coarser order for distant ones.
pub(crate) struct Lists {
    now: u64,
    /// What [`find_next`](Self::find_next) returns: a worker asks twice per tick.
    next: u64,
    heads: Box<[u32; LEVELS * SLOTS]>,
    occupied: [u64; LEVELS],
}

impl Lists {
    pub(crate) fn new(now: u64) -> Self {
        Self { now, next: NEVER, heads: Box::new([END; LEVELS * SLOTS]), occupied: [0; LEVELS] }
    }

    /// Arms entry `index`, which must be in no list, for `deadline`. One in the past fires at the next
    /// [`expire`](Self::expire).
    pub(crate) fn insert(&mut self, entries: &mut impl Entries, index: u32, deadline: u64) {
        self.place(entries, index, deadline);
        self.next = self.find_next();
    }

    fn place(&mut self, entries: &mut impl Entries, index: u32, deadline: u64) {
        debug_assert!(index < HEAD, "{index} is out of range");
        let at = deadline.max(self.now);
        let level = match (at ^ self.now).checked_ilog2() {
            None => 0,
            Some(bit) => ((bit / SLOT_BITS) as usize).min(LEVELS - 1),
        };
        let slot = (at >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let list = level * SLOTS + slot;
        let next = std::mem::replace(&mut self.heads[list], index);
        if next != END {
            entries.links(next).prev = index;
        }
        self.occupied[level] |= 1 << slot;
        *entries.links(index) = Links { prev: HEAD + list as u32, next };
    }

    /// Disarms an entry. Returns whether it was armed.
    pub(crate) fn remove(&mut self, entries: &mut impl Entries, index: u32) -> bool {
        let Links { prev, next } = std::mem::replace(entries.links(index), Links::UNARMED);
        if next == UNARMED {
            return false;
        }
        if prev < HEAD {
            entries.links(prev).next = next;
        } else {
            let list = (prev - HEAD) as usize;
            self.heads[list] = next;
            if next == END {
                self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
            }
        }
        if next != END {
            entries.links(next).prev = prev;
        }
        self.next = self.find_next();
        true
    }

    /// Returns the tick at which the wheel next needs [`expire`](Self::expire), at or before the earliest deadline.
    #[inline]
    pub(crate) fn next_tick(&self) -> Option<u64> {
        (self.next != NEVER).then_some(self.next)
    }

    /// Finds the next tick at which a slot with entries is reached, or [`NEVER`]. Time alone does not change it.
    fn find_next(&self) -> u64 {
        let Some(level) = (0..LEVELS).find(|&level| self.occupied[level] != 0) else { return NEVER };
        let shift = SLOT_BITS * level as u32;
        // Slots in turning order, from the current one on; a rotation is modulo their number. Above the lowest level
        // the current slot holds only entries a whole turn ahead.
        let turned = self.occupied[level].rotate_right((self.now >> shift) as u32);
        let ahead = match (level, turned & 1) {
            (0, 1) => 0,
            _ => match (turned & !1).trailing_zeros() {
                64 => SLOTS as u64,
                slots => u64::from(slots),
            },
        };
        ((self.now >> shift) + ahead) << shift
    }

    /// Advances to `now` and fires the entries that are due.
    #[inline]
    pub(crate) fn expire(&mut self, entries: &mut impl Entries, now: u64) {
        if self.next <= now {
            self.expire_due(entries, now);
        }
        self.now = self.now.max(now);
    }

    fn expire_due(&mut self, entries: &mut impl Entries, now: u64) {
        while self.next <= now {
            self.now = self.now.max(self.next);
            self.cascade(entries);
            self.next = self.find_next();
        }
    }

    /// Empties the slots that `self.now` has just reached, from the top level down.
    fn cascade(&mut self, entries: &mut impl Entries) {
        for level in (0..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if !self.now.is_multiple_of(1 << shift) {
                continue;
            }
            let list = level * SLOTS + (self.now >> shift) as usize % SLOTS;
            // Detached first, because a parked distant deadline can be placed into this very slot again.
            let mut index = std::mem::replace(&mut self.heads[list], END);
            self.occupied[level] &= !(1 << (list % SLOTS));
            while index != END {
                let next = std::mem::replace(entries.links(index), Links::UNARMED).next;
                match entries.deadline(index) {
                    deadline if deadline <= self.now => entries.fire(index),
                    deadline => self.place(entries, index, deadline),
                }
                index = next;
            }
        }
    }
}

/// Identifies an entry of a wheel until it fires or is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerId(u32);

struct Entry<T> {
    links: Links,
    deadline: u64,
    /// `None` while the entry is free.
    payload: Option<T>,
}

/// A wheel that keeps its entries.
pub(crate) struct Wheel<T> {
    lists: Lists,
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

/// The entries of a wheel that expires, and what it has fired.
struct Firing<'a, T> {
    entries: &'a mut Vec<Entry<T>>,
    free: &'a mut Vec<u32>,
    fired: &'a mut Vec<T>,
}

impl<T> Entries for Firing<'_, T> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.entries[index as usize].links
    }

    fn deadline(&self, index: u32) -> u64 {
        self.entries[index as usize].deadline
    }

    fn fire(&mut self, index: u32) {
        self.free.push(index);
        self.fired.extend(self.entries[index as usize].payload.take());
    }
}

impl<T> Wheel<T> {
    pub(crate) fn new(now: u64) -> Self {
        Self { lists: Lists::new(now), entries: Vec::new(), free: Vec::new() }
    }

    /// Arms an entry for `deadline`. One in the past fires at the next [`expire`](Self::expire).
    pub(crate) fn insert(&mut self, deadline: u64, payload: T) -> TimerId {
        let entry = Entry { links: Links::UNARMED, deadline, payload: Some(payload) };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let mut fired = Vec::new();
        let mut entries = Firing { entries: &mut self.entries, free: &mut self.free, fired: &mut fired };
        self.lists.insert(&mut entries, index, deadline);
        TimerId(index)
    }

    /// Disarms an entry. Returns `None` if it has already fired. Ids are reused, so the owner must forget an id when it
    /// fires.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<T> {
        let payload = self.entries.get_mut(id.0 as usize)?.payload.take()?;
        let mut fired = Vec::new();
        let mut entries = Firing { entries: &mut self.entries, free: &mut self.free, fired: &mut fired };
        self.lists.remove(&mut entries, id.0);
        self.free.push(id.0);
        Some(payload)
    }

    /// Returns the tick at which the wheel next needs [`expire`](Self::expire), at or before the earliest deadline.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.lists.next_tick()
    }

    /// Advances to `now` and moves the payloads that are due into `fired`.
    pub(crate) fn expire(&mut self, now: u64, fired: &mut Vec<T>) {
        self.lists.expire(&mut Firing { entries: &mut self.entries, free: &mut self.free, fired }, now);
    }

    /// Removes every entry, in no particular order.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        (0..self.entries.len() as u32).filter_map(|index| self.remove(TimerId(index))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn len(wheel: &Wheel<u64>) -> usize {
        wheel.entries.iter().filter(|entry| entry.payload.is_some()).count()
    }

    fn fire(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
        let mut fired = Vec::new();
        wheel.expire(now, &mut fired);
        fired.sort_unstable();
        fired
    }

    #[test]
    fn fires_at_the_deadline_and_not_before() {
        for deadline in [1, 5, 63, 64, 65, 4095, 4096, 4097, 262_144, 300_000, 16_777_216, 40_000_000] {
            let mut wheel = Wheel::new(0);
            wheel.insert(deadline, deadline);
            assert_eq!(fire(&mut wheel, deadline - 1), [], "early for {deadline}");
            assert_eq!(fire(&mut wheel, deadline), [deadline]);
            assert_eq!(len(&wheel), 0);
        }
    }

    #[test]
    fn a_past_deadline_fires_at_once() {
        let mut wheel = Wheel::new(1000);
        wheel.insert(3, 3);
        assert_eq!(wheel.next_tick(), Some(1000));
        assert_eq!(fire(&mut wheel, 1000), [3]);
    }

    #[test]
    fn removal_disarms_and_ids_are_reused() {
        let mut wheel = Wheel::new(0);
        let kept = wheel.insert(10, 10);
        let removed = wheel.insert(10, 11);
        let last = wheel.insert(10, 12);
        assert_eq!(wheel.remove(removed), Some(11));
        assert_eq!(wheel.remove(removed), None);
        assert_eq!(wheel.remove(last), Some(12));
        assert_eq!(fire(&mut wheel, 10), [10]);
        assert_eq!(wheel.remove(kept), None);
        assert_eq!(wheel.next_tick(), None);
    }

    #[test]
    fn draining_removes_every_entry() {
        let mut wheel = Wheel::new(0);
        for deadline in [1, 100, 5000] {
            wheel.insert(deadline, deadline);
        }
        let mut drained = wheel.drain();
        drained.sort_unstable();
        assert_eq!((drained, wheel.next_tick()), (vec![1, 100, 5000], None));
    }

    /// The wheel sleeps through everything else: a worker that woke for nothing would never be idle.
    #[test]
    fn an_entry_needs_attention_at_most_once_per_level() {
        for start in [0, 1, 63, 4000, 262_143, (1 << 24) - 1, 987_654_321] {
            for ahead in [1, 5, 63, 64, 65, 4095, 4096, 262_144, 300_000, (1 << 24) - 1, 1 << 24, 5 << 24] {
                let (deadline, mut wheel) = (start + ahead, Wheel::new(start));
                wheel.insert(deadline, deadline);
                // A distant deadline waits in the top level, one turn after the other.
                let ticks_max = LEVELS + (ahead >> 24) as usize;
                let mut ticks = Vec::new();
                while let Some(tick) = wheel.next_tick() {
                    assert!(tick > *ticks.last().unwrap_or(&start), "{start} + {ahead}: {tick} after {ticks:?}");
                    ticks.push(tick);
                    let fired = fire(&mut wheel, tick);
                    assert_eq!(fired.is_empty(), tick < deadline);
                    assert!(ticks.len() <= ticks_max, "{start} + {ahead}: {ticks:?}");
                }
                assert_eq!(ticks.last(), Some(&deadline));
            }
        }
    }

    /// Compares the wheel with a sorted list.
    #[test]
    fn agrees_with_a_sorted_list() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..if cfg!(miri) { 1 } else { 50 } {
            let start = random.u64(0..1 << 30);
            let (mut wheel, mut model, mut now) = (Wheel::new(start), Vec::new(), start);
            for _ in 0..400 {
                match random.u32(0..4) {
                    0 | 1 => {
                        let deadline = now + (random.u64(..) >> random.u32(36..63));
                        model.push((deadline, wheel.insert(deadline, deadline)));
                    }
                    2 if !model.is_empty() => {
                        let (deadline, id) = model.swap_remove(random.usize(..model.len()));
                        assert_eq!(wheel.remove(id), Some(deadline));
                    }
                    _ => {
                        now += random.u64(..) >> random.u32(40..64);
                        let mut due: Vec<u64> = model.iter().map(|entry| entry.0).filter(|&d| d <= now).collect();
                        due.sort_unstable();
                        model.retain(|entry| entry.0 > now);
                        assert_eq!(fire(&mut wheel, now), due);
                    }
                }
                assert_eq!(len(&wheel), model.len());
                let earliest = model.iter().map(|entry| entry.0).min();
                assert_eq!(wheel.next_tick().is_some(), earliest.is_some());
                assert!(wheel.next_tick().unwrap_or(0) <= earliest.unwrap_or(0));
            }
        }
    }
}
