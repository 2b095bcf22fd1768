//! Compresses payload into messages (RFC 7692 section 7.2.1).

use super::encoder::Encoder;
pub(crate) use super::encoder::NotSmaller;
use super::{CompressionLevel, WindowBits};

/// A compressor with its context.
#[derive(Debug)]
pub(crate) struct Deflater {
    encoder: Encoder,
    level: CompressionLevel,
    window: WindowBits,
}

impl Deflater {
    pub(crate) fn new(level: CompressionLevel, window: WindowBits) -> Self {
        Self { encoder: Encoder::new(level.value(), window.value()), level, window }
    }

    pub(crate) fn is_of(&self, level: CompressionLevel, window: WindowBits) -> bool {
        (self.level, self.window) == (level, window)
    }

    /// Returns the number of bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        size_of::<Self>() + Encoder::held_bytes(self.level.value(), self.window.value())
    }

    /// Drops the context, including the input of an unfinished message.
    pub(crate) fn reset(&mut self) {
        self.encoder.restart(usize::MAX);
    }

    /// Drops the context for one message of `payload_bytes`. Its cost is in proportion to these.
    pub(crate) fn reset_for(&mut self, payload_bytes: usize) {
        self.encoder.restart(payload_bytes);
    }

    /// Appends a whole compressed message to `out`. On [`NotSmaller`] reset the context.
    pub(crate) fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NotSmaller> {
        self.push(payload, true, out, payload.len())
    }

    /// Appends the output for a piece of a message to `out`, which must stay below `bytes_max`. On [`NotSmaller`] reset
    /// the context.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), NotSmaller> {
        self.encoder.push(piece, last, out, bytes_max)
    }
}

/// Returns the most bytes of a deflater's state, at any level.
pub(crate) const fn deflater_bytes_max(window: WindowBits) -> usize {
    size_of::<Deflater>() + Encoder::held_bytes(CompressionLevel::BEST.value(), window.value())
}
