//! Shared parts of the fuzz targets.
//!
//! `fuzz_targets/` has one file per target: the properties it checks and the models it compares with. Everything that
//! names Tidegate's API is in `adapters`, one file per target. [`Source`] reads decisions from an input, [`cuts`] cuts
//! an input into pieces, [`paths`] makes routes and paths, and matches them naively.

#![forbid(unsafe_code)]

pub mod adapters;
pub mod cuts;
pub mod paths;

/// The bytes of an input, read as decisions. An exhausted source returns zeros.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// Creates a source of these bytes.
    pub fn new(bytes: &'a [u8]) -> Source<'a> {
        Source(bytes)
    }

    /// Whether every byte was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads one byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Reads a number of two bytes, the higher one first.
    pub fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// Reads a number below `bound`, which is 1 to 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// Reads up to `length` bytes.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// Reads everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }
}
