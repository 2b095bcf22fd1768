//! The symbols of a block, and the cheapest way to write them (RFC 1951 section 3.2.3).

use super::bits::BitWriter;
use super::codes::{
    Code, DISTANCE_SYMBOLS, END_OF_BLOCK, FIXED_DISTANCE_LEN, FIXED_LITERALS, LITERAL_SYMBOLS, codes_of_lengths,
    distance_symbol, fixed_match, length_symbol,
};
use super::huffman::code_lengths;

/// Maximum symbols of a block: with more, their frequencies follow changes of the payload less well.
const SYMBOLS_MAX: usize = 16 << 10;

/// The symbols by which a parser can go beyond the maximum: literals before a match, each of which makes it longer.
const SYMBOLS_BEYOND: usize = 260;

/// The most bytes of a stored block (RFC 1951 section 3.2.4).
const STORED_BYTES_MAX: usize = 0xFFFF;

/// The longest code of a literal or distance, and of the length of one.
const CODE_LEN_MAX: usize = 15;
const LENGTH_CODE_LEN_MAX: usize = 7;

/// The header of a block that is not the last, with its type.
pub(super) const FIXED_BLOCK: Code = Code { bits: 0b010, len: 3 };
const DYNAMIC_BLOCK: Code = Code { bits: 0b100, len: 3 };

/// The order in which the lengths of the codes for lengths are sent.
const LENGTHS_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The literals and matches of a block.
#[derive(Debug)]
pub(super) struct Symbols {
    /// A match has its distance in the lower half and its length above it, a literal no distance.
    list: Vec<u32>,
    literals: [u32; LITERAL_SYMBOLS],
    distances: [u32; DISTANCE_SYMBOLS],
    /// The extra bits of all matches.
    extra_bits: u32,
}

impl Symbols {
    pub(super) fn new() -> Self {
        let list = Vec::with_capacity(SYMBOLS_MAX + SYMBOLS_BEYOND);
        Self { list, literals: [0; LITERAL_SYMBOLS], distances: [0; DISTANCE_SYMBOLS], extra_bits: 0 }
    }

    #[inline(always)]
    pub(super) fn add_literal(&mut self, byte: u8) {
        self.list.push(u32::from(byte) << 16);
        self.literals[usize::from(byte)] += 1;
    }

    #[inline(always)]
    pub(super) fn add_match(&mut self, bytes: usize, distance: usize) {
        self.list.push((bytes << 16 | distance) as u32);
        let (length, distance) = (length_symbol(bytes), distance_symbol(distance));
        self.literals[length.number] += 1;
        self.distances[distance.number] += 1;
        self.extra_bits += length.extra.len + distance.extra.len;
    }

    /// Returns how many more symbols the block takes.
    #[inline(always)]
    pub(super) fn room(&self) -> usize {
        SYMBOLS_MAX.saturating_sub(self.list.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.literals.fill(0);
        self.distances.fill(0);
        self.extra_bits = 0;
    }

    /// Writes the block, stored if that is shortest and its payload is known, and begins another.
    pub(super) fn write(&mut self, payload: Option<&[u8]>, writer: &mut BitWriter<'_>) {
        self.literals[END_OF_BLOCK] = 1;
        let header = Header::new(&self.literals, &self.distances);
        let dynamic_bits = header.bits + self.dynamic_bits(&header);
        let fixed_bits = self.fixed_bits();
        let coded_bits = dynamic_bits.min(fixed_bits) + self.extra_bits;
        // A stored block has a header of three bits, up to seven that fill a byte, and four bytes.
        match payload.filter(|bytes| bytes.len() <= STORED_BYTES_MAX && bytes.len() as u32 * 8 + 39 < coded_bits) {
            Some(payload) => writer.put_stored_block(payload),
            None if fixed_bits <= dynamic_bits => self.write_fixed(writer),
            None => self.write_dynamic(&header, writer),
        }
        self.clear();
    }

    fn dynamic_bits(&self, header: &Header) -> u32 {
        let bits = |frequencies: &[u32], lens: &[u8]| -> u32 {
            frequencies.iter().zip(lens).map(|(frequency, len)| frequency * u32::from(*len)).sum()
        };
        bits(&self.literals, &header.literal_lens) + bits(&self.distances, &header.distance_lens)
    }

    fn fixed_bits(&self) -> u32 {
        let literals: u32 =
            self.literals.iter().zip(&FIXED_LITERALS).map(|(frequency, code)| frequency * code.len).sum();
        literals + self.distances.iter().sum::<u32>() * FIXED_DISTANCE_LEN
    }

    fn write_fixed(&self, writer: &mut BitWriter<'_>) {
        writer.put(FIXED_BLOCK);
        for symbol in &self.list {
            match parts(*symbol) {
                (byte, 0) => writer.put(FIXED_LITERALS[byte & 0xFF]),
                (bytes, distance) => writer.put(fixed_match(bytes, distance)),
            }
        }
        writer.put(FIXED_LITERALS[END_OF_BLOCK]);
    }

    fn write_dynamic(&self, header: &Header, writer: &mut BitWriter<'_>) {
        header.write(writer);
        let literals = codes_of_lengths(&header.literal_lens);
        let distances = codes_of_lengths(&header.distance_lens);
        for symbol in &self.list {
            let (bytes, distance) = parts(*symbol);
            if distance == 0 {
                writer.put(literals[bytes & 0xFF]);
                continue;
            }
            let (length, distance) = (length_symbol(bytes), distance_symbol(distance));
            writer.put(join(literals[length.number], length.extra));
            writer.put(join(distances[distance.number], distance.extra));
        }
        writer.put(literals[END_OF_BLOCK]);
    }
}

/// Returns the length of a match and its distance, or a literal and 0.
#[inline(always)]
fn parts(symbol: u32) -> (usize, usize) {
    ((symbol >> 16) as usize, (symbol & 0xFFFF) as usize)
}

#[inline(always)]
fn join(code: Code, extra: Code) -> Code {
    Code { bits: code.bits | extra.bits << code.len, len: code.len + extra.len }
}

/// The codes of a dynamic block, as it sends them (RFC 1951 section 3.2.7).
#[derive(Debug)]
struct Header {
    literal_lens: [u8; LITERAL_SYMBOLS],
    distance_lens: [u8; DISTANCE_SYMBOLS],
    literal_count: usize,
    distance_count: usize,
    runs: [Run; LITERAL_SYMBOLS + DISTANCE_SYMBOLS],
    run_count: usize,
    run_lens: [u8; 19],
    run_lens_count: usize,
    bits: u32,
}

/// A length, or the repetition of one or of zeros.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    symbol: u8,
    /// What follows the symbol.
    extra: u8,
}

