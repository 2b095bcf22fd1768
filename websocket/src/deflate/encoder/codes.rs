//! The alphabets of RFC 1951 section 3.2.5, and the fixed codes of section 3.2.6.

use crate::deflate::format::{END_OF_BLOCK, LENGTH_SYMBOLS, distance_extra_len, length_extra_len};

/// The shortest match that has a code. The encoder looks for [`MATCH_BYTES_MIN`] or more.
const LENGTH_MIN: usize = 3;

/// The shortest match that is looked for. Those of three bytes save next to nothing.
pub(super) const MATCH_BYTES_MIN: usize = 4;

/// The number of symbols for literals, the end of a block, and lengths.
pub(super) const LITERAL_SYMBOLS: usize = 286;

/// The number of symbols for distances. No distance has the last two.
pub(super) const DISTANCE_SYMBOLS: usize = 32;

/// The symbol for a distance that takes no bits: that of a literal.
pub(super) const NO_DISTANCE: usize = 30;

/// How many extra bits each symbol of literals and lengths has.
pub(super) static LITERAL_EXTRA_LENS: [u8; LITERAL_SYMBOLS] = literal_extra_lens();

/// How many extra bits each symbol of distances has.
pub(super) static DISTANCE_EXTRA_LENS: [u8; DISTANCE_SYMBOLS] = distance_extra_lens();

/// A code, and how many extra bits follow it. The first bit to be sent is the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bits: u16,
    /// 0 for a symbol that has no code.
    pub(super) len: u8,
    pub(super) extra_len: u8,
}

impl Code {
    /// Returns the code whose first bit is the highest of `len`.
    #[inline(always)]
    pub(super) const fn new(bits: u16, len: u8, extra_len: u8) -> Self {
        Self { bits: bits.reverse_bits() >> (16 - len), len, extra_len }
    }

    /// Returns the bits with the extra bits, and the number of both.
    #[inline(always)]
    pub(super) fn with_extra(self, extra: u32) -> (u64, u32) {
        (u64::from(self.bits) | u64::from(extra) << self.len, u32::from(self.len) + u32::from(self.extra_len))
    }
}

/// A symbol and the bits that follow its code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub(super) number: u16,
    pub(super) extra: u16,
    pub(super) extra_len: u8,
}

const LENGTHS: [Symbol; 256] = lengths();
static LENGTHS_TABLE: [Symbol; 256] = LENGTHS;

/// The fixed codes of literals, the end of a block and lengths.
pub(super) static FIXED_LITERALS: [Code; LITERAL_SYMBOLS] = FIXED;
const FIXED: [Code; LITERAL_SYMBOLS] = fixed_literals();

/// The fixed codes of distances.
pub(super) static FIXED_DISTANCES: [Code; DISTANCE_SYMBOLS] = fixed_distances();

/// The fixed code of each length joined with its extra bits.
static FIXED_LENGTHS: [Code; 256] = fixed_lengths();

/// The length of each fixed code for a distance.
const FIXED_DISTANCE_LEN: u8 = 5;

/// Returns the symbol of a match's length.
#[inline(always)]
pub(super) fn length_symbol(match_bytes: usize) -> Symbol {
    LENGTHS_TABLE[(match_bytes - LENGTH_MIN) & 0xFF]
}

/// Returns the symbol of a match's distance.
#[inline(always)]
pub(super) fn distance_symbol(distance: usize) -> Symbol {
    let before = distance as u32 - 1;
    if before < 4 {
        return Symbol { number: before as u16, extra: 0, extra_len: 0 };
    }
    let len = 30 - before.leading_zeros();
    let number = 2 * len + (before >> len);
    Symbol { number: number as u16, extra: (before & ((1 << len) - 1)) as u16, extra_len: len as u8 }
}

/// Returns the fixed codes of a match with all extra bits, and their number, up to 31.
#[inline(always)]
pub(super) fn fixed_match(match_bytes: usize, distance: usize) -> (u64, u32) {
    let length = FIXED_LENGTHS[(match_bytes - LENGTH_MIN) & 0xFF];
    let Symbol { number, extra, .. } = distance_symbol(distance);
    let (bits, len) = FIXED_DISTANCES[usize::from(number) % DISTANCE_SYMBOLS].with_extra(extra.into());
    (u64::from(length.bits) | bits << length.len, u32::from(length.len) + len)
}

/// Returns the bits of all literals, lengths and distances with the fixed codes, without extra bits.
pub(super) fn fixed_bits(literals: &[u16; LITERAL_SYMBOLS], distances: &[u16; DISTANCE_SYMBOLS]) -> u32 {
    let sum = |frequencies: &[u16]| frequencies.iter().map(|frequency| u32::from(*frequency)).sum::<u32>();
    sum(&literals[..144]) * 8
        + sum(&literals[144..256]) * 9
        + sum(&literals[256..280]) * 7
        + sum(&literals[280..]) * 8
        + sum(distances) * u32::from(FIXED_DISTANCE_LEN)
}

