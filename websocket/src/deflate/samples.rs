//! Samples for the tests of the encoder and the decoder.

/// The end of a message that is flushed, which RFC 7692 section 7.2.1 leaves out.
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

pub(super) const LEVELS: [i32; 11] = [-2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// Words that are not all ASCII.
const WORDS: [&str; 8] = ["ebb", "flood", "slack", "spring", "neap", "Flut", "étale", "潮"];

/// A source of the same numbers in each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    pub(super) fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Returns a list of records with the same keys.
    pub(super) fn records(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let [id, price] = [self.below(900_000), self.below(500)];
            let [state, place] = [self.below(WORDS.len()), self.below(WORDS.len())].map(|index| WORDS[index]);
            bytes.extend(
                format!("{{\"id\":{id},\"state\":\"{state}\",\"price\":{price}.5,\"place\":\"{place}\"}},").bytes(),
            );
        }
        bytes.truncate(len);
        bytes
    }

    /// Returns a payload of one of many kinds.
    pub(super) fn payload(&mut self, len: usize) -> Vec<u8> {
        match self.below(8) {
            0 => self.noise(len),
            1 => vec![self.next() as u8; len],
            2 => {
                let period = 1 + self.below(40);
                self.noise(period).into_iter().cycle().take(len).collect()
            }
            3 => (0..len).map(|_| self.below(3) as u8 * 100).collect(),
            // Few symbols are frequent and many rare, whose codes are long.
            4 => (0..len).map(|_| (self.next() & self.next() & self.next() & self.next()) as u8).collect(),
            5 => {
                let noise = self.noise(len / 2);
                [self.records(len - len / 2), noise].concat()
            }
            _ => self.records(len),
        }
    }

    /// Returns the length of a message: often short, rarely long.
    pub(super) fn len(&mut self) -> usize {
        match self.below(8) {
            0 => 1 << self.below(17),
            1 => self.below(100_000),
            2 => self.below(6),
            _ => self.below(3000),
        }
    }
}
