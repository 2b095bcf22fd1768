//! Inflates compressed messages (RFC 7692 section 7.2.2), a slice at a time.
//!
//! Owned by [`Protocol`](crate::protocol::Protocol), which bounds the payload while it is inflated: no memory is
//! allocated for payload beyond the limit. Holds the window and nothing of the message.

use std::cell::Cell;

use super::decoder::{Decoder, Output, Stop, Tables};
use super::{SLICE_BYTES, WindowBits};
use crate::protocol_error::ProtocolError;

/// The end of every compressed message, which is not sent (RFC 7692 section 7.2.2).
const TAIL: &[u8] = &[0x00, 0x00, 0xFF, 0xFF];

/// The bytes of payload at a time: they stay in the processor's cache until they are copied.
const SCRATCH_BYTES: usize = 16 << 10;

/// The bytes that the frames of a compressed message can have beyond nine eighths of its limit: peers that flush often
/// send more than the payload.
const FRAMES_OVERHEAD_BYTES: u64 = 4096;

thread_local! {
    /// What the inflaters of this thread share.
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { output: Vec::new(), tables: None }) };
}

/// What is needed only while a piece is inflated.
#[derive(Debug, Default)]
struct Scratch {
    output: Vec<u8>,
    /// `None` while a message that arrives in pieces holds them.
    tables: Option<Box<Tables>>,
}

/// A part of the payload, and whether it is likely to be the last.
pub(crate) struct Inflated<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_end: bool,
}

/// Inflates the peer's compressed messages.
#[derive(Debug)]
pub(crate) struct Inflater {
    decoder: Decoder,
    window: WindowBits,
    /// Whether later messages can refer to the current one.
    takeover: bool,
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

/// Returns the most bytes that an inflater holds, itself included.
pub(crate) const fn inflater_bytes_max(window: WindowBits) -> usize {
    size_of::<Inflater>() + Decoder::held_bytes_max(window.value())
}

impl Inflater {
    pub(crate) fn new(window: WindowBits) -> Self {
        Self {
            decoder: Decoder::new(window.value()),
            window,
            takeover: true,
            tail_missing: false,
            frames_bytes: 0,
            payload_bytes: 0,
            slice_bytes: 0,
        }
    }

    pub(crate) fn window(&self) -> WindowBits {
        self.window
    }

    /// Returns the number of bytes held, itself included.
    pub(crate) fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.decoder.held_bytes()
    }

    /// Begins a message, which can refer to the context. With `takeover` later messages can refer to it; without, reset
    /// the inflater after it.
    pub(crate) fn begin_message(&mut self, takeover: bool) {
        (self.frames_bytes, self.payload_bytes, self.tail_missing) = (0, 0, false);
        self.takeover = takeover;
    }

    /// Drops the context.
    pub(crate) fn reset(&mut self) {
        self.decoder.restart();
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
        scratch.output.resize(SCRATCH_BYTES, 0);
        let mut tables = self.decoder.take_tables(&mut scratch.tables);
        let mut out = Output { bytes: &mut scratch.output, len: 0 };
        let pushed = self.inflate(piece, last, &mut out, &mut tables, &mut |payload_bytes, inflated| {
            let excess = payload_bytes.saturating_sub(message_bytes_max);
            if excess > 0 {
                let excess = usize::try_from(excess).unwrap_or(usize::MAX);
                let allowed = inflated.bytes.len().saturating_sub(excess);
                keep(Inflated { bytes: &inflated.bytes[..allowed], is_end: false })?;
                return Err(ProtocolError::MessageTooBig { message_bytes: payload_bytes, message_bytes_max });
            }
            keep(inflated)
        });
        self.decoder.return_tables(tables, &mut scratch.tables);
        SCRATCH.set(scratch);
        pushed
    }

    fn inflate(
        &mut self,
        mut input: &[u8],
        last: bool,
        out: &mut Output<'_>,
        tables: &mut Tables,
        keep: &mut impl FnMut(u64, Inflated<'_>) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        self.tail_missing |= !input.is_empty();
        let mut tail_added = false;
        loop {
            let stop = self.decoder.decode(&mut input, out, tables);
            if stop == Stop::InputNeeded && last && self.tail_missing && !tail_added {
                input = TAIL;
                tail_added = true;
                continue;
            }
            let is_done = stop == Stop::InputNeeded;
            if out.len > 0 {
                self.payload_bytes += out.len as u64;
                self.slice_bytes += out.len;
                keep(self.payload_bytes, Inflated { bytes: out.filled(), is_end: is_done && last })?;
            }
            match stop {
                Stop::InputNeeded | Stop::OutputFull => {
                    if self.takeover || !(is_done && last) {
                        self.decoder.remember(out.filled());
                    }
                }
                Stop::StreamEnd => {
                    // A final block (RFC 7692 section 7.2.3.4): a new stream follows.
                    self.decoder.restart();
                    self.tail_missing = !input.is_empty();
                }
                Stop::Invalid => return Err(ProtocolError::InvalidDeflate),
            }
            if is_done {
                return Ok(());
            }
            out.len = 0;
        }
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
