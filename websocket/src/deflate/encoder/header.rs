//! The codes of a block and the header that sends them (RFC 1951 section 3.2.7).

use std::iter;

use super::bits::BitWriter;
use super::codes::{DISTANCE_SYMBOLS, LITERAL_SYMBOLS};
use super::huffman::CodeLengths;
use crate::deflate::format::{CODE_LEN_MAX, LENS_ORDER, RUN_SYMBOLS};

/// The header of a block that is not the last, with its type.
const DYNAMIC_BLOCK: (u64, u32) = (0b100, 3);

/// The most bits of a code for the length of a code.
const LENGTH_CODE_LEN_MAX: usize = 7;

/// The symbols for the repetition of a length, and for shorter and longer runs of zeros.
const REPEAT: usize = 16;
const ZEROS: usize = 17;
const MANY_ZEROS: usize = 18;

/// How many extra bits each of these symbols has.
static RUN_EXTRA_LENS: [u8; RUN_SYMBOLS] = {
    let mut lens = [0; RUN_SYMBOLS];
    (lens[REPEAT], lens[ZEROS], lens[MANY_ZEROS]) = (2, 3, 7);
    lens
};

/// The codes of a dynamic block, as it sends them.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) literals: CodeLengths<LITERAL_SYMBOLS>,
    pub(super) distances: CodeLengths<DISTANCE_SYMBOLS>,
    runs: Runs,
    run_lengths: CodeLengths<RUN_SYMBOLS>,
    /// How many of these lengths are sent.
    run_lens_count: usize,
    /// The bits of the header itself.
    pub(super) bits: u32,
}

impl Header {
    pub(super) fn new(literals: &[u16; LITERAL_SYMBOLS], distances: &[u16; DISTANCE_SYMBOLS]) -> Self {
        let literals = CodeLengths::new(literals, CODE_LEN_MAX);
        let distances = CodeLengths::new(distances, CODE_LEN_MAX);
        let runs = Runs::new(&literals, &distances);
        let run_lengths = CodeLengths::new(&runs.frequencies, LENGTH_CODE_LEN_MAX);
        let last = LENS_ORDER.iter().rposition(|symbol| run_lengths.lens[*symbol] > 0);
        let run_lens_count = last.map_or(4, |last| (last + 1).max(4));
        let extra_bits = |symbol: usize| u32::from(runs.frequencies[symbol]) * u32::from(RUN_EXTRA_LENS[symbol]);
        let bits = DYNAMIC_BLOCK.1
            + (5 + 5 + 4)
            + 3 * run_lens_count as u32
            + run_lengths.bits
            + (REPEAT..RUN_SYMBOLS).map(extra_bits).sum::<u32>();
        Self { literals, distances, runs, run_lengths, run_lens_count, bits }
    }

    pub(super) fn write(&self, writer: &mut BitWriter<'_>) {
        writer.put(DYNAMIC_BLOCK.0, DYNAMIC_BLOCK.1);
        writer.put(self.literals.end() as u64 - 257, 5);
        writer.put(self.distances.end() as u64 - 1, 5);
        writer.put(self.run_lens_count as u64 - 4, 4);
        let lens = LENS_ORDER[..self.run_lens_count].iter().map(|symbol| (self.run_lengths.lens[*symbol].into(), 3));
        writer.put_all(bundled::<18>(lens));
        let codes = self.run_lengths.codes(&RUN_EXTRA_LENS);
        let runs = self.runs.list[..self.runs.count].iter();
        writer.put_all(bundled::<4>(runs.map(|run| codes[usize::from(run.symbol)].with_extra(run.extra.into()))));
    }
}

/// Returns the same bits, `COUNT` pieces at a time.
fn bundled<const COUNT: usize>(mut all: impl ExactSizeIterator<Item = (u64, u32)>) -> impl Iterator<Item = (u64, u32)> {
    iter::from_fn(move || {
        let join = |(left, left_len): (u64, u32), (right, right_len)| (left | right << left_len, left_len + right_len);
        (all.len() > 0).then(|| all.by_ref().take(COUNT).fold((0, 0), join))
    })
}

/// A length, or the repetition of one or of zeros.
#[derive(Debug, Clone, Copy)]
struct Run {
    symbol: u8,
    /// What follows the symbol.
    extra: u8,
}

/// The lengths of two alphabets, one behind the other.
#[derive(Debug)]
struct Runs {
    list: [Run; LITERAL_SYMBOLS + DISTANCE_SYMBOLS],
    count: usize,
    frequencies: [u16; RUN_SYMBOLS],
}

impl Runs {
    const EMPTY: Self = Self {
        list: [Run { symbol: 0, extra: 0 }; LITERAL_SYMBOLS + DISTANCE_SYMBOLS],
        count: 0,
        frequencies: [0; RUN_SYMBOLS],
    };

