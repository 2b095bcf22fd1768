//! Receiving compressed messages (RFC 7692 section 7.2.2).
//!
//! A compressed message is inflated in small steps of at most about a megabyte of payload each. After every slice of
//! payload the reader can let other connections work.

use std::mem;

use super::cold_input::ColdInput;
use super::{Incoming, Protocol};
use crate::deflate::{Inflater, Inflation};
use crate::frame::mask::MaskingKey;
use crate::message::MessageKind;
use crate::protocol::event::Event;
use crate::protocol_error::ProtocolError;
use crate::reserved_bits::ReservedBits;

/// Maximum compressed bytes inflated in one step. Each can expand to about a thousand bytes, so a step makes at most
/// about a megabyte.
const INPUT_BYTES_MAX: usize = 1024;

impl Protocol {
    /// Returns whether a message whose first frame has these bits is compressed.
    #[inline]
    pub(super) fn is_compressed(&self, bits: ReservedBits) -> bool {
        bits.contains(ReservedBits::RSV1) && self.cold.as_ref().is_some_and(|cold| cold.inflation.is_some())
    }

    /// Returns the maximum input of one step. The start of a frame can be the start of a compressed message.
    #[inline]
    pub(super) fn input_bytes_max(&self) -> usize {
        let Some(cold) = &self.cold else { return usize::MAX };
        match &cold.inflation {
            Some(inflation) if inflation.is_open() || cold.place.is_between_frames() => INPUT_BYTES_MAX,
            _ => usize::MAX,
        }
    }

    pub(super) fn begin_inflating(&mut self) {
        if let Some(inflation) = self.cold.as_mut().and_then(|cold| cold.inflation.as_mut()) {
            inflation.begin_message();
        }
    }

    /// Returns whether a slice has been inflated, and if so restarts the count.
    #[inline]
    pub(super) fn take_slice(&mut self) -> bool {
        self.cold.as_mut().and_then(|cold| cold.inflater()).is_some_and(Inflater::take_slice)
    }

    /// Handles a piece of the open message, which is compressed.
    pub(super) fn inflate_piece(&mut self, piece: &[u8], last: bool) -> Result<Option<Event>, ProtocolError> {
        let message_bytes_max = self.message_bytes_max;
        let Some(cold) = &mut self.cold else { return Ok(None) };
        let ColdInput { incoming, inflation, .. } = &mut **cold;
        let Some(inflater) = inflation.as_mut().and_then(Inflation::open) else { return Ok(None) };
        match incoming {
            Incoming::Assembling { assembler, .. } => {
                inflater.push(piece, last, message_bytes_max, &mut |inflated| {
                    assembler.push(MaskingKey::NONE, inflated.bytes, inflated.is_end.then_some(0))
                })?;
                if !last {
                    return Ok(None);
                }
                self.end_inflating();
                self.finish_assembling()
            }
            Incoming::Streaming { kind, validator, begun, reserved_bits, .. } => {
                let (kind, reserved_bits) = (*kind, *reserved_bits);
                let mut payload = Vec::new();
                inflater.push(piece, last, message_bytes_max, &mut |inflated| {
                    if kind == MessageKind::Text {
                        validator.push(inflated.bytes).map_err(|_| ProtocolError::InvalidUtf8)?;
                    }
                    payload.extend_from_slice(inflated.bytes);
                    Ok(())
                })?;
                if last && kind == MessageKind::Text && !validator.is_complete() {
                    return Err(ProtocolError::InvalidUtf8);
                }
                if payload.is_empty() && !last {
                    return Ok(None);
                }
                let first = !mem::replace(begun, true);
                if last {
                    *incoming = Incoming::Between;
                    self.end_inflating();
                }
                Ok(Some(Event::Inflated { kind, reserved_bits, bytes: payload.into(), first, last }))
            }
            Incoming::Between => Ok(None),
        }
    }

    fn end_inflating(&mut self) {
        if let Some(inflation) = self.cold.as_mut().and_then(|cold| cold.inflation.as_mut()) {
            inflation.end_message();
        }
    }
}
