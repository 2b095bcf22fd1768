//! Entries at numbers of the table's choice.

use crate::util::pieces::Pieces;

/// Places of one word of the map of free ones.
const WORD: u32 = u64::BITS;

/// A table that chooses the number of each entry: the lowest free one of 64 neighbours, and nearly always one that was
/// in use before. Adding and removing an entry take constant time. In addition to the memory of the pieces a place
/// takes a bit.
///
/// For crates that keep something for each connection of a thread; not part of the public API.
pub struct Slab<T> {
    entries: Pieces<T>,
    /// A bit for each place, set while it is free.
    free: Vec<u64>,
    /// The numbers of the words that have a set bit. The one at the end is used first.
    words: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Pieces::default(), free: Vec::new(), words: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Stores an entry and returns its number.
    pub fn insert(&mut self, entry: T) -> u32 {
        let number = self.reserve();
        self.keep(number, entry);
        number
    }

    /// Returns a number for an entry that [`keep`](Self::keep) stores later. Until then there is none.
    pub(crate) fn reserve(&mut self) -> u32 {
        let word = match self.words.last() {
            Some(word) => *word,
            None => {
                let word = self.free.len() as u32;
                self.free.push(u64::MAX);
                self.words.push(word);
                word
            }
        };
        let free = &mut self.free[word as usize];
        let bit = free.trailing_zeros();
        *free &= !(1 << bit);
        if *free == 0 {
            self.words.pop();
        }
        word * WORD + bit
    }

    /// Stores the entry of a number that was reserved.
    pub(crate) fn keep(&mut self, number: u32, entry: T) {
        debug_assert!(self.free.get((number / WORD) as usize).is_some_and(|free| free & (1 << (number % WORD)) == 0));
        let former = self.entries.put(number, entry);
        debug_assert!(former.is_none(), "a number has one entry");
    }

    /// Removes an entry. Its number is free then.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let entry = self.entries.take(number)?;
        let free = &mut self.free[(number / WORD) as usize];
        if *free == 0 {
            self.words.push(number / WORD);
        }
        *free |= 1 << (number % WORD);
        Some(entry)
    }

    /// Returns the entry with a number.
    #[inline]
    pub fn get(&self, number: u32) -> Option<&T> {
        self.entries.get(number)
    }

    /// Returns the entry with a number.
    #[inline]
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(number)
    }

    /// Returns the entries in the order of their numbers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut()
    }

    /// Takes all entries, in the order of their numbers.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = T> {
        self.entries.into_entries()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn numbers_are_used_again_and_stay_low() {
        let mut slab = Slab::default();
        let numbers: Vec<_> = (0..1000).map(|entry| slab.insert(entry)).collect();
        assert!(numbers.iter().copied().eq(0..1000));
        for number in [5, 700, 64] {
            assert_eq!(slab.remove(number), Some(number));
            assert_eq!((slab.remove(number), slab.get(number).copied()), (None, None));
        }
        let mut again: Vec<_> = (0..3).map(|_| slab.insert(0)).collect();
        again.sort_unstable();
        assert_eq!(again, [5, 64, 700]);
        assert_eq!(slab.insert(0), 1000);
    }

    #[test]
    fn a_reserved_number_is_not_given_again_and_has_no_entry() {
        let mut slab = Slab::default();
        let number = slab.reserve();
        assert_eq!((slab.get(number).copied(), slab.remove(number)), (None, None));
        assert_ne!(slab.insert("other"), number);
        slab.keep(number, "kept");
        assert_eq!((slab.get(number).copied(), slab.remove(number)), (Some("kept"), Some("kept")));
        assert_eq!(slab.insert("next"), number);
    }

    /// Random changes have the results that they have on a map, and no number has two entries.
    #[test]
    fn a_slab_behaves_as_a_map() {
        let rounds = if cfg!(miri) { 2_000 } else { 100_000 };
        let (mut slab, mut model) = (Slab::default(), BTreeMap::new());
        let mut state = 1_u32;
        for round in 0..rounds {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let adds = (state >> 24) % 8 < if round / 1000 % 2 == 0 { 6 } else { 2 };
            if adds {
                assert_eq!(model.insert(slab.insert(round), round), None);
            } else {
                let number = (state >> 8) % 700;
                assert_eq!(slab.remove(number), model.remove(&number));
            }
            if round % 500 == 0 {
                assert!(model.iter().all(|(number, entry)| slab.get(*number) == Some(entry)));
                assert!(slab.iter_mut().map(|entry| *entry).eq(model.values().copied()));
            }
        }
        assert!(slab.into_entries().eq(model.into_values()));
    }
}
