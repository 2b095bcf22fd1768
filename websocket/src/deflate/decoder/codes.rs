//! The symbols of RFC 1951 section 3.2.5, and the fixed codes of section 3.2.6.

use super::table::{Alphabet, Entry, Table};
use crate::deflate::format::{END_OF_BLOCK, LENGTH_SYMBOLS, MATCH_BYTES_MAX, distance_extra_len, length_extra_len};

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
    while number < LENGTH_SYMBOLS {
        let extra_len = length_extra_len(number) as u32;
        entries[END_OF_BLOCK + 1 + number] = Entry::base(base, extra_len);
        base += 1 << extra_len;
        number += 1;
    }
    // The longest match has a symbol to itself.
    entries[END_OF_BLOCK + 1 + number] = Entry::base(MATCH_BYTES_MAX as u32, 0);
    entries
}

const fn distances() -> [Entry; DISTANCE_SYMBOLS] {
    let mut entries = [Entry::INVALID; DISTANCE_SYMBOLS];
    let (mut number, mut base) = (0, 1);
    while number < 30 {
        let extra_len = distance_extra_len(number) as u32;
        entries[number] = Entry::base(base, extra_len);
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
