//! Tables that lead from the next bits to the symbol of their code.
//!
//! The main table has an entry for all values of as many bits as its longest code has, up to a bound. The entry of a
//! longer code leads to a further table behind the main one, which has an entry for all values of the bits that follow.

use super::Stop;
use crate::deflate::format::CODE_LEN_MAX;

/// A symbol, and the bits of its code and behind it.
///
/// | bits | |
/// |---|---|
/// | 31 | whether it is a literal |
/// | 16 to 30 | the literal, the base of a length or distance, or the place of a further table |
/// | 15 | whether it is none of these: the end of a block, a further table, or invalid |
/// | 14, 13 | whether it is a further table, whether it is the end of a block |
/// | 8 to 11 | the bits of the code, of a further table those that it takes |
/// | 0 to 5 | the bits of the code and the extra bits behind it |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

const LITERAL: u32 = 1 << 31;
const SPECIAL: u32 = 1 << 15;
const SUBTABLE: u32 = 1 << 14;
const END: u32 = 1 << 13;

impl Entry {
    pub(super) const INVALID: Self = Self(SPECIAL);
    pub(super) const END_OF_BLOCK: Self = Self(SPECIAL | END);

    pub(super) const fn literal(byte: u8) -> Self {
        Self(LITERAL | (byte as u32) << 16)
    }

    /// Returns an entry for values from a base on, to which the extra bits are added.
    pub(super) const fn base(base: u32, extra_len: u32) -> Self {
        Self(base << 16 | extra_len)
    }

    const fn subtable(place: usize, len: usize, code_len: usize) -> Self {
        Self((place as u32) << 16 | SPECIAL | SUBTABLE | (len as u32) << 8 | code_len as u32)
    }

    const fn with_code_len(self, len: usize) -> Self {
        Self(self.0 + (len as u32) * 0x101)
    }

    #[inline(always)]
    pub(super) fn is_literal(self) -> bool {
        self.0 & LITERAL != 0
    }

    #[inline(always)]
    pub(super) fn is_special(self) -> bool {
        self.0 & SPECIAL != 0
    }

    #[inline(always)]
    pub(super) fn is_subtable(self) -> bool {
        self.0 & SUBTABLE != 0
    }

    #[inline(always)]
    pub(super) fn is_end_of_block(self) -> bool {
        self.0 & END != 0
    }

    /// Returns the number of bits that it takes.
    #[inline(always)]
    pub(super) fn len(self) -> u32 {
        self.0 & 0x3F
    }

    /// Returns that number in the lowest six bits.
    #[inline(always)]
    pub(super) fn dirty_len(self) -> u32 {
        self.0
    }

    /// Returns the literal.
    #[inline(always)]
    pub(super) fn byte(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Returns the value of a base with the extra bits behind its code.
    #[inline(always)]
    pub(super) fn value(self, bits: u64) -> usize {
        let extra = (bits & ((1 << self.len()) - 1)) >> (self.0 >> 8 & 0xF);
        (self.0 >> 16) as usize + extra as usize
    }
}

/// A symbol with the length of its code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CodedSymbol(u16);

impl CodedSymbol {
    /// Fills room for symbols.
    pub(super) const NONE: Self = Self(0);

    #[inline(always)]
    pub(super) fn new(symbol: usize, len: u8) -> Self {
        Self((symbol << 4) as u16 | u16::from(len))
    }

    #[inline(always)]
    pub(super) fn symbol(self) -> usize {
        usize::from(self.0 >> 4)
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        usize::from(self.0 & 0xF)
    }
}

/// The symbols that a code can have.
#[derive(Debug)]
pub(super) struct Alphabet<const SYMBOLS: usize> {
    /// The entry of each symbol, without its code.
    pub(super) entries: [Entry; SYMBOLS],
    /// The entry for bits that are no code.
    pub(super) unused: Entry,
    /// Whether a single symbol with a code of one bit is allowed.
    pub(super) allows_lone: bool,
}

/// The number of codes of each length.
pub(super) type Counts = [u16; CODE_LEN_MAX + 1];

/// The most symbols of a code.
pub(super) const SYMBOLS_MAX: usize = 288;

/// Memory for the symbols of a code in the order of their codes.
pub(super) type Sorted = [u16; SYMBOLS_MAX];

/// The symbols of a code. `SIZE`, a power of two, is room for the main table of up to `MAIN_LEN_MAX` bits and for all
/// further tables that codes of up to 15 bits can need.
#[derive(Debug, Clone)]
pub(super) struct Table<const SIZE: usize, const MAIN_LEN_MAX: usize> {
    entries: [Entry; SIZE],
    /// The bits that lead to an entry of the main table.
    mask: usize,
}

impl<const SIZE: usize, const MAIN_LEN_MAX: usize> Table<SIZE, MAIN_LEN_MAX> {
    pub(super) const fn new() -> Self {
        const { assert!(SIZE.is_power_of_two() && SIZE >= 1 << MAIN_LEN_MAX) };
        Self { entries: [Entry::INVALID; SIZE], mask: 0 }
    }