impl Run {
    /// Returns the number of bits that follow the symbol.
    const fn extra_len(symbol: usize) -> u32 {
        match symbol {
            16 => 2,
            17 => 3,
            18 => 7,
            _ => 0,
        }
    }
}

impl Header {
    fn new(literals: &[u32; LITERAL_SYMBOLS], distances: &[u32; DISTANCE_SYMBOLS]) -> Self {
        let literal_lens = code_lengths(literals, CODE_LEN_MAX);
        let distance_lens = code_lengths(distances, CODE_LEN_MAX);
        let used = |lens: &[u8]| lens.iter().rposition(|len| *len > 0).map_or(0, |last| last + 1);
        let (literal_count, distance_count) = (used(&literal_lens), used(&distance_lens));
        let mut header = Self {
            literal_lens,
            distance_lens,
            literal_count,
            distance_count,
            runs: [Run::default(); LITERAL_SYMBOLS + DISTANCE_SYMBOLS],
            run_count: 0,
            run_lens: [0; 19],
            run_lens_count: 0,
            bits: 0,
        };
        header.find_runs();
        header
    }

    /// Finds the runs of equal lengths, and the codes to send them with.
    fn find_runs(&mut self) {
        let mut lens = [0; LITERAL_SYMBOLS + DISTANCE_SYMBOLS];
        let count = self.literal_count + self.distance_count;
        lens[..self.literal_count].copy_from_slice(&self.literal_lens[..self.literal_count]);
        lens[self.literal_count..count].copy_from_slice(&self.distance_lens[..self.distance_count]);
        let mut rest = &lens[..count];
        let mut frequencies = [0_u32; 19];
        let mut is_repeated = None;
        while let [len, ..] = *rest {
            let equal = rest.iter().take_while(|other| **other == len).count();
            let (symbol, taken) = match (len, equal) {
                (0, 11..) => (18, equal.min(138)),
                (0, 3..) => (17, equal),
                (1.., 3..) if is_repeated == Some(len) => (16, equal.min(6)),
                _ => (len, 1),
            };
            let extra = match symbol {
                16 | 17 => taken - 3,
                18 => taken - 11,
                _ => 0,
            };
            is_repeated = Some(len);
            self.runs[self.run_count] = Run { symbol, extra: extra as u8 };
            self.run_count += 1;
            frequencies[usize::from(symbol)] += 1;
            rest = &rest[taken..];
        }
        self.run_lens = code_lengths(&frequencies, LENGTH_CODE_LEN_MAX);
        let last = LENGTHS_ORDER.iter().rposition(|symbol| self.run_lens[*symbol] > 0);
        self.run_lens_count = last.map_or(4, |last| (last + 1).max(4));
        let runs: u32 = (0..19)
            .map(|symbol| frequencies[symbol] * (u32::from(self.run_lens[symbol]) + Run::extra_len(symbol)))
            .sum();
        self.bits = 3 + 5 + 5 + 4 + 3 * self.run_lens_count as u32 + runs - FIXED_BLOCK.len;
    }

    fn write(&self, writer: &mut BitWriter<'_>) {
        writer.put(DYNAMIC_BLOCK);
        writer.put(Code { bits: self.literal_count as u32 - 257, len: 5 });
        writer.put(Code { bits: self.distance_count as u32 - 1, len: 5 });
        writer.put(Code { bits: self.run_lens_count as u32 - 4, len: 4 });
        for symbol in &LENGTHS_ORDER[..self.run_lens_count] {
            writer.put(Code { bits: u32::from(self.run_lens[*symbol]), len: 3 });
        }
        let codes = codes_of_lengths(&self.run_lens);
        for Run { symbol, extra } in &self.runs[..self.run_count] {
            let symbol = usize::from(*symbol);
            let extra = Code { bits: u32::from(*extra), len: Run::extra_len(symbol) };
            writer.put(join(codes[symbol], extra));
        }
    }
}
