//! Compresses payload into messages (RFC 7692 section 7.2.1).
//!
//! The codec is flate2; for Huffman coding only, which flate2 does not offer, it is flate2's backend.

use std::cell::Cell;

use flate2::{Compress, Compression, FlushCompress};
use zlib_rs::{DeflateFlush, Strategy};

use super::{CompressionLevel, WindowBits};

/// The end of a flushed run of blocks, which is not sent.
const TAIL: &[u8] = &[0x00, 0x00, 0xFF, 0xFF];

/// The bytes of output at a time.
const SCRATCH_BYTES: usize = 16 << 10;

/// The bytes of a compressor's tables that do not depend on the window; measured, see the tests.
const STATE_BYTES: usize = 249_000;
/// The bytes for each byte of the window: the window twice, and two bytes for each place in it.
const BYTES_PER_WINDOW_BYTE: usize = 4;

thread_local! {
    /// The output buffer of this thread.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The compressed message would not be smaller than its payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotSmaller;

/// A compressor with its context.
#[derive(Debug)]
pub(crate) struct Deflater {
    codec: Codec,
    level: CompressionLevel,
    window: WindowBits,
    /// Whether all input has been flushed.
    flushed: bool,
}

enum Codec {
    General(Compress),
    HuffmanOnly(zlib_rs::Deflate),
}

impl Deflater {
    pub(crate) fn new(level: CompressionLevel, window: WindowBits) -> Self {
        let codec = if level == CompressionLevel::HUFFMAN_ONLY {
            let mut config = zlib_rs::DeflateConfig::new(level.value().max(1));
            config.strategy = Strategy::HuffmanOnly;
            // Negative: without zlib's header.
            config.window_bits = -i32::from(window.value());
            Codec::HuffmanOnly(zlib_rs::Deflate::new_with_config(config))
        } else {
            let level = u32::try_from(level.value()).map_or(Compression::default(), Compression::new);
            Codec::General(Compress::new_with_window_bits(level, false, window.value()))
        };
        Self { codec, level, window, flushed: true }
    }

    pub(crate) fn is_of(&self, level: CompressionLevel, window: WindowBits) -> bool {
        (self.level, self.window) == (level, window)
    }

    /// Returns the number of bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        deflater_bytes(self.window)
    }

    /// Drops the context, including the input of an unfinished message.
    pub(crate) fn reset(&mut self) {
        // At level 1 the codec would keep an unfinished block open, and the next block would lack its header.
        if !self.flushed && !self.flush() {
            *self = Self::new(self.level, self.window);
            return;
        }
        match &mut self.codec {
            Codec::General(codec) => codec.reset(),
            Codec::HuffmanOnly(codec) => codec.reset(),
        }
    }

    /// Ends the open block and drops the output; false if the codec fails.
    fn flush(&mut self) -> bool {
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_BYTES, 0);
        let flushed = loop {
            match self.codec.step(&[], &mut scratch, true) {
                Some((_, made)) if made == scratch.len() => {}
                step => break step.is_some(),
            }
        };
        SCRATCH.set(scratch);
        self.flushed = flushed;
        flushed
    }

    /// Appends a whole compressed message to `out`. On [`NotSmaller`] reset the context.
    pub(crate) fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NotSmaller> {
        self.push(payload, true, out, payload.len())
    }

    /// Appends the output for a piece of a message to `out`, which must stay below `bytes_max`. On [`NotSmaller`] reset
    /// the context.
    pub(crate) fn push(
        &mut self,
        mut piece: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), NotSmaller> {
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_BYTES, 0);
        self.flushed = false;
        let pushed = loop {
            let Some((taken, made)) = self.codec.step(piece, &mut scratch, last) else { break Err(NotSmaller) };
            piece = &piece[taken..];
            // The tail can still be added and removed.
            if out.len() + made >= bytes_max.saturating_add(TAIL.len()) {
                break Err(NotSmaller);
            }
            out.extend_from_slice(&scratch[..made]);
            if piece.is_empty() && made < scratch.len() {
                break Ok(());
            }
        };
        SCRATCH.set(scratch);
        if pushed.is_ok() && last {
            if !out.ends_with(TAIL) {
                return Err(NotSmaller);
            }
            out.truncate(out.len() - TAIL.len());
            self.flushed = true;
        }
        pushed
    }
}

impl Codec {
    /// Returns the bytes taken and the bytes made; `None` if the codec fails, which it has no reason to.
    fn step(&mut self, input: &[u8], output: &mut [u8], flush: bool) -> Option<(usize, usize)> {
        match self {
            Self::General(codec) => {
                let (in_before, out_before) = (codec.total_in(), codec.total_out());
                let flush = if flush { FlushCompress::Sync } else { FlushCompress::None };
                codec.compress(input, output, flush).ok()?;
                Some(((codec.total_in() - in_before) as usize, (codec.total_out() - out_before) as usize))
            }
            Self::HuffmanOnly(codec) => {
                let (in_before, out_before) = (codec.total_in(), codec.total_out());
                let flush = if flush { DeflateFlush::SyncFlush } else { DeflateFlush::NoFlush };
                codec.compress(input, output, flush).ok()?;
                Some(((codec.total_in() - in_before) as usize, (codec.total_out() - out_before) as usize))
            }
        }
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::General(_) => "General",
            Self::HuffmanOnly(_) => "HuffmanOnly",
        })
    }
}

/// Returns the bytes of a deflater's state.
pub(crate) const fn deflater_bytes(window: WindowBits) -> usize {
    STATE_BYTES + (BYTES_PER_WINDOW_BYTE << window.value())
}
