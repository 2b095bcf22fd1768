//! Pseudo-random numbers: the same seed gives the same sequence.

/// A generator (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // The golden ratio spreads small seeds over all bits, and the state must not be zero.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`, which is above zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// Returns a number below `bound`, which is above zero.
    pub fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }

    pub fn key(&mut self) -> [u8; 4] {
        (self.number() as u32).to_ne_bytes()
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for block in bytes.chunks_mut(8) {
            block.copy_from_slice(&self.number().to_ne_bytes()[..block.len()]);
        }
        bytes
    }

    /// Returns printable ASCII with repetitions, which compresses to about a half.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        const WORDS: [&[u8]; 8] = [b"tide ", b"gate ", b"ring ", b"wheel ", b"frame ", b"0123 ", b"payload ", b"x"];
        let mut text = Vec::with_capacity(length + 8);
        while text.len() < length {
            text.extend(WORDS[self.index(WORDS.len())]);
            text.push(b' ' + self.below(95) as u8);
        }
        text.truncate(length);
        text
    }
}
