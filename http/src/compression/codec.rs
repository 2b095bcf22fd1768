//! Compressors, behind one interface, and the thread's pool of them.
//!
//! A compressor has tables of some hundred kilobytes, so those that have finished their content are kept for the next
//! one. Others are dropped: a reset in the middle of content is not reliable.

use std::cell::RefCell;
use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::content_coding::Coding;

/// Levels at which a response costs little more than its transfer saves, also for content that is made per request.
const DEFLATE_LEVEL: u32 = 2;
/// The level for short content. For 4 KB of JSON it takes 0.6 of the time, and 1.5 times the bytes, which still are one
/// packet.
const DEFLATE_LEVEL_OF_SHORT: u32 = 1;
#[cfg(feature = "compression-brotli")]
const BROTLI_QUALITY: i32 = 4;
#[cfg(feature = "compression-zstd")]
const ZSTD_LEVEL: i32 = 2;

/// Logarithms of the windows: 256 KiB bound the memory of one response. RFC 8878 section 3.1.1.1.2 asks decoders for 8
/// MiB.
#[cfg(feature = "compression-brotli")]
const BROTLI_WINDOW: i32 = 18;
#[cfg(feature = "compression-zstd")]
const ZSTD_WINDOW: u32 = 18;

/// Maximum compressors of each coding and length that a thread keeps.
const KEPT_MAX: usize = 4;

/// The length of content, as far as it matters for the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// Whole, and up to [`SHORT_BYTES_MAX`].
    Short,
    /// Longer, or not known.
    Long,
}

/// Maximum bytes of content that counts as short.
const SHORT_BYTES_MAX: usize = 8 * 1024;

impl Length {
    /// Returns the length of whole content.
    pub(super) fn of(content: &[u8]) -> Length {
        if content.len() <= SHORT_BYTES_MAX { Length::Short } else { Length::Long }
    }
}

/// What is done after the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// More follows, and output can wait for it.
    Continue,
    /// Everything so far can be decompressed from the output.
    Flush,
    /// The content is complete.
    Finish,
}

/// The compressor of one response.
pub(super) struct Encoder {
    coding: Coding,
    length: Length,
    codec: Codec,
}

enum Codec {
    Deflate(Compress),
    #[cfg(feature = "compression-brotli")]
    Brotli(Box<BrotliState>),
    #[cfg(feature = "compression-zstd")]
    Zstd(zstd::stream::raw::Encoder<'static>),
}

#[cfg(feature = "compression-brotli")]
type BrotliState = brotli::enc::encode::BrotliEncoderStateStruct<brotli::enc::StandardAlloc>;

thread_local! {
    static KEPT: RefCell<Vec<Encoder>> = const { RefCell::new(Vec::new()) };
}

/// Returns whether this build can compress with a coding.
pub(super) fn is_available(coding: Coding) -> bool {
    match coding {
        Coding::Gzip | Coding::Deflate => true,
        Coding::Brotli => cfg!(feature = "compression-brotli"),
        Coding::Zstd => cfg!(feature = "compression-zstd"),
    }
}

impl Encoder {
    /// Takes a compressor. The coding must be [available](is_available).
    ///
    /// # Errors
    /// If there is no memory for it.
    pub(super) fn take(coding: Coding, length: Length) -> io::Result<Encoder> {
        let kept = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let at = kept.iter().rposition(|encoder| encoder.coding == coding && encoder.length == length)?;
            Some(kept.swap_remove(at))
        });
        match kept.ok().flatten() {
            Some(encoder) => Ok(encoder),
            None => Ok(Encoder { coding, length, codec: Codec::new(coding, length)? }),
        }
    }

    /// Compresses all of the input, and appends what comes out.
    ///
    /// # Errors
    /// Those of the compressor. The content cannot be completed.
    pub(super) fn write(&mut self, input: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.codec {
            Codec::Deflate(compress) => deflate(compress, input, then, out),
            #[cfg(feature = "compression-brotli")]
            Codec::Brotli(state) => compress_brotli(state, input, then, out),
            #[cfg(feature = "compression-zstd")]
            Codec::Zstd(encoder) => compress_zstd(encoder, input, then, out),
        }
    }

    /// Keeps a compressor whose content is finished for another response of this thread.
    pub(super) fn give_back(mut self) {
        match &mut self.codec {
            Codec::Deflate(compress) => compress.reset(),
            // It cannot be reset.
            #[cfg(feature = "compression-brotli")]
            Codec::Brotli(_) => return,
            #[cfg(feature = "compression-zstd")]
            Codec::Zstd(encoder) => {
                if zstd::stream::raw::Operation::reinit(encoder).is_err() {
                    return;
                }
            }
        }
        // Fails only while the thread is ending.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            let is_same = |encoder: &&Encoder| encoder.coding == self.coding && encoder.length == self.length;
            if kept.iter().filter(is_same).count() < KEPT_MAX {
                kept.push(self);
            }
        });
    }
}

