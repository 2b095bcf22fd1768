//! Constants of RFC 1951 that the encoder and the decoder share.

/// The longest match that has a code.
pub(super) const MATCH_BYTES_MAX: usize = 258;

/// The most bits of a code.
pub(super) const CODE_LEN_MAX: usize = 15;

/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// The number of symbols for lengths, without the one for the longest match alone.
pub(super) const LENGTH_SYMBOLS: usize = 28;

/// The number of symbols for the lengths of codes and their repetitions.
pub(super) const RUN_SYMBOLS: usize = 19;

/// The order in which the lengths of the codes for lengths are sent (section 3.2.7).
pub(super) const LENS_ORDER: [usize; RUN_SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Returns the number of extra bits of a length, by the number of its symbol after [`END_OF_BLOCK`] (section 3.2.5).
pub(super) const fn length_extra_len(number: usize) -> u8 {
    if number < 8 || number >= LENGTH_SYMBOLS { 0 } else { number as u8 / 4 - 1 }
}

/// Returns the number of extra bits of a distance, by its symbol (section 3.2.5).
pub(super) const fn distance_extra_len(symbol: usize) -> u8 {
    if symbol < 4 { 0 } else { symbol as u8 / 2 - 1 }
}
