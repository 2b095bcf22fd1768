//! The codes of a dynamic block (RFC 1951 section 3.2.7).

use super::Stop;
use super::bits::BitReader;
use super::codes::{Codes, DISTANCES, LITERALS};
use super::table::{Alphabet, CodedSymbol, Counts, Entry, SYMBOLS_MAX, Sorted, Table};
use crate::deflate::format::{END_OF_BLOCK, LENS_ORDER, RUN_SYMBOLS};

/// The most bits of a run: seven of its code, and seven extra bits.
const RUN_LEN_MAX: u32 = 14;

/// The most symbols for literals, lengths and the end of a block, and the most for distances.
const LITERALS_MAX: usize = 286;
const DISTANCES_MAX: usize = 30;

/// Lengths and runs: a length is a literal, the value of a run its length. Without codes each bit is a length of 0, as
/// in zlib: the block is refused once all have arrived.
static RUNS: Alphabet<RUN_SYMBOLS> = Alphabet { entries: runs(), unused: Entry::literal(0), allows_lone: false };

/// In the value of a run: whether it repeats the length before, not zeros.
const REPEATED: usize = 1 << 8;

/// The codes of a block as far as they have arrived.
#[derive(Debug)]
pub(super) struct Header {
    part: Part,
    literal_count: usize,
    distance_count: usize,
    run_lens_count: usize,
    place: Place,
    run_lens: [u8; RUN_SYMBOLS],
    runs: Table<128, 7>,
    /// The symbols that have a code, those for distances behind the others and numbered on. The last place takes a
    /// symbol without a code.
    coded: [CodedSymbol; LITERALS_MAX + DISTANCES_MAX + 1],
    /// Memory for the time while a table is built.
    sorted: Sorted,
}

/// The place in the current part.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    index: usize,
    coded_count: usize,
    /// The length before.
    len: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// How many symbols there are.
    Counts,
    /// The lengths of the codes for runs.
    RunLens,
    Runs,
}

impl Header {
    pub(super) const fn new() -> Self {
        Self {
            part: Part::Counts,
            literal_count: 0,
            distance_count: 0,
            run_lens_count: 0,
            place: Place { index: 0, coded_count: 0, len: 0 },
            run_lens: [0; RUN_SYMBOLS],
            runs: Table::new(),
            coded: [CodedSymbol::NONE; LITERALS_MAX + DISTANCES_MAX + 1],
            sorted: [0; SYMBOLS_MAX],
        }
    }

    /// Begins a header.
    pub(super) fn begin(&mut self) {
        self.part = Part::Counts;
    }

    /// Reads the rest of the header and builds the tables of its codes.
    pub(super) fn read(&mut self, reader: &mut BitReader<'_>, codes: &mut Codes) -> Result<(), Stop> {
        // A copy that the compiler can keep in registers.
        let mut local = *reader;
        let read = self.read_lens(&mut local);
        *reader = local;
        read?;
        self.build(codes)
    }

    #[inline(always)]
    fn read_lens(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        if self.part == Part::Counts {
            let bits = reader.take(14)?;
            self.literal_count = 257 + (bits & 31);
            self.distance_count = 1 + (bits >> 5 & 31);
            self.run_lens_count = 4 + (bits >> 10);
            if self.literal_count > LITERALS_MAX || self.distance_count > DISTANCES_MAX {
                return Err(Stop::Invalid);
            }
            (self.part, self.place, self.run_lens) = (Part::RunLens, Place::default(), [0; RUN_SYMBOLS]);
        }
        if self.part == Part::RunLens {
            while self.place.index < self.run_lens_count {
                self.run_lens[LENS_ORDER[self.place.index]] = reader.take(3)? as u8;
                self.place.index += 1;
            }
            self.build_runs()?;
            (self.part, self.place) = (Part::Runs, Place::default());
        }
        self.read_runs(reader)
    }

