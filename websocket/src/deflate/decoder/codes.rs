//! The symbols of RFC 1951 section 3.2.5, and the fixed codes of section 3.2.6.

use super::table::{Alphabet, Entry, Table};

/// The most bits of a code.
pub(super) const CODE_LEN_MAX: usize = 15;

/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// The most bytes of a match.
pub(super) const MATCH_BYTES_MAX: usize = 258;

/// The symbols of the fixed code for literals, of which the last two are invalid.
const LITERAL_SYMBOLS: usize = 288;

/// The symbols of the fixed code for distances, of which the last two are invalid.
const DISTANCE_SYMBOLS: usize = 32;

/// The codes of a block.
#[derive(Debug)]
pub(super) struct Codes {
    /// For literals, lengths and the end of the block. Codes of 286 symbols need 1,332 entries at most.
    pub(super) literals: Table<2048, 10>,
    /// For distances. Codes of 30 symbols need 402 entries at most.
    pub(super) distances: Table<512, 8>,
}

/// Literals, lengths and the end of a block.
pub(super) static LITERALS: Alphabet<LITERAL_SYMBOLS> =
    Alphabet { entries: literals(), unused: Entry::INVALID, allows_lone: true };

/// Distances.
pub(super) static DISTANCES: Alphabet<DISTANCE_SYMBOLS> =
    Alphabet { entries: distances(), unused: Entry::INVALID, allows_lone: true };

/// The fixed codes.
pub(super) static FIXED: Codes = fixed();

impl Codes {
    pub(super) const fn new() -> Self {
        Self { literals: Table::new(), distances: Table::new() }
    }
}

const fn literals() -> [Entry; LITERAL_SYMBOLS] {
    let mut entries = [Entry::INVALID; LITERAL_SYMBOLS];
    let mut byte = 0;
    while byte < END_OF_BLOCK {
        entries[byte] = Entry::literal(byte as u8);
        byte += 1;
    }
    entries[END_OF_BLOCK] = Entry::END_OF_BLOCK;
    let (mut number, mut base) = (0, 3);
    while number < 28 {
        let extra_len = if number < 8 { 0 } else { number / 4 - 1 };
        entries[END_OF_BLOCK + 1 + number as usize] = Entry::base(base, extra_len);
        base += 1 << extra_len;
        number += 1;
    }
    // The longest match has a symbol to itself.
    entries[END_OF_BLOCK + 1 + number as usize] = Entry::base(MATCH_BYTES_MAX as u32, 0);
    entries
}

const fn distances() -> [Entry; DISTANCE_SYMBOLS] {
    let mut entries = [Entry::INVALID; DISTANCE_SYMBOLS];
    let (mut number, mut base) = (0, 1);
    while number < 30 {
        let extra_len = if number < 4 { 0 } else { number / 2 - 1 };
        entries[number as usize] = Entry::base(base, extra_len);
        base += 1 << extra_len;
        number += 1;
    }
    entries
}

const fn fixed() -> Codes {
    let (literals, distances) = (literals(), distances());
    let mut codes = Codes::new();
    let mut symbol = 0;
    while symbol < LITERAL_SYMBOLS {
        let (code, len) = match symbol {
            0..144 => (0x30 + symbol, 8),
            144..256 => (0x190 + symbol - 144, 9),
            256..280 => (symbol - 256, 7),
            _ => (0xC0 + symbol - 280, 8),
        };
        codes.literals.insert(code as u32, len, literals[symbol], 9);
        symbol += 1;
    }
    symbol = 0;
    while symbol < DISTANCE_SYMBOLS {
        codes.distances.insert(symbol as u32, 5, distances[symbol], 5);
        symbol += 1;
    }
    codes
}