    /// Returns the bits that lead to an entry of the main table, for [`at`](Self::at).
    #[inline(always)]
    pub(super) fn mask(&self) -> usize {
        self.mask & (SIZE - 1)
    }

    /// Returns the entry for the next bits.
    #[inline(always)]
    pub(super) fn at(&self, mask: usize, bits: u64) -> Entry {
        self.entries[bits as usize & mask & (SIZE - 1)]
    }

    /// Returns the entry of a further table, for the bits after those that led to it.
    #[inline(always)]
    pub(super) fn further(&self, subtable: Entry, bits: u64) -> Entry {
        let mask = (1 << (subtable.0 >> 8 & 0xF)) - 1;
        self.entries[((subtable.0 >> 16) as usize + (bits as usize & mask)) & (SIZE - 1)]
    }

    /// Adds a code of a table that has `main_len` bits.
    pub(super) const fn insert(&mut self, code: u32, len: usize, symbol: Entry, main_len: usize) {
        let mut place = (code.reverse_bits() >> (32 - len)) as usize;
        while place < 1 << main_len {
            self.entries[place] = symbol.with_code_len(len);
            place += 1 << len;
        }
        self.mask = (1 << main_len) - 1;
    }

    /// Builds the table of a code (RFC 1951 section 3.2.2). `coded` has the symbols in order, numbered from
    /// `first_symbol` on, `counts` the number of those with each length.
    ///
    /// # Errors
    /// [`Stop::Invalid`] as in zlib: if there are too many codes for their lengths, or too few. As an exception a code
    /// can have no symbol, or one as the alphabet allows.
    pub(super) fn build<const SYMBOLS: usize>(
        &mut self,
        coded: &[CodedSymbol],
        counts: &Counts,
        first_symbol: usize,
        alphabet: &Alphabet<SYMBOLS>,
        sorted: &mut Sorted,
    ) -> Result<(), Stop> {
        let mut unassigned = 1_u32;
        for count in &counts[1..] {
            unassigned = (unassigned << 1).checked_sub(u32::from(*count)).ok_or(Stop::Invalid)?;
        }
        if unassigned > 0 {
            let first = match coded {
                [] => alphabet.unused,
                [symbol] if alphabet.allows_lone && symbol.len() == 1 => {
                    alphabet.entries[symbol.symbol() - first_symbol]
                }
                _ => return Err(Stop::Invalid),
            };
            self.entries[0] = first.with_code_len(1);
            self.entries[1] = alphabet.unused.with_code_len(1);
            self.mask = 1;
            return Ok(());
        }
        sort(coded, counts, first_symbol, sorted);
        self.fill(&sorted[..coded.len()], counts, &alphabet.entries);
        Ok(())
    }

    /// Fills the table with a code that assigns all bits, whose symbols are in the order of their codes.
    fn fill(&mut self, mut sorted: &[u16], counts: &Counts, symbols: &[Entry]) {
        let longest = counts.iter().rposition(|count| *count > 0).unwrap_or_default();
        let shortest = counts.iter().skip(1).position(|count| *count > 0).map_or(longest, |index| index + 1);
        let main_len = longest.min(MAIN_LEN_MAX);
        // The next code, with its first bit as the highest.
        let mut code = 0_u16;
        for (len, count) in counts.iter().enumerate().take(main_len + 1).skip(shortest) {
            if len > shortest {
                // What the shorter codes lead to does not depend on one more bit.
                let half = 1 << (len - 1);
                self.entries.copy_within(..half, half);
            }
            let of_len;
            (of_len, sorted) = sorted.split_at(usize::from(*count));
            for symbol in of_len {
                self.entries[reversed(code) & (SIZE - 1)] = symbols[usize::from(*symbol)].with_code_len(len);
                code = code.wrapping_add(1 << (CODE_LEN_MAX + 1 - len));
            }
        }
        self.mask = (1 << main_len) - 1;

        let (mut prefix, mut start, mut end) = (usize::MAX, 0, 1 << main_len);
        for len in main_len + 1..=longest {
            let code_len = len - main_len;
            for left in (1..=usize::from(counts[len])).rev() {
                let place = reversed(code);
                if prefix != place & self.mask {
                    prefix = place & self.mask;
                    start = end;
                    // It has to have all codes with this prefix.
                    let (mut subtable_len, mut used) = (code_len, left);
                    while used < 1 << subtable_len {
                        subtable_len += 1;
                        used = 2 * used + usize::from(counts[main_len + subtable_len]);
                    }
                    end += 1 << subtable_len;
                    self.entries[prefix] = Entry::subtable(start, subtable_len, main_len);
                }
                let Some((symbol, others)) = sorted.split_first() else { return };
                sorted = others;
                let symbol = symbols[usize::from(*symbol)].with_code_len(code_len);
                let first = start + (place >> main_len);
                for entry in self.entries[first..end].iter_mut().step_by(1 << code_len) {
                    *entry = symbol;
                }
                code = code.wrapping_add(1 << (CODE_LEN_MAX + 1 - len));
            }
        }
    }
}

/// Sorts symbols by the length of their code.
fn sort(coded: &[CodedSymbol], counts: &Counts, first_symbol: usize, sorted: &mut Sorted) {
    let mut places = [0; CODE_LEN_MAX + 1];
    for len in 1..CODE_LEN_MAX {
        places[len + 1] = places[len] + counts[len];
    }
    for symbol in coded {
        let place = &mut places[symbol.len()];
        sorted[usize::from(*place)] = (symbol.symbol() - first_symbol) as u16;
        *place += 1;
    }
}

/// Returns the bits in reverse.
#[inline(always)]
fn reversed(bits: u16) -> usize {
    let [high, low] = bits.to_be_bytes().map(|byte| usize::from(REVERSED[usize::from(byte)]));
    low << 8 | high
}

/// The bytes with their bits in reverse.
static REVERSED: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = (byte as u8).reverse_bits();
        byte += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::decoder::codes::{Codes, DISTANCES, FIXED, LITERALS};