    fn build_runs(&mut self) -> Result<(), Stop> {
        let mut coded = [CodedSymbol::NONE; RUN_SYMBOLS];
        let mut counts = Counts::default();
        let mut count = 0;
        for (symbol, len) in self.run_lens.iter().enumerate() {
            let len = usize::from(*len);
            if len > 0 {
                coded[count] = CodedSymbol::new(symbol, len as u8);
                counts[len] += 1;
                count += 1;
            }
        }
        self.runs.build(&coded[..count], &counts, 0, &RUNS, &mut self.sorted)
    }

    #[inline(always)]
    fn read_runs(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        let total = self.literal_count + self.distance_count;
        // A copy that the compiler can keep in registers.
        let mut place = self.place;
        let read = loop {
            reader.refill();
            let read = if reader.len() >= 4 * RUN_LEN_MAX {
                // That is enough for four.
                self.read_run(&mut place, total, reader)
                    .and_then(|()| self.read_run(&mut place, total, reader))
                    .and_then(|()| self.read_run(&mut place, total, reader))
                    .and_then(|()| self.read_run(&mut place, total, reader))
            } else if self.runs.at(self.runs.mask(), reader.bits()).len() <= reader.len() {
                self.read_run(&mut place, total, reader)
            } else {
                Err(Stop::InputNeeded)
            };
            if read.is_err() || place.index >= total {
                break read;
            }
        };
        self.place = place;
        read
    }

    /// Reads a run, unless all have been read.
    #[inline(always)]
    fn read_run(&mut self, place: &mut Place, total: usize, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        if place.index >= total {
            return Ok(());
        }
        let entry = self.runs.at(self.runs.mask(), reader.bits());
        if entry.is_literal() {
            place.len = entry.byte();
            // Without a branch, because the processor could not predict it.
            self.coded[place.coded_count] = CodedSymbol::new(place.index, place.len);
            place.coded_count += usize::from(place.len > 0);
            place.index += 1;
            reader.consume_dirty(entry.dirty_len());
            return Ok(());
        }
        let run = entry.value(reader.bits());
        reader.consume_dirty(entry.dirty_len());
        if run & REPEATED == 0 {
            place.len = 0;
        } else if place.index == 0 {
            return Err(Stop::Invalid);
        }
        let end = place.index + (run & 0xFF);
        if end > total {
            return Err(Stop::Invalid);
        }
        if place.len > 0 {
            for symbol in place.index..end {
                self.coded[place.coded_count] = CodedSymbol::new(symbol, place.len);
                place.coded_count += 1;
            }
        }
        place.index = end;
        Ok(())
    }

    fn build(&mut self, codes: &mut Codes) -> Result<(), Stop> {
        let coded = &self.coded[..self.place.coded_count];
        let literal_count =
            coded.iter().rposition(|symbol| symbol.symbol() < self.literal_count).map_or(0, |index| index + 1);
        let (literals, distances) = coded.split_at(literal_count);
        let (literal_counts, distance_counts) = (&count(literals), &count(distances));
        if !literals.iter().rev().any(|symbol| symbol.symbol() == END_OF_BLOCK) {
            return Err(Stop::Invalid);
        }
        codes.literals.build(literals, literal_counts, 0, &LITERALS, &mut self.sorted)?;
        codes.distances.build(distances, distance_counts, self.literal_count, &DISTANCES, &mut self.sorted)
    }
}

/// Counts the codes of each length.
fn count(coded: &[CodedSymbol]) -> Counts {
    // Equal lengths in a row would wait for one another.
    let mut counts = [Counts::default(); 4];
    for symbols in coded.chunks(4) {
        for (symbol, counts) in symbols.iter().zip(&mut counts) {
            counts[symbol.len()] += 1;
        }
    }
    let [mut sum, others @ ..] = counts;
    for counts in &others {
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    sum
}

const fn runs() -> [Entry; RUN_SYMBOLS] {
    let mut entries = [Entry::INVALID; RUN_SYMBOLS];
    let mut len = 0;
    while len < 16 {
        entries[len] = Entry::literal(len as u8);
        len += 1;
    }
    entries[16] = Entry::base(REPEATED as u32 | 3, 2);
    entries[17] = Entry::base(3, 3);
    entries[18] = Entry::base(11, 7);
    entries
}
