//! The lengths of Huffman codes, bounded (RFC 1951 section 3.2.2).

use super::codes::{CODE_LEN_MAX, Code, codes_of_lengths};

/// The bits of a symbol's number in the largest alphabet.
const SYMBOL_BITS: u32 = 9;

/// The lengths of the codes of an alphabet.
#[derive(Debug)]
pub(super) struct CodeLengths<const SYMBOLS: usize> {
    /// The length of each symbol's code, 0 for those of frequency 0.
    pub(super) lens: [u8; SYMBOLS],
    /// How many codes have each length.
    counts: [u32; CODE_LEN_MAX + 1],
    /// The bits of all symbols together.
    pub(super) bits: u32,
}

impl<const SYMBOLS: usize> CodeLengths<SYMBOLS> {
    /// Returns the lengths with which the symbols take the fewest bits. At least two symbols have codes, because some
    /// decoders accept no less. The sum of the frequencies is below 2^23.
    pub(super) fn new(frequencies: &[u32; SYMBOLS], len_max: usize) -> Self {
        let mut sorted = [0_u32; SYMBOLS];
        let mut used = 0;
        for (symbol, frequency) in frequencies.iter().enumerate() {
            if *frequency > 0 {
                sorted[used] = frequency << SYMBOL_BITS | symbol as u32;
                used += 1;
            }
        }
        if used < 2 {
            return Self::of_one(symbol_of(sorted[0]), sorted[0] >> SYMBOL_BITS);
        }
        let sorted = &mut sorted[..used];
        sorted.sort_unstable();
        let mut tree = [0_u32; SYMBOLS];
        let tree = &mut tree[..used];
        for (node, entry) in tree.iter_mut().zip(sorted.iter()) {
            *node = entry >> SYMBOL_BITS;
        }
        let mut lengths = Self { lens: [0; SYMBOLS], counts: bounded_counts(tree, len_max), bits: 0 };
        let mut rarest_first = sorted.iter();
        for len in (1..=len_max).rev() {
            for entry in rarest_first.by_ref().take(lengths.counts[len] as usize) {
                lengths.lens[symbol_of(*entry)] = len as u8;
                lengths.bits += (entry >> SYMBOL_BITS) * len as u32;
            }
        }
        lengths
    }

    /// Returns the lengths for one symbol. Another has a code too, and is not used.
    fn of_one(symbol: usize, frequency: u32) -> Self {
        let mut lengths = Self { lens: [0; SYMBOLS], counts: [0; CODE_LEN_MAX + 1], bits: frequency };
        lengths.lens[symbol] = 1;
        lengths.lens[usize::from(symbol == 0)] = 1;
        lengths.counts[1] = 2;
        lengths
    }

    /// Returns the codes.
    pub(super) fn codes(&self) -> [Code; SYMBOLS] {
        codes_of_lengths(&self.lens, &self.counts)
    }

    /// Returns the number of symbols up to the last that has a code.
    pub(super) fn used(&self) -> usize {
        self.lens.iter().rposition(|len| *len > 0).map_or(0, |last| last + 1)
    }
}

fn symbol_of(entry: u32) -> usize {
    (entry & ((1 << SYMBOL_BITS) - 1)) as usize
}

/// Returns how many codes have each length, with none above `len_max`. `tree` is scratch that holds the frequencies in
/// ascending order, two or more.
fn bounded_counts(tree: &mut [u32], len_max: usize) -> [u32; CODE_LEN_MAX + 1] {
    minimize_redundancy(tree);
    let mut counts = [0; CODE_LEN_MAX + 1];
    for len in tree.iter() {
        counts[(*len as usize).min(len_max)] += 1;
    }
    // In units of the longest code, 2^len_max are there to be given away.
    let mut given: u32 = (1..=len_max).map(|len| counts[len] << (len_max - len)).sum();
    while given > 1 << len_max {
        // A code of the greatest length gives up its place, and joins a shorter one that becomes longer by a bit.
        counts[len_max] -= 1;
        if let Some(len) = (1..len_max).rev().find(|len| counts[*len] > 0) {
            counts[len] -= 1;
            counts[len + 1] += 2;
        }
        given -= 1;
    }
    counts
}