    fn new(literals: &CodeLengths<LITERAL_SYMBOLS>, distances: &CodeLengths<DISTANCE_SYMBOLS>) -> Self {
        let mut runs = Self::EMPTY;
        let distances_begin = literals.end();
        let all = literals.iter().chain(distances.iter().map(|(symbol, len)| (distances_begin + symbol, len)));
        // The lengths before `next` are in the list, except the last `equal`, which are `before`.
        let (mut next, mut before, mut equal) = (0, 0, 0);
        for (at, len) in all {
            if at > next || len != before {
                runs.add_equal(before, equal);
                runs.add_zeros(at - next);
                (before, equal) = (len, 0);
            }
            (next, equal) = (at + 1, equal + 1);
        }
        runs.add_equal(before, equal);
        runs
    }

    fn add_equal(&mut self, len: u8, count: usize) {
        if count > 0 {
            self.add(len.into(), 0);
            let mut left = count - 1;
            while left >= 3 {
                let repeated = left.min(6);
                self.add(REPEAT, repeated - 3);
                left -= repeated;
            }
            (0..left).for_each(|_| self.add(len.into(), 0));
        }
    }

    fn add_zeros(&mut self, mut count: usize) {
        while count >= 11 {
            let zeros = count.min(138);
            self.add(MANY_ZEROS, zeros - 11);
            count -= zeros;
        }
        if count >= 3 {
            self.add(ZEROS, count - 3);
        } else {
            (0..count).for_each(|_| self.add(0, 0));
        }
    }

    #[inline(always)]
    fn add(&mut self, symbol: usize, extra: usize) {
        self.list[self.count] = Run { symbol: symbol as u8, extra: extra as u8 };
        self.count += 1;
        self.frequencies[symbol] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lengths that the runs stand for.
    fn lens_of(runs: &Runs) -> Vec<u8> {
        let mut lens = Vec::new();
        for Run { symbol, extra } in &runs.list[..runs.count] {
            let (len, count) = match usize::from(*symbol) {
                REPEAT => (lens[lens.len() - 1], 3 + extra),
                ZEROS => (0, 3 + extra),
                MANY_ZEROS => (0, 11 + extra),
                _ => (*symbol, 1),
            };
            lens.extend((0..count).map(|_| len));
        }
        lens
    }

    #[test]
    fn runs_stand_for_the_lengths_of_both_alphabets() {
        let mut state = 7_u32;
        let mut below = |end: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % end
        };
        for round in 0..if cfg!(miri) { 20 } else { 2000 } {
            let (mut literals, mut distances) = ([0; LITERAL_SYMBOLS], [0; DISTANCE_SYMBOLS]);
            let rarity = 1 + round % 40;
            let mut frequency = || if below(rarity) == 0 { 1 << below(1 + round % 6) } else { 0 };
            literals.fill_with(&mut frequency);
            distances[..30].fill_with(&mut frequency);
            literals[256] = 1;
            let Header { literals, distances, runs, .. } = Header::new(&literals, &distances);
            let (literals, distances) = (&literals.lens[..literals.end()], &distances.lens[..distances.end()]);
            assert_eq!(lens_of(&runs), [literals, distances].concat());
            let counts =
                |symbol: usize| runs.list[..runs.count].iter().filter(|run| run.symbol == symbol as u8).count();
            assert!((0..RUN_SYMBOLS).all(|symbol| usize::from(runs.frequencies[symbol]) == counts(symbol)));
        }
    }

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        let added = |add: &dyn Fn(&mut Runs)| {
            let mut runs = Runs::EMPTY;
            add(&mut runs);
            runs.list[..runs.count].iter().map(|run| (run.symbol, run.extra)).collect::<Vec<_>>()
        };
        assert_eq!(added(&|runs| runs.add_zeros(2)), [(0, 0), (0, 0)]);
        assert_eq!(added(&|runs| runs.add_zeros(10)), [(17, 7)]);
        assert_eq!(added(&|runs| runs.add_zeros(139)), [(18, 127), (0, 0)]);
        assert_eq!(added(&|runs| runs.add_zeros(141)), [(18, 127), (17, 0)]);
        assert_eq!(added(&|runs| runs.add_equal(5, 0)), []);
        assert_eq!(added(&|runs| runs.add_equal(5, 3)), [(5, 0); 3]);
        assert_eq!(added(&|runs| runs.add_equal(5, 8)), [(5, 0), (16, 3), (5, 0)]);
        assert_eq!(added(&|runs| runs.add_equal(5, 10)), [(5, 0), (16, 3), (16, 0)]);
    }
}
