//! Receiving compressed messages (RFC 7692 section 7.2.2).
//!
//! A compressed message is taken in small steps, so that one step makes no more than about a megabyte of payload, and
//! after every slice of payload its reader is given a place to let others work.

use std::mem;

use super::cold_input::ColdInput;
use super::{Incoming, Protocol};
use crate::deflate::Inflater;
use crate::message::MessageKind;
use crate::opcode::ReservedBits;
use crate::protocol::event::Event;
use crate::protocol_error::ProtocolError;

/// Bytes of compressed input that are taken in one step: at a thousand bytes made of each, the most there can be, that is
/// about a megabyte of payload.
const INPUT_BYTES_MAX: usize = 1024;

/// The inflater of the open message, if that is compressed.
#[inline]
pub(super) fn inflater(cold: &mut Option<Box<ColdInput>>) -> Option<&mut Inflater> {
    cold.as_mut()?.inflation.as_mut()?.open()
}

impl Protocol {
    /// Is a message compressed whose first frame has these bits?
    #[inline]
    pub(super) fn is_compressed(&self, bits: ReservedBits) -> bool {
        bits.contains(ReservedBits::RSV1) && self.cold.as_ref().is_some_and(|cold| cold.inflation.is_some())
    }

    /// How much input one step may take: what begins a frame may begin a compressed message.
    #[inline]
    pub(super) fn input_bytes_max(&self) -> usize {
        match self.cold.as_ref().and_then(|cold| cold.inflation.as_ref()) {
            Some(inflation) if inflation.is_open() || self.frames.is_between_frames() => INPUT_BYTES_MAX,
            _ => usize::MAX,
        }
    }

    pub(super) fn begin_inflating(&mut self) {
        if let Some(inflation) = self.cold.as_mut().and_then(|cold| cold.inflation.as_mut()) {
            inflation.begin_message();
        }
    }

    /// Has enough been inflated that others should have a turn? Then it counts anew.
    #[inline]
    pub(super) fn take_slice(&mut self) -> bool {
        inflater(&mut self.cold).is_some_and(Inflater::take_slice)
    }

    /// A piece of an open message that is compressed.
    pub(super) fn inflate_piece(&mut self, piece: &[u8], last: bool) -> Result<Option<Event>, ProtocolError> {
        let message_bytes_max = self.message_bytes_max;
        let Some(inflater) = inflater(&mut self.cold) else { return Ok(None) };
        match &mut self.incoming {
            Incoming::Assembling { assembler, .. } => {
                inflater.push(piece, last, message_bytes_max, &mut |inflated| {
                    assembler.push(inflated.bytes, inflated.is_end.then_some(0))
                })?;
                if !last {
                    return Ok(None);
                }
                self.end_inflating();
                self.finish_assembling()
            }
            Incoming::Streaming { kind, validator, begun, .. } => {
                let kind = *kind;
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
                    self.end_inflating();
                    self.incoming = Incoming::Between;
                }
                Ok(Some(Event::Inflated { kind, bytes: payload.into(), first, last }))
            }
            Incoming::Between | Incoming::Ended => Ok(None),
        }
    }

    fn end_inflating(&mut self) {
        if let Some(inflation) = self.cold.as_mut().and_then(|cold| cold.inflation.as_mut()) {
            inflation.end_message();
        }
    }
}