/// Replaces ascending frequencies by the lengths of their codes, in place: Moffat and Katajainen, "In-place calculation
/// of minimum-redundancy codes", 1995.
fn minimize_redundancy(tree: &mut [u32]) {
    let count = tree.len();
    // First the inner nodes: each takes the two lightest of the leaves and inner nodes before it, and these inner nodes
    // then hold the place of their parent.
    let (mut leaf, mut root) = (0, 0);
    for node in 0..count - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            if leaf >= count || (root < node && tree[root] < tree[leaf]) {
                weight += tree[root];
                tree[root] = node as u32;
                root += 1;
            } else {
                weight += tree[leaf];
                leaf += 1;
            }
        }
        tree[node] = weight;
    }
    // Then their depths, from the root down.
    tree[count - 2] = 0;
    for node in (0..count - 2).rev() {
        tree[node] = tree[tree[node] as usize] + 1;
    }
    // At each depth what is no inner node is a leaf.
    let (mut available, mut depth) = (1, 0);
    let (mut inner, mut next) = (count - 1, count);
    while available > 0 {
        let used = tree[..inner].iter().rev().take_while(|node| **node == depth).count();
        inner -= used;
        for _ in used..available {
            next -= 1;
            tree[next] = depth;
        }
        available = 2 * used;
        depth += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bits of the lengths found.
    fn cost<const SYMBOLS: usize>(frequencies: &[u32; SYMBOLS], len_max: usize) -> u32 {
        let CodeLengths { lens, bits, .. } = CodeLengths::new(frequencies, len_max);
        let mut given = 0.0;
        for (len, frequency) in lens.iter().zip(frequencies) {
            assert!(usize::from(*len) <= len_max && (*len > 0 || *frequency == 0), "{lens:?}");
            given += if *len > 0 { 0.5_f64.powi(i32::from(*len)) } else { 0.0 };
        }
        assert_eq!(given, 1.0, "{lens:?} is no complete code");
        let sum = lens.iter().zip(frequencies).map(|(len, frequency)| u32::from(*len) * frequency).sum::<u32>();
        assert_eq!(bits, sum);
        bits
    }

    #[test]
    fn codes_are_complete_and_of_least_cost() {
        assert_eq!(cost(&[5, 9, 12, 13, 16, 45], 15), 224);
        assert_eq!(cost(&[1, 0, 1], 15), 2);
        assert_eq!(cost(&[7; 8], 15), 7 * 8 * 3);
        assert_eq!(cost(&[1; 286], 15), 286 * 8 + 2 * 30);
    }

    #[test]
    fn bounded_codes_are_complete() {
        let mut fibonacci = [1_u32; 19];
        for symbol in 2..19 {
            fibonacci[symbol] = fibonacci[symbol - 1] + fibonacci[symbol - 2];
        }
        assert!(cost(&fibonacci, 7) > cost(&fibonacci, 15));
        let mut state = 1_u32;
        for _ in 0..if cfg!(miri) { 3 } else { 500 } {
            let frequencies: [u32; 286] = std::array::from_fn(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                1_u32.wrapping_shl(state >> 28) * (state >> 8 & 1) / 2
            });
            cost(&frequencies, 9);
            cost(&frequencies, 15);
        }
    }

    #[test]
    fn at_least_two_symbols_have_codes() {
        assert_eq!(CodeLengths::new(&[0, 0, 0], 15).lens, [1, 1, 0]);
        assert_eq!(CodeLengths::new(&[3, 0, 0], 15).lens, [1, 1, 0]);
        assert_eq!(CodeLengths::new(&[0, 3, 0], 15).lens, [1, 1, 0]);
        assert_eq!(CodeLengths::new(&[0, 0, 3], 15).lens, [1, 0, 1]);
    }
}
