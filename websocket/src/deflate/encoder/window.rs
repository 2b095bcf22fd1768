//! The earlier bytes that matches refer to, and the tables that find them.

use std::hint::black_box;
use std::mem;

use super::codes::MATCH_BYTES_MIN;
use crate::deflate::format::MATCH_BYTES_MAX;

/// The least bytes of history and of room. Input waits in the room until there is enough of it.
const HALF_BYTES_MIN: usize = 16 << 10;

/// The bytes that a search can need behind its position. With less, it waits for more input.
pub(super) const LOOKAHEAD_BYTES: usize = MATCH_BYTES_MAX + MATCH_BYTES_MIN;

/// The fewest bits of a hash.
const HASH_BITS_MIN: u32 = 8;

/// The bytes in a line of the processor's cache.
const LINE_BYTES: usize = 64;

/// The entries of a table in a line.
const LINE_ENTRIES: usize = LINE_BYTES / size_of::<u16>();

/// The last bytes before a message that are read in order first: most matches refer to these.
const PREFETCHED_BYTES: usize = 4 << 10;

/// Position 0 stands for no position, so none is used.
const FIRST: usize = 1;

/// Which tables a search needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    /// Nothing is searched.
    None,
    /// The last position of each hash.
    Heads,
    /// All positions of each hash.
    Chains,
}

/// The last bytes of the payload, with the positions of their beginnings by hash.
#[derive(Debug)]
pub(super) struct Window {
    /// History, and after it the input that is not compressed yet. Has two halves, of which the second becomes the
    /// first when it is full.
    bytes: Box<[u8]>,
    /// The last position of each hash.
    heads: Box<[u16]>,
    /// At each position, modulo the window, the one before it with the same hash.
    previous: Box<[u16]>,
    hash_bits: u32,
    /// Maximum distance of a match.
    distance_max: usize,
    /// The first position that is not in the tables.
    inserted: usize,
    /// The first position that is not compressed.
    cursor: usize,
    /// The end of the input.
    end: usize,
    /// Where the current block began; 0 if that has left the window.
    block: usize,
}

/// A view of the window for a search.
pub(super) struct Finder<'w> {
    /// All bytes up to the end of the input.
    pub(super) bytes: &'w [u8],
    heads: &'w mut [u16],
    previous: &'w mut [u16],
    hash_shift: u32,
    distance_max: usize,
    pub(super) inserted: usize,
}

impl Window {
    pub(super) fn new(bits: u8, tables: Tables) -> Self {
        let window = 1_usize << bits;
        let half = window.max(HALF_BYTES_MIN);
        // A full half moves when less than a match fits behind it.
        let distance_max = if window < half { window - 1 } else { window - LOOKAHEAD_BYTES };
        let hash_bits = Self::hash_bits_max(bits, tables);
        Self {
            bytes: vec![0; 2 * half].into(),
            heads: vec![0; 1 << hash_bits].into(),
            previous: vec![0; if tables == Tables::Chains { window } else { 0 }].into(),
            hash_bits,
            distance_max,
            inserted: FIRST,
            cursor: FIRST,
            end: FIRST,
            block: FIRST,
        }
    }

    /// Returns the bits of a hash for long payloads.
    const fn hash_bits_max(bits: u8, tables: Tables) -> u32 {
        match tables {
            Tables::None => 0,
            // Few positions of a large window are in the table.
            Tables::Heads if bits == 15 => 13,
            Tables::Heads | Tables::Chains => bits as u32 - 1,
        }
    }

    /// Returns the bytes of heap that a window holds.
    pub(super) const fn held_bytes(bits: u8, tables: Tables) -> usize {
        let window = 1_usize << bits;
        let bytes = if window < HALF_BYTES_MIN { 2 * HALF_BYTES_MIN } else { 2 * window };
        let chains = if matches!(tables, Tables::Chains) { window } else { 0 };
        bytes + size_of::<u16>() * ((1 << Self::hash_bits_max(bits, tables)) + chains)
    }

    /// Forgets everything. The tables fit a payload of `payload_bytes`, so a short one costs little to begin.
    pub(super) fn restart(&mut self, payload_bytes: usize) {
        let all = self.heads.len().trailing_zeros();
        let needed = usize::BITS - payload_bytes.leading_zeros() + 1;
        self.hash_bits = needed.max(HASH_BITS_MIN).min(all);
        self.heads[..1 << self.hash_bits].fill(0);
        (self.inserted, self.cursor, self.end, self.block) = (FIRST, FIRST, FIRST, FIRST);
    }

    /// Takes input as far as there is room. Returns the number of bytes taken.
    pub(super) fn fill(&mut self, input: &[u8]) -> usize {
        let half = self.bytes.len() / 2;
        if self.bytes.len() - self.end < input.len() && self.cursor >= half + self.distance_max {
            self.slide(half);
        }
        let taken = input.len().min(self.bytes.len() - self.end);
        self.bytes[self.end..self.end + taken].copy_from_slice(&input[..taken]);
        self.end += taken;
        taken
    }

    /// Makes the second half the first.
    fn slide(&mut self, half: usize) {
        self.bytes.copy_within(half..self.end, 0);
        let shift = half as u16;
        for position in &mut self.heads {
            *position = position.saturating_sub(shift);
        }
        for position in &mut self.previous {
            *position = position.saturating_sub(shift);
        }
        self.inserted = self.inserted.saturating_sub(half).max(FIRST);
        self.cursor -= half;
        self.end -= half;
        self.block = self.block.saturating_sub(half);
    }

