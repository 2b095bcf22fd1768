//! The symbols of a block, and the cheapest way to write them (RFC 1951 section 3.2.3).

use super::bits::BitWriter;
use super::codes::{
    CODE_LEN_MAX, Code, DISTANCE_SYMBOLS, END_OF_BLOCK, FIXED_LITERALS, LITERAL_SYMBOLS, distance_symbol, fixed_bits,
    fixed_match, length_symbol,
};
use super::huffman::CodeLengths;

/// Maximum symbols of a block: with more, their frequencies follow changes of the payload less well.
const SYMBOLS_MAX: usize = 16 << 10;

/// The symbols by which a parser can go beyond the maximum: literals before a match, each of which makes it longer.
const SYMBOLS_BEYOND: usize = 260;

/// The most bytes of a stored block (RFC 1951 section 3.2.4).
const STORED_BYTES_MAX: usize = 0xFFFF;

/// The most bits of a code for the length of a code.
const LENGTH_CODE_LEN_MAX: usize = 7;

/// The header of a block that is not the last, with its type.
pub(super) const FIXED_BLOCK: Code = Code { bits: 0b010, len: 3 };
const DYNAMIC_BLOCK: Code = Code { bits: 0b100, len: 3 };

/// The number of symbols for the lengths of codes and their repetitions.
const RUN_SYMBOLS: usize = 19;

/// The order in which the lengths of the codes for lengths are sent.
const LENGTHS_ORDER: [usize; RUN_SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

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
        let dynamic_bits = header.bits + header.literals.bits + header.distances.bits;
        let fixed_bits = FIXED_BLOCK.len + fixed_bits(&self.literals, &self.distances);
        let coded_bits = dynamic_bits.min(fixed_bits) + self.extra_bits;
        // A stored block has a header of three bits, up to seven that fill a byte, and four bytes.
        match payload.filter(|bytes| bytes.len() <= STORED_BYTES_MAX && bytes.len() as u32 * 8 + 39 < coded_bits) {
            Some(payload) => writer.put_stored_block(payload),
            None if fixed_bits <= dynamic_bits => self.write_fixed(writer),
            None => self.write_dynamic(&header, writer),
        }
        self.clear();
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
        let (literals, distances) = (header.literals.codes(), header.distances.codes());
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
    literals: CodeLengths<LITERAL_SYMBOLS>,
    distances: CodeLengths<DISTANCE_SYMBOLS>,
    literal_count: usize,
    distance_count: usize,
    runs: [Run; LITERAL_SYMBOLS + DISTANCE_SYMBOLS],
    run_count: usize,
    run_lengths: CodeLengths<RUN_SYMBOLS>,
    /// How many of these lengths are sent.
    run_lens_count: usize,
    /// The bits of the header itself.
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
        let (literals, distances) =
            (CodeLengths::new(literals, CODE_LEN_MAX), CodeLengths::new(distances, CODE_LEN_MAX));
        let mut lens = [0; LITERAL_SYMBOLS + DISTANCE_SYMBOLS];
        let (literal_count, distance_count) = (literals.used(), distances.used());
        let count = literal_count + distance_count;
        lens[..literal_count].copy_from_slice(&literals.lens[..literal_count]);
        lens[literal_count..count].copy_from_slice(&distances.lens[..distance_count]);

        let mut runs = [Run::default(); LITERAL_SYMBOLS + DISTANCE_SYMBOLS];
        let mut frequencies = [0; RUN_SYMBOLS];
        let run_count = find_runs(&lens[..count], &mut runs, &mut frequencies);
        let run_lengths = CodeLengths::new(&frequencies, LENGTH_CODE_LEN_MAX);
        let last = LENGTHS_ORDER.iter().rposition(|symbol| run_lengths.lens[*symbol] > 0);
        let run_lens_count = last.map_or(4, |last| (last + 1).max(4));
        let extra_bits: u32 = (16..RUN_SYMBOLS).map(|symbol| frequencies[symbol] * Run::extra_len(symbol)).sum();
        let bits = DYNAMIC_BLOCK.len + 5 + 5 + 4 + 3 * run_lens_count as u32 + run_lengths.bits + extra_bits;
        Self { literals, distances, literal_count, distance_count, runs, run_count, run_lengths, run_lens_count, bits }
    }

    fn write(&self, writer: &mut BitWriter<'_>) {
        writer.put(DYNAMIC_BLOCK);
        writer.put(Code { bits: self.literal_count as u32 - 257, len: 5 });
        writer.put(Code { bits: self.distance_count as u32 - 1, len: 5 });
        writer.put(Code { bits: self.run_lens_count as u32 - 4, len: 4 });
        for symbol in &LENGTHS_ORDER[..self.run_lens_count] {
            writer.put(Code { bits: u32::from(self.run_lengths.lens[*symbol]), len: 3 });
        }
        let codes = self.run_lengths.codes();
        for Run { symbol, extra } in &self.runs[..self.run_count] {
            let symbol = usize::from(*symbol);
            let extra = Code { bits: u32::from(*extra), len: Run::extra_len(symbol) };
            writer.put(join(codes[symbol], extra));
        }
    }
}

/// Finds the runs of equal lengths, and counts their symbols. Returns the number of runs.
fn find_runs(mut lens: &[u8], runs: &mut [Run], frequencies: &mut [u32; RUN_SYMBOLS]) -> usize {
    let mut count = 0;
    let mut before = None;
    while let [len, ..] = *lens {
        let equal = lens.iter().take_while(|other| **other == len).count();
        let (symbol, taken, extra) = match (len, equal) {
            (0, 11..) => (18, equal.min(138), equal.min(138) - 11),
            (0, 3..) => (17, equal, equal - 3),
            (1.., 3..) if before == Some(len) => (16, equal.min(6), equal.min(6) - 3),
            _ => (len, 1, 0),
        };
        before = Some(len);
        runs[count] = Run { symbol, extra: extra as u8 };
        count += 1;
        frequencies[usize::from(symbol)] += 1;
        lens = &lens[taken..];
    }
    count
}
