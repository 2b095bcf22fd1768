//! The alphabets of RFC 1951 section 3.2.5, and the fixed codes of section 3.2.6.

/// The shortest and the longest match that has a code. The encoder looks for [`MATCH_BYTES_MIN`] or more.
const LENGTH_MIN: usize = 3;
pub(super) const MATCH_BYTES_MAX: usize = 258;

/// The shortest match that is looked for. Those of three bytes save next to nothing.
pub(super) const MATCH_BYTES_MIN: usize = 4;

/// The most bits of a code.
pub(super) const CODE_LEN_MAX: usize = 15;

/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// The number of symbols for literals, the end of a block, and lengths.
pub(super) const LITERAL_SYMBOLS: usize = 286;

/// The number of symbols for distances.
pub(super) const DISTANCE_SYMBOLS: usize = 30;

/// The extra bits of the symbols for lengths, but the last.
const LENGTH_EXTRA_BITS: [u8; 28] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5];

/// Bits as they are sent: the first is the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) bits: u32,
    pub(super) len: u32,
}

/// A symbol and the bits that follow its code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub(super) number: usize,
    pub(super) extra: Code,
}

const LENGTHS: [Symbol; 256] = lengths();
static LENGTH_SYMBOLS: [Symbol; 256] = LENGTHS;

/// The fixed code of each literal, and of the end of a block.
pub(super) static FIXED_LITERALS: [Code; LITERAL_SYMBOLS] = FIXED;
const FIXED: [Code; LITERAL_SYMBOLS] = fixed_literals();

/// The fixed code of each length with its extra bits.
static FIXED_LENGTHS: [Code; 256] = fixed_lengths();

/// The length of each fixed code for a distance.
const FIXED_DISTANCE_LEN: u32 = 5;

/// Returns the symbol of a match's length.
#[inline]
pub(super) fn length_symbol(match_bytes: usize) -> Symbol {
    LENGTH_SYMBOLS[(match_bytes - LENGTH_MIN) & 0xFF]
}

/// Returns the symbol of a match's distance.
#[inline]
pub(super) fn distance_symbol(distance: usize) -> Symbol {
    let before = distance as u32 - 1;
    if before < 4 {
        return Symbol { number: before as usize, extra: Code { bits: 0, len: 0 } };
    }
    let len = 30 - before.leading_zeros();
    let number = (2 * len + (before >> len)) as usize;
    Symbol { number, extra: Code { bits: before & ((1 << len) - 1), len } }
}

/// Returns the fixed codes of a match, with all extra bits: up to 31 bits.
#[inline]
pub(super) fn fixed_match(match_bytes: usize, distance: usize) -> Code {
    let length = FIXED_LENGTHS[(match_bytes - LENGTH_MIN) & 0xFF];
    let Symbol { number, extra } = distance_symbol(distance);
    let distance = (number as u32).reverse_bits() >> (32 - FIXED_DISTANCE_LEN) | extra.bits << FIXED_DISTANCE_LEN;
    Code { bits: length.bits | distance << length.len, len: length.len + FIXED_DISTANCE_LEN + extra.len }
}

/// Returns the codes of the given lengths (RFC 1951 section 3.2.2). `counts` is how many of them have each length.
/// Symbols of length 0 have no code.
pub(super) const fn codes_of_lengths<const SYMBOLS: usize>(
    lens: &[u8; SYMBOLS],
    counts: &[u32; CODE_LEN_MAX + 1],
) -> [Code; SYMBOLS] {
    let mut next = [0_u32; CODE_LEN_MAX + 1];
    let mut len = 2;
    while len <= CODE_LEN_MAX {
        next[len] = (next[len - 1] + counts[len - 1]) << 1;
        len += 1;
    }
    let mut codes = [Code { bits: 0, len: 0 }; SYMBOLS];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        let len = lens[symbol] as u32;
        if len > 0 {
            codes[symbol] = Code { bits: next[len as usize].reverse_bits() >> (32 - len), len };
            next[len as usize] += 1;
        }
        symbol += 1;
    }
    codes
}

