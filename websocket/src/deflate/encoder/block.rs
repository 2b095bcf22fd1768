//! The symbols of a block, and the cheapest way to write them (RFC 1951 section 3.2.3).

use super::bits::BitWriter;
use super::codes::{
    Code, DISTANCE_EXTRA_LENS, DISTANCE_SYMBOLS, FIXED_DISTANCES, FIXED_LITERALS, LITERAL_EXTRA_LENS, LITERAL_SYMBOLS,
    NO_DISTANCE, distance_symbol, fixed_bits, length_symbol,
};
use super::header::Header;
use crate::deflate::format::END_OF_BLOCK;

/// Maximum symbols of a block: with more, their frequencies follow changes of the payload less well.
const SYMBOLS_MAX: usize = 16 << 10;

/// The symbols by which a parser can go beyond the maximum: literals before a match, each of which makes it longer.
const SYMBOLS_BEYOND: usize = 260;

/// The most bytes of a stored block (RFC 1951 section 3.2.4).
const STORED_BYTES_MAX: usize = 0xFFFF;

/// The header of a block with the fixed codes that is not the last.
pub(super) const FIXED_BLOCK: (u64, u32) = (0b010, 3);

/// A literal, or the length and distance of a match: from the lowest bit on the symbol in 9 bits, that of the distance
/// in 5, the extra bits of the length in 5 and those of the distance in 13. A literal has [`NO_DISTANCE`], so both are
/// written in the same way.
#[derive(Debug, Clone, Copy)]
struct Item(u32);

impl Item {
    #[inline(always)]
    const fn literal(byte: u8) -> Self {
        Self(byte as u32 | (NO_DISTANCE as u32) << 9)
    }

    #[inline(always)]
    fn of_match(length: u16, distance: u16, length_extra: u16, distance_extra: u16) -> Self {
        Self(
            u32::from(length)
                | u32::from(distance) << 9
                | u32::from(length_extra) << 14
                | u32::from(distance_extra) << 19,
        )
    }

    /// Returns all codes and extra bits, and their number, up to 48.
    #[inline(always)]
    fn bits(self, literals: &[Code; LITERAL_SYMBOLS], distances: &[Code; DISTANCE_SYMBOLS]) -> (u64, u32) {
        let (bits, len) = literals[(self.0 & 0x1FF) as usize].with_extra(self.0 >> 14 & 0x1F);
        let (distance_bits, distance_len) = distances[(self.0 >> 9 & 0x1F) as usize].with_extra(self.0 >> 19);
        (bits | distance_bits << len, len + distance_len)
    }
}

/// The literals and matches of a block.
#[derive(Debug)]
pub(super) struct Symbols {
    /// The first `count` are in use.
    list: Box<[Item]>,
    count: usize,
    /// How often each symbol is in the list.
    literals: [u16; LITERAL_SYMBOLS],
    distances: [u16; DISTANCE_SYMBOLS],
    /// The extra bits of all matches.
    extra_bits: u32,
}

impl Symbols {
    pub(super) fn new() -> Self {
        let list = vec![Item(0); SYMBOLS_MAX + SYMBOLS_BEYOND].into();
        Self { list, count: 0, literals: [0; LITERAL_SYMBOLS], distances: [0; DISTANCE_SYMBOLS], extra_bits: 0 }
    }

    #[inline(always)]
    pub(super) fn add_literal(&mut self, byte: u8) {
        self.add(Item::literal(byte));
        self.literals[usize::from(byte)] += 1;
    }

    #[inline(always)]
    pub(super) fn add_match(&mut self, bytes: usize, distance: usize) {
        let (length, distance) = (length_symbol(bytes), distance_symbol(distance));
        self.add(Item::of_match(length.number, distance.number, length.extra, distance.extra));
        self.literals[usize::from(length.number)] += 1;
        self.distances[usize::from(distance.number)] += 1;
        self.extra_bits += u32::from(length.extra_len + distance.extra_len);
    }

    #[inline(always)]
    fn add(&mut self, item: Item) {
        self.list[self.count] = item;
        self.count += 1;
    }

    /// Returns how many more symbols the block takes.
    #[inline(always)]
    pub(super) fn room(&self) -> usize {
        SYMBOLS_MAX.saturating_sub(self.count)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.literals.fill(0);
        self.distances.fill(0);
        self.extra_bits = 0;
    }

    /// Writes the block, stored if that is shortest and its payload is known, and begins another.
    pub(super) fn write(&mut self, payload: Option<&[u8]>, writer: &mut BitWriter<'_>) {
        self.literals[END_OF_BLOCK] = 1;
        let header = Header::new(&self.literals, &self.distances);
        let dynamic_bits = header.bits + header.literals.bits + header.distances.bits;
        let fixed_bits = FIXED_BLOCK.1 + fixed_bits(&self.literals, &self.distances);
        let coded_bits = dynamic_bits.min(fixed_bits) + self.extra_bits;
        // A stored block has a header of three bits, up to seven that fill a byte, and four bytes.
        match payload.filter(|bytes| bytes.len() <= STORED_BYTES_MAX && bytes.len() as u32 * 8 + 39 < coded_bits) {
            Some(payload) => writer.put_stored_block(payload),
            None if fixed_bits <= dynamic_bits => {
                writer.put(FIXED_BLOCK.0, FIXED_BLOCK.1);
                self.write_items(&FIXED_LITERALS, &FIXED_DISTANCES, writer);
            }
            None => {
                header.write(writer);
                let literals = header.literals.codes(&LITERAL_EXTRA_LENS);
                self.write_items(&literals, &header.distances.codes(&DISTANCE_EXTRA_LENS), writer);
            }
        }
        self.clear();
    }

    fn write_items(
        &self,
        literals: &[Code; LITERAL_SYMBOLS],
        distances: &[Code; DISTANCE_SYMBOLS],
        writer: &mut BitWriter<'_>,
    ) {
        writer.put_all(self.list[..self.count].iter().map(|item| item.bits(literals, distances)));
        let (bits, len) = literals[END_OF_BLOCK].with_extra(0);
        writer.put(bits, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_holds_any_literal_and_match() {
        let fixed = |item: Item| item.bits(&FIXED_LITERALS, &FIXED_DISTANCES);
        for byte in 0..=255 {
            let code = FIXED_LITERALS[usize::from(byte)];
            assert_eq!(fixed(Item::literal(byte)), (code.bits.into(), code.len.into()));
        }
        let mut symbols = Symbols::new();
        for bytes in 3..=258 {
            for distance in [1, 2, 4, 5, 6, 1000, 16_384, 16_385, 32_767, 32_768] {
                symbols.add_match(bytes, distance);
                let expected = super::super::codes::fixed_match(bytes, distance);
                assert_eq!(fixed(symbols.list[symbols.count - 1]), expected, "{bytes} bytes, {distance} back");
            }
        }
    }
}
