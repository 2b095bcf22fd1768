//! Inflates compressed messages (RFC 7692 section 7.2.2), a slice at a time.
//!
//! Owned by [`Protocol`](crate::protocol::Protocol), which bounds the payload while it is inflated: no memory is
//! allocated for payload beyond the limit. Holds the window and nothing of the message.

use std::cell::Cell;

use flate2::{Decompress, FlushDecompress, Status};

use super::{SLICE_BYTES, WindowBits};
use crate::protocol_error::ProtocolError;

/// The end of every compressed message, which is not sent (RFC 7692 section 7.2.2).
const TAIL: &[u8] = &[0x00, 0x00, 0xFF, 0xFF];

/// The bytes of payload at a time: they stay in the processor's cache until they are copied.
const SCRATCH_BYTES: usize = 16 << 10;

/// The bytes that the frames of a compressed message can have beyond nine eighths of its limit: peers that flush often
/// send more than the payload.
const FRAMES_OVERHEAD_BYTES: u64 = 4096;

/// The bytes of an inflater with any window, because the codec makes room for the largest. Measured, see the tests.
pub(crate) const INFLATER_BYTES: usize = 47_700;

thread_local! {
    /// The output buffer of this thread.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A part of the payload, and whether it is likely to be the last.
pub(crate) struct Inflated<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_end: bool,
}

/// Inflates the peer's compressed messages.
#[derive(Debug)]
pub(crate) struct Inflater {
    state: Decompress,
    window: WindowBits,
    /// Whether anything has arrived since the message began, or since a final block ended the stream inside of it: then
    /// the tail has to be added at the end.
    tail_missing: bool,
    /// The bytes of the message's frames, with all that the last header claims.
    frames_bytes: u64,
    /// The bytes of payload inflated so far.
    payload_bytes: u64,
    /// The bytes of payload in the current slice.
    slice_bytes: usize,
}

impl Inflater {
    pub(crate) fn new(window: WindowBits) -> Self {
        let state = Decompress::new_with_window_bits(false, window.value());
        Self { state, window, tail_missing: false, frames_bytes: 0, payload_bytes: 0, slice_bytes: 0 }
    }

    pub(crate) fn window(&self) -> WindowBits {
        self.window
    }

    /// Begins a message, which can refer to the context.
    pub(crate) fn begin_message(&mut self) {
        (self.frames_bytes, self.payload_bytes, self.tail_missing) = (0, 0, false);
    }

    /// Drops the context.
    pub(crate) fn reset(&mut self) {
        self.state.reset(false);
    }

    /// Begins a frame of the message. Blocks can be empty, so bounding the payload is not enough.
    ///
    /// # Errors
    /// [`ProtocolError::MessageTooBig`] if the frames are longer than the longest run of blocks that a message within
    /// the limit needs.
    pub(crate) fn begin_frame(&mut self, payload_len: u64, message_bytes_max: u64) -> Result<(), ProtocolError> {
        self.frames_bytes = self.frames_bytes.saturating_add(payload_len);
        let overhead = message_bytes_max / 8 + FRAMES_OVERHEAD_BYTES;
        if self.frames_bytes > message_bytes_max.saturating_add(overhead) {
            return Err(ProtocolError::MessageTooBig { message_bytes: self.frames_bytes, message_bytes_max });
        }
        Ok(())
    }

    /// Inflates a piece of the message, with the tail if it is the last. `keep` gets all payload, in order.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidDeflate`], [`ProtocolError::MessageTooBig`] before `keep` gets payload beyond the limit,
    /// and the errors of `keep`. The first violation in the order of the payload counts, wherever the input was cut:
    /// `keep` gets the payload before an error first.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        last: bool,
        message_bytes_max: u64,
        keep: &mut impl FnMut(Inflated<'_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let mut scratch = SCRATCH.take();
        scratch.resize(SCRATCH_BYTES, 0);
        let mut keep_bounded = |message_bytes: u64, inflated: Inflated<'_>| {
            if message_bytes > message_bytes_max {
                let excess = usize::try_from(message_bytes - message_bytes_max).unwrap_or(usize::MAX);
                let allowed = inflated.bytes.len().saturating_sub(excess);
                keep(Inflated { bytes: &inflated.bytes[..allowed], is_end: false })?;
                return Err(ProtocolError::MessageTooBig { message_bytes, message_bytes_max });
            }
            keep(inflated)
        };
        let mut pushed = self.inflate(piece, last, &mut scratch, &mut keep_bounded);
        if pushed.is_ok() && last && self.tail_missing {
            pushed = self.inflate(TAIL, last, &mut scratch, &mut keep_bounded);
        }
        SCRATCH.set(scratch);
        pushed
    }

    fn inflate(
        &mut self,
        mut input: &[u8],
        last: bool,
        scratch: &mut [u8],
        keep: &mut impl FnMut(u64, Inflated<'_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        self.tail_missing |= !input.is_empty();
        while !input.is_empty() {
            // A full scratch means that there is more output, even after all input was taken.
            loop {
                let (in_before, out_before) = (self.state.total_in(), self.state.total_out());
                let inflated = self.state.decompress(input, scratch, FlushDecompress::Sync);
                let taken = (self.state.total_in() - in_before) as usize;
                let made = (self.state.total_out() - out_before) as usize;
                input = &input[taken..];
                self.payload_bytes += made as u64;
                self.slice_bytes += made;
                if made > 0 {
                    let is_end = last && input.is_empty() && made < scratch.len();
                    keep(self.payload_bytes, Inflated { bytes: &scratch[..made], is_end })?;
                }
                let status = inflated.map_err(|_| ProtocolError::InvalidDeflate)?;
                if status == Status::StreamEnd {
                    // A final block (RFC 7692 section 7.2.3.4): a new stream follows.
                    self.state.reset(false);
                    self.tail_missing = !input.is_empty();
                    break;
                }
                if made < scratch.len() {
                    if taken == 0 && made == 0 && !input.is_empty() {
                        return Err(ProtocolError::InvalidDeflate);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns whether the current slice is full, and then begins another.
    pub(crate) fn take_slice(&mut self) -> bool {
        let is_full = self.slice_bytes >= SLICE_BYTES;
        if is_full {
            self.slice_bytes = 0;
        }
        is_full
    }
}
