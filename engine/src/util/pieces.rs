//! A table by number that grows in pieces.
//!
//! A vector that is full doubles: it copies what it has into twice the memory, and half of that is then unused. With
//! one entry for each of very many idle connections, the unused half and the holes that the copies leave behind cost
//! more than most entries. This table adds memory by the piece instead.
//!
//! ```text
//!   index = piece · PLACES + place
//!
//!   pieces ─▶ ┌───┐    ┌───────┬───────┬─ ─
//!             │ 0 ├───▶│ place │ place │        at first as large as needed, up to a whole piece
//!             ├───┤    └───────┴───────┴─ ─
//!             │ 1 │    (no memory: it has no entries)
//!             ├───┤    ┌───────┬───────┬─ ─
//!             │ 2 ├───▶│ place │ place │        a whole piece
//!             └───┘    └───────┴───────┴─ ─
//! ```
//!
//! An entry is found with a shift, a mask, two loads and two comparisons. Entries move only while the first piece
//! grows. Where the indexes are dense, a table takes no more than its entries, the rest of one piece, one spare piece
//! and 32 bytes for each piece.

use std::ops::{Index, IndexMut};

/// Maximum memory of a piece. Small next to the entries of a busy worker, and large enough for the allocator's header
/// and the list of pieces to be nothing.
const PIECE_BYTES: usize = 32 << 10;

/// Places for which a table gets memory at first.
const FIRST_PLACES: usize = 8;

/// A table of entries by number. Numbers should be small, because the list of pieces reaches up to the highest.
pub(crate) struct Pieces<T> {
    /// The last one has entries.
    pieces: Vec<Piece<T>>,
    /// The memory of the last piece that has lost all its entries, for the next one. So a table whose size goes to and
    /// fro at the end of a piece does not allocate each time.
    spare: Vec<Option<T>>,
}

struct Piece<T> {
    /// Up to the highest place that was ever used, without memory while there is no entry.
    places: Vec<Option<T>>,
    /// The number of entries.
    entries: u32,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), spare: Vec::new() }
    }
}

impl<T> Pieces<T> {
    /// Places of a piece: a power of two, so that an index is split with a shift and a mask.
    pub(crate) const PLACES: usize = {
        let bytes = if size_of::<Option<T>>() == 0 { 1 } else { size_of::<Option<T>>() };
        let fit = PIECE_BYTES / bytes;
        if fit == 0 { 1 } else { 1 << fit.ilog2() }
    };

    /// Returns the entry at `index`.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.pieces.get(index / Self::PLACES)?.places.get(index % Self::PLACES)?.as_ref()
    }

    /// Returns the entry at `index`.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        self.pieces.get_mut(index / Self::PLACES)?.places.get_mut(index % Self::PLACES)?.as_mut()
    }

    /// Stores an entry at `index` and returns the one that was there.
    #[inline(never)]
    pub(crate) fn put(&mut self, index: u32, entry: T) -> Option<T> {
        let (number, place) = (index as usize / Self::PLACES, index as usize % Self::PLACES);
        if self.pieces.len() <= number {
            self.pieces.resize_with(number + 1, || Piece { places: Vec::new(), entries: 0 });
        }
        let piece = &mut self.pieces[number];
        if piece.places.len() <= place {
            if piece.places.capacity() == 0 {
                piece.places = std::mem::take(&mut self.spare);
            }
            piece.reach(place, if number == 0 { FIRST_PLACES } else { Self::PLACES });
        }
        let former = piece.places[place].replace(entry);
        piece.entries += u32::from(former.is_none());
        former
    }

    /// Removes the entry at `index`. The memory of a piece is freed when it has no entries and another one becomes the
    /// spare.
    #[inline(never)]
    pub(crate) fn take(&mut self, index: u32) -> Option<T> {
        let (number, place) = (index as usize / Self::PLACES, index as usize % Self::PLACES);
        let piece = self.pieces.get_mut(number)?;
        let entry = piece.places.get_mut(place)?.take()?;
        piece.entries -= 1;
        if piece.entries == 0 {
            self.spare = std::mem::take(&mut piece.places);
            // Its places were empty already.
            self.spare.clear();
            while self.pieces.pop_if(|last| last.entries == 0).is_some() {}
        }
        Some(entry)
    }

    /// Returns a number above the indexes of all entries. Without removals it is the lowest such number.
    pub(crate) fn bound(&self) -> u32 {
        let Some(last) = self.pieces.last() else { return 0 };
        ((self.pieces.len() - 1) * Self::PLACES + last.places.len()) as u32
    }

    /// Returns the entries in the order of their indexes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flat_map(|piece| &piece.places).flatten()
    }

    /// Returns the entries in the order of their indexes.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flat_map(|piece| &mut piece.places).flatten()
    }

    /// Takes all entries, in the order of their indexes.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = T> {
        self.pieces.into_iter().flat_map(|piece| piece.places).flatten()
    }
}

impl<T> Piece<T> {
    /// Adds places up to `place`, with memory for `least` or more.
    #[cold]
    fn reach(&mut self, place: usize, least: usize) {
        let places = (place + 1).next_power_of_two().max(least.min(Pieces::<T>::PLACES));
        if self.places.capacity() <= place {
            self.places.reserve_exact(places - self.places.len());
        }
        self.places.resize_with(place + 1, || None);
    }
}

impl<T> Index<u32> for Pieces<T> {
    type Output = T;

    /// # Panics
    /// If there is no entry at `index`.
    #[inline]
    fn index(&self, index: u32) -> &T {
        self.get(index).expect("an entry of the table")
    }
}

