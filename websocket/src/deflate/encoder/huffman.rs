//! Huffman codes of bounded lengths (RFC 1951 section 3.2.2).

use std::mem;

use super::codes::Code;
use crate::deflate::format::CODE_LEN_MAX;

/// Frequencies below this are sorted by counting them. In short messages nearly all are.
const COUNTED: usize = 64;

/// The neighbours in an alphabet that are looked at together. Of many such none is in a text.
const PART_SYMBOLS: usize = 16;

/// The lengths of the codes of an alphabet.
#[derive(Debug)]
pub(super) struct CodeLengths<const SYMBOLS: usize> {
    /// The length of each symbol's code, 0 for those that have none.
    pub(super) lens: [u8; SYMBOLS],
    /// The symbols that have codes, in ascending order.
    symbols: [u16; SYMBOLS],
    /// The number of these.
    used: usize,
    /// How many codes have each length.
    counts: [u16; CODE_LEN_MAX + 1],
    /// The bits of all symbols together.
    pub(super) bits: u32,
}

impl<const SYMBOLS: usize> CodeLengths<SYMBOLS> {
    /// Returns the lengths with which the symbols take the fewest bits, or nearly so where `len_max` bounds them. At
    /// least two symbols have codes, because some decoders accept no less. The sum of the frequencies is below
    /// 65,535.
    pub(super) fn new(frequencies: &[u16; SYMBOLS], len_max: usize) -> Self {
        let mut lengths =
            Self { lens: [0; SYMBOLS], symbols: [0; SYMBOLS], used: 0, counts: [0; CODE_LEN_MAX + 1], bits: 0 };
        for (begin, part) in (0..).step_by(PART_SYMBOLS).zip(frequencies.chunks(PART_SYMBOLS)) {
            if part.iter().fold(0, |all, frequency| all | frequency) > 0 {
                for (symbol, frequency) in (begin..).zip(part) {
                    lengths.symbols[lengths.used] = symbol;
                    lengths.used += usize::from(*frequency > 0);
                }
            }
        }
        if lengths.used < 2 {
            lengths.complete(frequencies);
            return lengths;
        }
        let mut sorted = [0; SYMBOLS];
        let sorted = &mut sorted[..lengths.used];
        sort_by_frequency(&lengths.symbols[..lengths.used], frequencies, sorted);
        let mut leaves = [0; SYMBOLS];
        let leaves = &mut leaves[..lengths.used];
        for (leaf, symbol) in leaves.iter_mut().zip(sorted.iter()) {
            *leaf = frequencies[usize::from(*symbol)];
        }
        lengths.counts = bounded_counts::<SYMBOLS>(leaves, len_max);
        let mut rarest_first = sorted.iter().zip(leaves.iter());
        for len in (1..=len_max).rev() {
            let count = usize::from(lengths.counts[len]);
            for (symbol, frequency) in rarest_first.by_ref().take(count) {
                lengths.lens[usize::from(*symbol)] = len as u8;
                lengths.bits += u32::from(*frequency) * len as u32;
            }
        }
        lengths
    }

    /// Gives two symbols codes where at most one is used.
    fn complete(&mut self, frequencies: &[u16; SYMBOLS]) {
        let symbol = if self.used == 0 { 0 } else { usize::from(self.symbols[0]) };
        self.bits = frequencies[symbol].into();
        let other = usize::from(symbol == 0);
        self.symbols[..2].copy_from_slice(&[symbol.min(other) as u16, symbol.max(other) as u16]);
        self.used = 2;
        self.counts[1] = 2;
        (self.lens[symbol], self.lens[other]) = (1, 1);
    }

    /// Returns the symbols that have codes, in ascending order, with the lengths of their codes.
    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u8)> {
        self.symbols[..self.used].iter().map(|symbol| (usize::from(*symbol), self.lens[usize::from(*symbol)]))
    }

    /// Returns the number of symbols up to the last that has a code.
    pub(super) fn end(&self) -> usize {
        usize::from(self.symbols[self.used - 1]) + 1
    }

    /// Returns the codes.
    pub(super) fn codes(&self, extra_lens: &[u8; SYMBOLS]) -> [Code; SYMBOLS] {
        let mut next = [0_u16; CODE_LEN_MAX + 1];
        for len in 2..=CODE_LEN_MAX {
            next[len] = (next[len - 1] + self.counts[len - 1]) << 1;
        }
        let mut codes = [Code::default(); SYMBOLS];
        for (symbol, len) in self.iter() {
            let next = &mut next[usize::from(len) % (CODE_LEN_MAX + 1)];
            codes[symbol] = Code::new(*next, len, extra_lens[symbol]);
            *next += 1;
        }
        codes
    }
}

/// Fills `sorted` with the symbols in the order of their frequencies, the rarest first.
fn sort_by_frequency(symbols: &[u16], frequencies: &[u16], sorted: &mut [u16]) {
    let class = |symbol: u16| usize::from(frequencies[usize::from(symbol)]).min(COUNTED - 1);
    let mut begins = [0_u16; COUNTED];
    for symbol in symbols {
        begins[class(*symbol)] += 1;
    }
    let mut begin = 0;
    for count in &mut begins {
        begin += mem::replace(count, begin);
    }
    for symbol in symbols {
        let begin = &mut begins[class(*symbol)];
        sorted[usize::from(*begin)] = *symbol;
        *begin += 1;
    }
    // Each class now begins where the one before it did, and the last one holds all greater frequencies.
    let last = usize::from(begins[COUNTED - 2]);
    sorted[last..].sort_unstable_by_key(|symbol| (frequencies[usize::from(*symbol)], *symbol));
}