    /// Builds tables of codes with these lengths of literals and distances.
    fn codes(literals: &[usize], distances: &[usize]) -> Result<Box<Codes>, Stop> {
        let mut codes = Box::new(Codes::new());
        let list = |lens: &[usize]| {
            let mut counts = Counts::default();
            let coded: Vec<_> = (0..lens.len())
                .filter(|symbol| lens[*symbol] > 0)
                .map(|symbol| CodedSymbol::new(symbol, lens[symbol] as u8))
                .collect();
            coded.iter().for_each(|symbol| counts[symbol.len()] += 1);
            (coded, counts)
        };
        let (coded, counts) = list(literals);
        codes.literals.build(&coded, &counts, 0, &LITERALS, &mut [0; SYMBOLS_MAX])?;
        let (coded, counts) = list(distances);
        codes.distances.build(&coded, &counts, 0, &DISTANCES, &mut [0; SYMBOLS_MAX])?;
        Ok(codes)
    }

    #[test]
    fn the_fixed_codes_are_those_of_their_lengths() {
        let lens = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
        let codes = codes(&lens, &[5; 32]).unwrap();
        assert_eq!((codes.literals.mask, codes.distances.mask), (511, 31));
        assert_eq!(codes.literals.entries[..512], FIXED.literals.entries[..512]);
        assert_eq!(codes.distances.entries[..32], FIXED.distances.entries[..32]);
        assert_eq!((FIXED.literals.mask, FIXED.distances.mask), (511, 31));
    }

    #[test]
    fn every_code_leads_to_its_symbol_through_further_tables_too() {
        for longest in 1..=15_usize {
            // One code of each length, two of the longest.
            let lens: Vec<usize> = (1..=longest).chain([longest]).collect();
            let codes = codes(&lens, &lens).unwrap();
            for (symbol, len) in lens.iter().enumerate() {
                // All ones, then a zero, except in the last.
                let code = if symbol == longest { (1 << len) - 1 } else { (1 << (len - 1)) - 1 };
                for above in [0_u64, !0] {
                    let bits = above << len | code;
                    let mut entry = codes.literals.at(codes.literals.mask(), bits);
                    let mut used = 0;
                    if entry.is_subtable() {
                        used = entry.len();
                        entry = codes.literals.further(entry, bits >> used);
                    }
                    assert_eq!((entry.is_literal(), entry.byte()), (true, symbol as u8));
                    assert_eq!((used + entry.len()) as usize, *len);
                    let entry = codes.distances.at(codes.distances.mask(), bits);
                    let entry = if entry.is_subtable() { codes.distances.further(entry, bits >> 8) } else { entry };
                    assert!(!entry.is_special() && entry.value(0) > symbol);
                }
            }
        }
    }

    #[test]
    fn codes_of_lengths_that_do_not_fit_are_refused() {
        let complete = [1, 1].as_slice();
        assert!(codes(complete, complete).is_ok());
        for invalid in [&[1, 1, 1][..], &[1, 2], &[2], &[2, 2, 2], &[1, 2, 3, 4, 15], &[15; 286]] {
            assert!(codes(invalid, complete).is_err(), "{invalid:?}");
            assert!(codes(complete, &invalid[..invalid.len().min(30)]).is_err(), "{invalid:?}");
        }
        // A single code of one bit, and none.
        for lens in [&[0, 0, 1][..], &[]] {
            let codes = codes(complete, lens).unwrap();
            let [first, second] = [0, 1].map(|bits| codes.distances.at(codes.distances.mask(), bits));
            assert_eq!(first.is_special(), lens.is_empty());
            assert!(second.is_special() && !second.is_end_of_block());
            assert_eq!((first.len(), second.len()), (1, 1));
        }
    }
}