impl Codec {
    fn new(coding: Coding, length: Length) -> io::Result<Codec> {
        let level = match length {
            Length::Short => Compression::new(DEFLATE_LEVEL_OF_SHORT),
            Length::Long => Compression::new(DEFLATE_LEVEL),
        };
        match coding {
            Coding::Gzip => Ok(Codec::Deflate(Compress::new_gzip(level, 15))),
            // The coding `deflate` is the zlib format (RFC 9110 section 8.4.1.2).
            Coding::Deflate => Ok(Codec::Deflate(Compress::new(level, true))),
            #[cfg(feature = "compression-brotli")]
            Coding::Brotli => {
                let mut state = Box::new(BrotliState::new(brotli::enc::StandardAlloc::default()));
                state.params.quality = BROTLI_QUALITY;
                state.params.lgwin = BROTLI_WINDOW;
                Ok(Codec::Brotli(state))
            }
            #[cfg(feature = "compression-zstd")]
            Coding::Zstd => {
                let mut encoder = zstd::stream::raw::Encoder::new(ZSTD_LEVEL)?;
                encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(ZSTD_WINDOW))?;
                Ok(Codec::Zstd(encoder))
            }
            #[cfg(not(all(feature = "compression-brotli", feature = "compression-zstd")))]
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn deflate(compress: &mut Compress, mut input: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
    let flush = match then {
        Then::Continue => FlushCompress::None,
        Then::Flush => FlushCompress::Sync,
        Then::Finish => FlushCompress::Finish,
    };
    loop {
        out.reserve(OUTPUT_BYTES.max(input.len() / 4));
        let (before, room) = (compress.total_in(), out.capacity() - out.len());
        let status = compress.compress_vec(input, out, flush).map_err(io::Error::other)?;
        input = &input[(compress.total_in() - before) as usize..];
        let has_room = out.len() < out.capacity();
        match status {
            Status::StreamEnd => return Ok(()),
            // A flush is complete when it leaves room, and so is a call that had nothing to do.
            _ if then != Then::Finish && input.is_empty() && has_room => return Ok(()),
            Status::BufError if room >= OUTPUT_BYTES && has_room => {
                return Err(io::Error::other("the compressor makes no progress"));
            }
            _ => {}
        }
    }
}

/// Room for output of one step.
const OUTPUT_BYTES: usize = 1024;

/// Memory for the output of one step of the codecs that do not append.
#[cfg(any(feature = "compression-brotli", feature = "compression-zstd"))]
const SCRATCH_BYTES: usize = 4096;

#[cfg(feature = "compression-brotli")]
fn compress_brotli(state: &mut BrotliState, input: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
    use brotli::enc::encode::BrotliEncoderOperation as Operation;
    let operation = match then {
        Then::Continue => Operation::BROTLI_OPERATION_PROCESS,
        Then::Flush => Operation::BROTLI_OPERATION_FLUSH,
        Then::Finish => Operation::BROTLI_OPERATION_FINISH,
    };
    let (mut left, mut taken) = (input.len(), 0);
    let mut scratch = [0; SCRATCH_BYTES];
    loop {
        let (mut room, mut made) = (scratch.len(), 0);
        let done = state.compress_stream(
            operation,
            &mut left,
            input,
            &mut taken,
            &mut room,
            &mut scratch,
            &mut made,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !done {
            return Err(io::Error::other("brotli failed"));
        }
        out.extend_from_slice(&scratch[..made]);
        let complete = match then {
            Then::Continue | Then::Flush => left == 0 && !state.has_more_output(),
            Then::Finish => state.is_finished(),
        };
        if complete {
            return Ok(());
        }
    }
}

#[cfg(feature = "compression-zstd")]
fn compress_zstd(
    encoder: &mut zstd::stream::raw::Encoder<'static>,
    input: &[u8],
    then: Then,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
    let mut input = InBuffer::around(input);
    let mut scratch = [0; SCRATCH_BYTES];
    loop {
        let mut output = OutBuffer::around(&mut scratch[..]);
        let left = if input.pos() < input.src.len() {
            encoder.run(&mut input, &mut output)?;
            1
        } else {
            match then {
                Then::Continue => 0,
                Then::Flush => encoder.flush(&mut output)?,
                Then::Finish => encoder.finish(&mut output, false)?,
            }
        };
        out.extend_from_slice(output.as_slice());
        if left == 0 {
            return Ok(());
        }
    }
}