/// Returns the bits of all literals, lengths and distances with the fixed codes, without extra bits.
pub(super) fn fixed_bits(literals: &[u32; LITERAL_SYMBOLS], distances: &[u32; DISTANCE_SYMBOLS]) -> u32 {
    let sum = |frequencies: &[u32]| frequencies.iter().sum::<u32>();
    sum(&literals[..144]) * 8
        + sum(&literals[144..256]) * 9
        + sum(&literals[256..280]) * 7
        + sum(&literals[280..]) * 8
        + sum(distances) * FIXED_DISTANCE_LEN
}

const fn lengths() -> [Symbol; 256] {
    let mut symbols = [Symbol { number: 285, extra: Code { bits: 0, len: 0 } }; 256];
    let (mut number, mut length) = (0, 0);
    while number < LENGTH_EXTRA_BITS.len() {
        let len = LENGTH_EXTRA_BITS[number] as u32;
        let mut bits = 0;
        // The longest match has a symbol to itself.
        while bits < 1 << len && length < 255 {
            symbols[length] = Symbol { number: END_OF_BLOCK + 1 + number, extra: Code { bits, len } };
            (bits, length) = (bits + 1, length + 1);
        }
        number += 1;
    }
    symbols
}

const fn fixed_literals() -> [Code; LITERAL_SYMBOLS] {
    // There are two more codes, without a meaning.
    let mut lens = [8; 288];
    let mut symbol = 144;
    while symbol < 280 {
        lens[symbol] = if symbol < 256 { 9 } else { 7 };
        symbol += 1;
    }
    let mut counts = [0; CODE_LEN_MAX + 1];
    (counts[7], counts[8], counts[9]) = (24, 152, 112);
    let codes = codes_of_lengths(&lens, &counts);
    let mut literals = [Code { bits: 0, len: 0 }; LITERAL_SYMBOLS];
    symbol = 0;
    while symbol < LITERAL_SYMBOLS {
        literals[symbol] = codes[symbol];
        symbol += 1;
    }
    literals
}

const fn fixed_lengths() -> [Code; 256] {
    let mut codes = [Code { bits: 0, len: 0 }; 256];
    let mut length = 0;
    while length < 256 {
        let Symbol { number, extra } = LENGTHS[length];
        let code = FIXED[number];
        codes[length] = Code { bits: code.bits | extra.bits << code.len, len: code.len + extra.len };
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
            let Symbol { number, extra } = length_symbol(bytes);
            (number, extra.len, extra.bits)
        };
        assert_eq!(length(3), (257, 0, 0));
        assert_eq!(length(10), (264, 0, 0));
        assert_eq!(length(12), (265, 1, 1));
        assert_eq!(length(115), (280, 4, 0));
        assert_eq!(length(131), (281, 5, 0));
        assert_eq!(length(257), (284, 5, 30));
        assert_eq!(length(258), (285, 0, 0));
        let distance = |distance| {
            let Symbol { number, extra } = distance_symbol(distance);
            (number, extra.len, extra.bits)
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
            (code.bits.reverse_bits() >> (32 - code.len), code.len)
        };
        assert_eq!(sent(0), (0b0011_0000, 8));
        assert_eq!(sent(143), (0b1011_1111, 8));
        assert_eq!(sent(144), (0b1_1001_0000, 9));
        assert_eq!(sent(256), (0, 7));
        assert_eq!(sent(280), (0b1100_0000, 8));
        // Length 11 is symbol 265 with one extra bit, distance 6 symbol 4 with one: from the top 1, 00100, 0, 1001000.
        let code = fixed_match(11, 6);
        assert_eq!((code.bits, code.len), (0b10_0100_0100_1000, 14));
    }
}