impl<T> IndexMut<u32> for Pieces<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("an entry of the table")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use super::*;

    /// Entries of 4 KiB, of which a piece has 8.
    type Large = Pieces<[u64; 511]>;

    /// Returns the bytes that a table has memory for.
    fn bytes<T>(table: &Pieces<T>) -> usize {
        let places: usize = table.pieces.iter().map(|piece| piece.places.capacity()).sum();
        (places + table.spare.capacity()) * size_of::<Option<T>>()
    }

    #[test]
    fn pieces_have_a_power_of_two_of_places_and_a_bounded_size() {
        assert_eq!(Pieces::<Box<u8>>::PLACES, 4096);
        assert_eq!(Pieces::<[u64; 3]>::PLACES, 1024);
        assert_eq!(Large::PLACES, 8);
        assert_eq!(Pieces::<[u8; 100_000]>::PLACES, 1);
        assert_eq!(Pieces::<()>::PLACES, 32 << 10);
    }

    #[test]
    fn a_small_table_takes_little_memory_and_a_large_one_little_more_than_its_entries() {
        let mut table = Pieces::<[u64; 3]>::default();
        assert_eq!(bytes(&table), 0);
        table.put(0, [0; 3]);
        assert_eq!(bytes(&table), 8 * 32);
        for index in 1..9 {
            table.put(index, [0; 3]);
        }
        assert_eq!(bytes(&table), 16 * 32);
        for count in 10..40_000_u32 {
            table.put(count - 1, [0; 3]);
            let needed = count as usize * 32;
            assert!(bytes(&table) < 2 * needed && bytes(&table) < needed + PIECE_BYTES, "{count} entries");
        }
    }

    #[test]
    fn entries_of_later_pieces_stay_where_they_are() {
        let mut table = Pieces::<u64>::default();
        let first = Pieces::<u64>::PLACES as u32;
        table.put(first, 7);
        let place = std::ptr::from_ref(&table[first]);
        for index in (0..first).chain(first + 1..5 * first) {
            table.put(index, 0);
        }
        assert!(std::ptr::eq(place, &table[first]));
    }

    #[test]
    fn memory_of_empty_pieces_is_freed_except_for_one() {
        let mut table = Pieces::<u64>::default();
        let piece = (Pieces::<u64>::PLACES * size_of::<Option<u64>>(), Pieces::<u64>::PLACES as u32);
        (0..4 * piece.1).for_each(|index| assert_eq!(table.put(index, 0), None));
        assert_eq!(bytes(&table), 4 * piece.0);
        // Not at the end.
        (0..2 * piece.1).for_each(|index| assert_eq!(table.take(index), Some(0)));
        assert_eq!((bytes(&table), table.bound()), (3 * piece.0, 4 * piece.1));
        (2 * piece.1..4 * piece.1).for_each(|index| assert_eq!(table.take(index), Some(0)));
        assert_eq!((bytes(&table), table.bound(), table.pieces.len()), (piece.0, 0, 0));
        // The spare is used first.
        table.put(3, 1);
        assert_eq!((bytes(&table), table.bound(), table[3]), (piece.0, 4, 1));
    }

    #[test]
    fn an_index_far_away_takes_one_piece() {
        let mut table = Large::default();
        table.put(1_000_000, [1; 511]);
        assert_eq!(bytes(&table), 8 * size_of::<Option<[u64; 511]>>());
        assert_eq!((table.bound(), table.iter().count()), (1_000_001, 1));
        assert!(table.get(999_999).is_none() && table.get(0).is_none() && table.take(5).is_none());
        assert!(table.get(u32::MAX).is_none() && table.take(u32::MAX).is_none());
    }

    #[test]
    #[should_panic(expected = "an entry of the table")]
    fn an_index_without_an_entry_panics() {
        let mut table = Pieces::default();
        table.put(1, 1);
        let _ = table[0];
    }

    /// Random changes have the results that they have on a map, and each entry is dropped once.
    #[test]
    fn a_table_behaves_as_a_map() {
        let rounds = if cfg!(miri) { 2_000 } else { 20_000 };
        let (mut table, mut model) = (Pieces::<[Rc<u32>; 200]>::default(), BTreeMap::new());
        assert_eq!(Pieces::<[Rc<u32>; 200]>::PLACES, 16);
        let (mut state, all) = (1_u32, Rc::new(0));
        let entry = || std::array::from_fn(|_| Rc::clone(&all));
        for round in 0..rounds {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Phases in which most are added, and in which most are removed.
            let (index, adds) = ((state >> 8) % 100, (state >> 24) % 8 < if round / 600 % 2 == 0 { 6 } else { 1 });
            if adds {
                assert_eq!(table.put(index, entry()).is_some(), model.insert(index, ()).is_some());
            } else {
                assert_eq!(table.take(index).is_some(), model.remove(&index).is_some());
            }
            assert_eq!((table.get(index).is_some(), table.get_mut(index).is_some()), (adds, adds));
            assert!(table.bound() > model.last_key_value().map_or(0, |(last, ())| *last) || model.is_empty());
            if round % 100 == 0 {
                assert!((0..100).all(|index| table.get(index).is_some() == model.contains_key(&index)));
                assert_eq!((table.iter().count(), table.iter_mut().count()), (model.len(), model.len()));
            }
        }
        assert_eq!(Rc::strong_count(&all), 1 + 200 * model.len());
        assert_eq!(table.into_entries().count(), model.len());
        assert_eq!(Rc::strong_count(&all), 1);
    }
}
