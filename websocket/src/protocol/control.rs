//! Receiving control frames: whole, or assembled when they arrive in part (RFC 6455 section 5.5).

use std::ops::Range;

use bytes::Bytes;

use super::Protocol;
use super::event::{ControlPayload, Event};
use crate::close::CloseFrame;
use crate::frame::{FrameHeader, Piece};
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use crate::opcode::Opcode;
use crate::protocol_error::ProtocolError;

impl Protocol {
    /// Handles a piece of a control frame, nearly always the whole frame.
    pub(super) fn control_piece(
        &mut self,
        piece: &Piece,
        input: &[u8],
        range: Range<usize>,
    ) -> Result<Option<Event>, ProtocolError> {
        if piece.remaining_bytes == 0 && !self.is_control_cut() {
            return self.control_event(&piece.header, ControlPayload::InPlace(range), input);
        }
        match self.assemble_control(&input[range], piece.remaining_bytes) {
            Some(payload) => self.control_event(&piece.header, ControlPayload::Assembled(payload), input),
            None => Ok(None),
        }
    }

    /// Returns the event of a whole control frame.
    fn control_event(
        &mut self,
        header: &FrameHeader,
        payload: ControlPayload,
        input: &[u8],
    ) -> Result<Option<Event>, ProtocolError> {
        Ok(Some(match header.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => {
                let close = CloseFrame::parse(payload.bytes(input))?;
                self.end();
                Event::Close(close)
            }
            opcode => {
                let reserved_bits = header.reserved_bits;
                Event::ReservedControl { opcode, reserved_bits, payload }
            }
        }))
    }

    /// Returns whether a control frame has arrived in part.
    fn is_control_cut(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.cut_control.is_some())
    }

    /// Takes a piece of a control frame, and returns the payload once it is complete.
    fn assemble_control(&mut self, piece: &[u8], remaining_bytes: u64) -> Option<Bytes> {
        let cold = self.cold.get_or_insert_default();
        let cut = cold.cut_control.get_or_insert_default();
        cut.push(piece);
        if remaining_bytes > 0 {
            return None;
        }
        let payload = Bytes::copy_from_slice(cut.bytes());
        cold.cut_control = None;
        Some(payload)
    }
}

/// The received part of a control frame's payload.
#[derive(Debug)]
pub(crate) struct CutPayload {
    bytes: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    len: usize,
}

impl Default for CutPayload {
    fn default() -> Self {
        Self { bytes: [0; CONTROL_PAYLOAD_BYTES_MAX], len: 0 }
    }
}

impl CutPayload {
    /// Appends a piece. The header of a longer frame was refused, so all pieces fit.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        for (place, byte) in self.bytes[self.len..].iter_mut().zip(piece) {
            *place = *byte;
        }
        self.len = (self.len + piece.len()).min(CONTROL_PAYLOAD_BYTES_MAX);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
