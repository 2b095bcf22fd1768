//! Cuts an input into pieces, as a network does.

/// One way to cut an input.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// After every byte.
    Bytes,
    /// Once, after this many bytes.
    At(usize),
    /// Into pieces of random lengths up to a bound.
    Random { seed: u64, length_max: usize },
}

/// Longer inputs are not cut after every byte, which takes too long.
const LENGTH_MAX: usize = 4000;

impl Cut {
    /// The ways in which an input is compared with itself whole. They depend on the input alone, so a failure can be
    /// reproduced.
    pub fn ways(input: &[u8]) -> [Cut; 6] {
        let seed = hash(input);
        [
            if input.len() <= LENGTH_MAX { Cut::Bytes } else { Cut::Random { seed: seed ^ 3, length_max: 400 } },
            Cut::At(seed as usize % input.len().max(1)),
            Cut::At((seed >> 32) as usize % input.len().max(1)),
            Cut::Random { seed, length_max: if input.len() <= LENGTH_MAX { 4 } else { 100 } },
            Cut::Random { seed: seed ^ 1, length_max: 40 },
            Cut::Random { seed: seed ^ 2, length_max: 4000 },
        ]
    }

    /// Calls `take` with each piece, until it returns false.
    pub fn apply(self, mut input: &[u8], mut take: impl FnMut(&[u8]) -> bool) {
        let mut state = match self {
            Cut::Random { seed, .. } => seed,
            _ => 0,
        };
        let mut is_first = true;
        while !input.is_empty() {
            let length = match self {
                Cut::Whole => input.len(),
                Cut::Bytes => 1,
                Cut::At(position) if is_first && position > 0 => position,
                Cut::At(_) => input.len(),
                Cut::Random { length_max, .. } => 1 + next(&mut state) as usize % length_max,
            };
            is_first = false;
            let (piece, rest) = input.split_at(length.min(input.len()));
            input = rest;
            if !take(piece) {
                return;
            }
        }
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