/// Returns how many codes have each length, with none above `len_max`. `leaves` has the frequencies in ascending order,
/// two or more.
fn bounded_counts<const SYMBOLS: usize>(leaves: &[u16], len_max: usize) -> [u16; CODE_LEN_MAX + 1] {
    // Each inner node takes the two lightest of the leaves and inner nodes before it. What does not exist yet is
    // heavier than anything else. Which of both is lighter cannot be foreseen, so nothing branches.
    let mut inner = [u16::MAX; SYMBOLS];
    let mut parents = [0_u16; SYMBOLS];
    let root = leaves.len() - 2;
    let (mut leaf, mut light) = (0, 0);
    for node in 0..=root {
        let mut weight = 0;
        for _ in 0..2 {
            let of_leaf = leaves.get(leaf).map_or(u16::MAX, |weight| *weight);
            let of_inner = inner[light];
            weight += of_leaf.min(of_inner);
            // A node that is not taken yet will be given its parent later.
            parents[light] = node as u16;
            light += usize::from(of_inner < of_leaf);
            leaf += usize::from(of_inner >= of_leaf);
        }
        inner[node] = weight;
    }
    // From the root down, each inner node takes the place of a leaf and has two leaves itself. Where these would be too
    // deep, it takes the place of the deepest leaf that is not.
    let mut depths = inner;
    let mut counts = [0; CODE_LEN_MAX + 1];
    (depths[root], counts[1]) = (0, 2);
    for node in (0..root).rev() {
        depths[node] = depths[usize::from(parents[node])] + 1;
        let mut depth = usize::from(depths[node]);
        if depth >= len_max {
            depth = (1..len_max).rev().find(|depth| counts[*depth] > 0).unwrap_or(1);
        }
        counts[depth] -= 1;
        counts[depth + 1] += 2;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bits of the lengths found.
    fn cost<const SYMBOLS: usize>(frequencies: &[u16; SYMBOLS], len_max: usize) -> u32 {
        let lengths = CodeLengths::new(frequencies, len_max);
        let mut given = 0.0;
        for (len, frequency) in lengths.lens.iter().zip(frequencies) {
            assert!(usize::from(*len) <= len_max && (*len > 0 || *frequency == 0), "{lengths:?}");
            given += if *len > 0 { 0.5_f64.powi(i32::from(*len)) } else { 0.0 };
        }
        assert_eq!(given, 1.0, "{lengths:?} is no complete code");
        let bits = |(len, frequency): (&u8, &u16)| u32::from(*len) * u32::from(*frequency);
        assert_eq!(lengths.bits, lengths.lens.iter().zip(frequencies).map(bits).sum::<u32>());
        let used: Vec<usize> = lengths.iter().map(|(symbol, _)| symbol).collect();
        assert!(used.iter().copied().eq((0..SYMBOLS).filter(|symbol| lengths.lens[*symbol] > 0)), "{used:?}");
        assert_eq!(lengths.end(), used[used.len() - 1] + 1);
        lengths.bits
    }

    /// Returns the bits of the best lengths without a bound: the sum of the weights of all inner nodes.
    fn least_cost(frequencies: &[u16]) -> u32 {
        let mut weights: Vec<u32> =
            frequencies.iter().filter(|frequency| **frequency > 0).map(|f| (*f).into()).collect();
        let mut cost = 0;
        while weights.len() > 1 {
            weights.sort_unstable_by(|left, right| right.cmp(left));
            let both = weights.pop().unwrap() + weights.pop().unwrap();
            weights.push(both);
            cost += both;
        }
        cost
    }

    #[test]
    fn codes_are_complete_and_of_least_cost() {
        assert_eq!(cost(&[5, 9, 12, 13, 16, 45], 15), 224);
        assert_eq!(cost(&[1, 0, 1], 15), 2);
        assert_eq!(cost(&[7; 8], 15), 7 * 8 * 3);
        assert_eq!(cost(&[1; 286], 15), 286 * 8 + 2 * 30);
        // With and without frequencies that are not counted.
        for most in [40, 60, 62, 63, 64, 65, 200] {
            let mut state = u32::from(most);
            let frequencies: [u16; 286] = std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) as u16 % (most + 1) * (state >> 8 & 1) as u16
            });
            assert_eq!(cost(&frequencies, 15), least_cost(&frequencies), "{most}");
        }
    }

    #[test]
    fn bounded_codes_are_complete() {
        let mut fibonacci = [1_u16; 21];
        for symbol in 2..21 {
            fibonacci[symbol] = fibonacci[symbol - 1] + fibonacci[symbol - 2];
        }
        let unbounded = least_cost(&fibonacci);
        assert!(cost(&fibonacci, 15) > unbounded && cost(&fibonacci, 15) < unbounded * 101 / 100);
        assert!(cost(&fibonacci, 7) > cost(&fibonacci, 15));
        let mut state = 1_u32;
        for _ in 0..if cfg!(miri) { 3 } else { 500 } {
            let frequencies: [u16; 286] = std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (1_u16 << (state >> 28)) / 128 * (state >> 8 & 1) as u16 + (state >> 20 & 1) as u16
            });
            cost(&frequencies, 9);
            cost(&frequencies, 15);
        }
    }

    #[test]
    fn at_least_two_symbols_have_codes() {
        for (frequencies, lens) in
            [([0, 0, 0], [1, 1, 0]), ([3, 0, 0], [1, 1, 0]), ([0, 3, 0], [1, 1, 0]), ([0, 0, 3], [1, 0, 1])]
        {
            let lengths = CodeLengths::new(&frequencies, 15);
            assert_eq!((lengths.lens, lengths.bits), (lens, frequencies.iter().copied().map(u32::from).sum()));
            assert_eq!(lengths.iter().count(), 2);
        }
    }
}