const fn literal_extra_lens() -> [u8; LITERAL_SYMBOLS] {
    let mut lens = [0; LITERAL_SYMBOLS];
    let mut number = 0;
    while number < LENGTH_SYMBOLS {
        lens[END_OF_BLOCK + 1 + number] = length_extra_len(number);
        number += 1;
    }
    lens
}

const fn distance_extra_lens() -> [u8; DISTANCE_SYMBOLS] {
    let mut lens = [0; DISTANCE_SYMBOLS];
    let mut number = 0;
    while number < NO_DISTANCE {
        lens[number] = distance_extra_len(number);
        number += 1;
    }
    lens
}

const fn lengths() -> [Symbol; 256] {
    // The longest match has the last symbol to itself.
    let mut symbols = [Symbol { number: 285, extra: 0, extra_len: 0 }; 256];
    let lens = literal_extra_lens();
    let (mut number, mut length) = (END_OF_BLOCK + 1, 0);
    while number < LITERAL_SYMBOLS - 1 {
        let mut extra = 0;
        while extra < 1 << lens[number] && length < 255 {
            symbols[length] = Symbol { number: number as u16, extra, extra_len: lens[number] };
            (extra, length) = (extra + 1, length + 1);
        }
        number += 1;
    }
    symbols
}

const fn fixed_literals() -> [Code; LITERAL_SYMBOLS] {
    let mut codes = [Code { bits: 0, len: 0, extra_len: 0 }; LITERAL_SYMBOLS];
    let extra_lens = literal_extra_lens();
    let mut symbol = 0;
    while symbol < LITERAL_SYMBOLS {
        let (first, bits, len) = match symbol {
            0..144 => (0, 0b0011_0000, 8),
            144..256 => (144, 0b1_1001_0000, 9),
            256..280 => (256, 0, 7),
            _ => (280, 0b1100_0000, 8),
        };
        codes[symbol] = Code::new(bits + (symbol - first) as u16, len, extra_lens[symbol]);
        symbol += 1;
    }
    codes
}

const fn fixed_distances() -> [Code; DISTANCE_SYMBOLS] {
    let mut codes = [Code { bits: 0, len: 0, extra_len: 0 }; DISTANCE_SYMBOLS];
    let extra_lens = distance_extra_lens();
    let mut symbol = 0;
    while symbol < NO_DISTANCE {
        codes[symbol] = Code::new(symbol as u16, FIXED_DISTANCE_LEN, extra_lens[symbol]);
        symbol += 1;
    }
    codes
}

const fn fixed_lengths() -> [Code; 256] {
    let mut codes = [Code { bits: 0, len: 0, extra_len: 0 }; 256];
    let mut length = 0;
    while length < 256 {
        let Symbol { number, extra, extra_len } = LENGTHS[length];
        let Code { bits, len, .. } = FIXED[number as usize];
        codes[length] = Code { bits: bits | extra << len, len: len + extra_len, extra_len: 0 };
        length += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_those_of_the_tables_in_the_rfc() {
        let length = |bytes| {
            let Symbol { number, extra, extra_len } = length_symbol(bytes);
            assert_eq!(extra_len, LITERAL_EXTRA_LENS[usize::from(number)]);
            (number, extra_len, extra)
        };
        assert_eq!(length(3), (257, 0, 0));
        assert_eq!(length(10), (264, 0, 0));
        assert_eq!(length(12), (265, 1, 1));
        assert_eq!(length(115), (280, 4, 0));
        assert_eq!(length(131), (281, 5, 0));
        assert_eq!(length(257), (284, 5, 30));
        assert_eq!(length(258), (285, 0, 0));
        let distance = |distance| {
            let Symbol { number, extra, extra_len } = distance_symbol(distance);
            assert_eq!(extra_len, DISTANCE_EXTRA_LENS[usize::from(number)]);
            (number, extra_len, extra)
        };
        assert_eq!(distance(1), (0, 0, 0));
        assert_eq!(distance(4), (3, 0, 0));
        assert_eq!(distance(5), (4, 1, 0));
        assert_eq!(distance(8), (5, 1, 1));
        assert_eq!(distance(9), (6, 2, 0));
        assert_eq!(distance(24_576), (28, 13, 8191));
        assert_eq!(distance(32_768), (29, 13, 8191));
    }

    #[test]
    fn fixed_codes_are_those_of_the_rfc() {
        let sent = |symbol: usize| {
            let code = FIXED_LITERALS[symbol];
            (code.bits.reverse_bits() >> (16 - code.len), code.len)
        };
        assert_eq!(sent(0), (0b0011_0000, 8));
        assert_eq!(sent(143), (0b1011_1111, 8));
        assert_eq!(sent(144), (0b1_1001_0000, 9));
        assert_eq!(sent(256), (0, 7));
        assert_eq!(sent(280), (0b1100_0000, 8));
        // Length 11 is symbol 265 with one extra bit, distance 6 symbol 4 with one: from the top 1, 00100, 0, 1001000.
        assert_eq!(fixed_match(11, 6), (0b10_0100_0100_1000, 14));
        assert_eq!(FIXED_DISTANCES[NO_DISTANCE], Code::default());
    }
}