    /// Returns the number of bytes that wait to be compressed.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.end - self.cursor
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Returns the end of the input.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Ends the block at the cursor. Returns its payload, if that is still here.
    pub(super) fn end_block(&mut self) -> Option<&[u8]> {
        let begin = mem::replace(&mut self.block, self.cursor);
        (begin >= FIRST).then(|| &self.bytes[begin..self.cursor])
    }

    /// Brings the tables and the last history into the processor's cache. A search reads them in an order that the
    /// processor cannot foresee, so it would wait for each line of a context that has not been used for a while.
    pub(super) fn prefetch(&self) {
        let used = self.previous.len().min(self.inserted);
        // Nothing is in the tables at the beginning of a payload.
        if self.inserted > FIRST {
            let tables = self.heads.chunks_exact(LINE_ENTRIES).chain(self.previous[..used].chunks_exact(LINE_ENTRIES));
            black_box(tables.fold(0_u16, |sum, line| sum.wrapping_add(line[0])));
            let history = &self.bytes[self.cursor.saturating_sub(PREFETCHED_BYTES)..self.cursor];
            black_box(history.chunks_exact(LINE_BYTES).fold(0_u8, |sum, line| sum.wrapping_add(line[0])));
        }
    }

    /// Lets `search` compress bytes from the cursor on. It returns the position up to which it came.
    pub(super) fn search(&mut self, search: impl FnOnce(&mut Finder<'_>, usize) -> usize) {
        let mut finder = Finder {
            bytes: &self.bytes[..self.end],
            heads: &mut self.heads[..1 << self.hash_bits],
            previous: &mut self.previous,
            hash_shift: u32::BITS - self.hash_bits,
            distance_max: self.distance_max,
            inserted: self.inserted,
        };
        self.cursor = search(&mut finder, self.cursor);
        self.inserted = finder.inserted;
    }
}

impl Finder<'_> {
    /// Returns the four bytes at a position.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u32 {
        let bytes = &self.bytes[at..at + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline(always)]
    fn hash(&self, word: u32) -> usize {
        (word.wrapping_mul(0x9E37_79B1) >> self.hash_shift) as usize
    }

    /// Returns the first position without four bytes, at which no match begins.
    #[inline(always)]
    pub(super) fn searchable(&self) -> usize {
        (self.bytes.len() + 1).saturating_sub(MATCH_BYTES_MIN)
    }

    /// Makes `at`, where `word` is, the last position with its hash. Returns the one before, or 0.
    #[inline(always)]
    pub(super) fn replace_head(&mut self, at: usize, word: u32) -> usize {
        let hash = self.hash(word);
        usize::from(mem::replace(&mut self.heads[hash], at as u16))
    }

    /// Returns the last position of `word`'s hash, or 0.
    #[inline(always)]
    pub(super) fn head(&self, word: u32) -> usize {
        usize::from(self.heads[self.hash(word)])
    }

    /// Returns the position before `at` with the same hash, or 0.
    #[inline(always)]
    pub(super) fn previous(&self, at: usize) -> usize {
        usize::from(self.previous[at & (self.previous.len() - 1)])
    }

    /// Returns the first position that a match at `at` can refer to.
    #[inline(always)]
    pub(super) fn lowest(&self, at: usize) -> usize {
        at.saturating_sub(self.distance_max).max(FIRST)
    }

    /// Puts all positions before `at` into the tables, as far as their four bytes are here.
    #[inline]
    pub(super) fn insert_before(&mut self, at: usize) {
        let end = at.min(self.searchable());
        if self.inserted < end {
            let words = self.bytes[self.inserted..end + MATCH_BYTES_MIN - 1].windows(MATCH_BYTES_MIN);
            for (at, word) in (self.inserted..).zip(words) {
                self.insert_word(at, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            }
            self.inserted = end;
        }
    }

    /// Puts a position into the tables, which is the next. Returns the last one before it with the same hash, or 0.
    #[inline(always)]
    pub(super) fn insert(&mut self, at: usize) -> usize {
        self.inserted = at + 1;
        self.insert_word(at, self.word(at))
    }

    #[inline(always)]
    fn insert_word(&mut self, at: usize, word: u32) -> usize {
        let before = self.replace_head(at, word);
        let index = at & (self.previous.len() - 1);
        self.previous[index] = before as u16;
        before
    }

    /// Returns how many bytes are equal at two positions, up to `max`, which stays within the input.
    #[inline(always)]
    pub(super) fn common_bytes(&self, earlier: usize, at: usize, max: usize) -> usize {
        let (left, right) = (&self.bytes[earlier..earlier + max], &self.bytes[at..at + max]);
        let mut equal = 0;
        for (left, right) in left.chunks_exact(8).zip(right.chunks_exact(8)) {
            let [left, right] = [left, right].map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
            if left != right {
                return equal + (left ^ right).trailing_zeros() as usize / 8;
            }
            equal += 8;
        }
        equal + left[equal..].iter().zip(&right[equal..]).take_while(|(left, right)| left == right).count()
    }
}
