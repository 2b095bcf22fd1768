//! Decodes bytes into frames: headers that are cut anywhere, and payload in pieces as it arrives.
//!
//! Used by [`Protocol`](crate::protocol::Protocol) and by code that needs single frames. Holds at most one header and
//! no payload. Invariant: [`FrameDecoder::decode`] consumes everything that it does not report as a piece.

use std::ops::Range;

use super::{FrameHeader, FrameRules};
use crate::frame::mask::{MaskingKey, apply_mask};
use crate::limits::FRAME_HEADER_BYTES_MAX;
use crate::protocol_error::ProtocolError;

/// Decodes the peer's frames one after another and unmasks their payload in place.
///
/// ```
/// use tidegate_websocket::{Opcode, protocol::{FrameDecoder, FrameRules, Role}};
/// let mut packet = *b"\x81\x02hi\x89\x00"; // from a server: a text frame and a ping
/// let mut decoder = FrameDecoder::new(FrameRules::new(Role::Client));
/// let mut rest = &mut packet[..];
/// let mut opcodes = Vec::new();
/// while !rest.is_empty() {
///     let decoded = decoder.decode(rest)?;
///     opcodes.extend(decoded.piece.map(|piece| piece.header.opcode));
///     rest = &mut rest[decoded.consumed..];
/// }
/// assert_eq!(opcodes, [Opcode::Text, Opcode::Ping]);
/// # Ok::<(), tidegate_websocket::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct FrameDecoder {
    rules: FrameRules,
    place: FramePlace,
}

/// A step of decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decoded {
    /// The consumed bytes of the input, including the piece. At least one unless the input was empty.
    pub consumed: usize,
    /// The piece in them; `None` when they end inside a header: then all of the input was consumed.
    pub piece: Option<Piece>,
}

/// A part of a frame's payload, or all of it. The first piece comes with the header, even before any payload has
/// arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The header of the piece's frame.
    pub header: FrameHeader,
    /// The place of the unmasked piece in the input.
    pub range: Range<usize>,
    /// Whether this is the first piece of the frame.
    pub first: bool,
    /// The bytes of the frame's payload that follow this piece.
    pub remaining_bytes: u64,
}

impl Piece {
    /// Unmasks the piece in `input`, once.
    #[inline]
    pub(crate) fn unmask(&self, input: &mut [u8]) {
        if let Some(key) = self.header.masking_key {
            apply_mask(key, &mut input[self.range.clone()]);
        }
    }
}

/// The place in the peer's frames up to which they have arrived: a decoder without its rules, for owners that keep both
/// apart.
#[derive(Debug, Default)]
pub(crate) enum FramePlace {
    /// Nothing of the next frame has arrived.
    #[default]
    Between,
    /// Inside a header, whose first `len` bytes are held.
    Header { held: [u8; FRAME_HEADER_BYTES_MAX], len: u8 },
    /// Inside a payload. The masking key of the header is rotated to the next byte.
    Payload { header: FrameHeader, remaining_bytes: u64 },
}

impl FrameDecoder {
    /// Returns a decoder at the start of the peer's first frame.
    #[must_use]
    pub const fn new(rules: FrameRules) -> Self {
        Self { rules, place: FramePlace::Between }
    }

    /// Returns the rules in force.
    pub const fn rules(&self) -> &FrameRules {
        &self.rules
    }

    /// Returns whether the decoder is at the start of a frame.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        self.place.is_between_frames()
    }

    /// Decodes up to the next piece or the end of `input`, and unmasks the piece in place. Call it again with the rest
    /// of the input. After an error the decoder must not be used again.
    ///
    /// # Errors
    /// Every variant of [`ProtocolError`] that is about the header of one frame.
    #[inline]
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Decoded, ProtocolError> {
        let decoded = self.place.decode_masked(&self.rules, input)?;
        if let Some(piece) = &decoded.piece {
            piece.unmask(input);
        }
        Ok(decoded)
    }
}

impl FramePlace {
    /// Returns whether this is the start of a frame.
    #[inline]
    pub(crate) const fn is_between_frames(&self) -> bool {
        matches!(self, Self::Between)
    }

    /// Returns the bytes of the open data frame that are still to arrive; 0 when none is open.
    pub(crate) fn remaining_data_bytes(&self) -> u64 {
        match self {
            Self::Payload { header, remaining_bytes } if !header.opcode.is_control() => *remaining_bytes,
            _ => 0,
        }
    }

    /// Returns whether the open frame is the last of its message.
    pub(crate) fn is_in_final_frame(&self) -> bool {
        matches!(self, Self::Payload { header, .. } if header.fin)
    }

    /// Passes over `len` bytes of the open payload that the caller has. Returns their piece, whose header has the key
    /// for the first of them. `None` if no payload is open.
    pub(crate) fn pass(&mut self, len: usize) -> Option<Piece> {
        let Self::Payload { header, remaining_bytes } = *self else { return None };
        self.take_payload(header, remaining_bytes, 0, len).piece
    }

    /// Decodes like [`FrameDecoder::decode`], but leaves the payload masked. The piece's header has the key for the
    /// first byte of the piece.
    #[inline]
    pub(crate) fn decode_masked(&mut self, rules: &FrameRules, input: &[u8]) -> Result<Decoded, ProtocolError> {
        match *self {
            Self::Between => match FrameHeader::parse(input, rules)? {
                Some((header, header_len)) => Ok(self.begin_payload(header, header_len, input)),
                None => self.hold_header(rules, [0; FRAME_HEADER_BYTES_MAX], 0, input),
            },
            Self::Header { held, len } => self.hold_header(rules, held, usize::from(len), input),
            Self::Payload { header, remaining_bytes } => Ok(self.take_payload(header, remaining_bytes, 0, input.len())),
        }
    }

    /// Starts a payload after a header that ends at `header_len` of the input.
    #[inline]
    fn begin_payload(&mut self, header: FrameHeader, header_len: usize, input: &[u8]) -> Decoded {
        let mut decoded = self.take_payload(header, header.payload_len, header_len, input.len());
        if let Some(piece) = &mut decoded.piece {
            piece.first = true;
        }
        decoded
    }

    /// Reports the payload from `start` to the end of the input. `header` holds the key for that place.
    #[inline]
    fn take_payload(&mut self, header: FrameHeader, remaining_bytes: u64, start: usize, input_len: usize) -> Decoded {
        let available = input_len - start;
        let len = usize::try_from(remaining_bytes).unwrap_or(usize::MAX).min(available);
        let range = start..start + len;
        let remaining_bytes = remaining_bytes - len as u64;
        *self = match remaining_bytes {
            0 => Self::Between,
            _ => Self::Payload { header: rotate_key(header, len), remaining_bytes },
        };
        let piece = Piece { header, range, first: false, remaining_bytes };
        Decoded { consumed: start + len, piece: Some(piece) }
    }

    /// Adds input to the `len` held bytes of a header, until it is complete.
    #[cold]
    fn hold_header(
        &mut self,
        rules: &FrameRules,
        mut held: [u8; FRAME_HEADER_BYTES_MAX],
        len: usize,
        input: &[u8],
    ) -> Result<Decoded, ProtocolError> {
        let taken = input.len().min(FRAME_HEADER_BYTES_MAX - len);
        held[len..len + taken].copy_from_slice(&input[..taken]);
        match FrameHeader::parse(&held[..len + taken], rules)? {
            Some((header, header_len)) => {
                // A shorter prefix was not a header, so the header ends inside this input.
                Ok(self.begin_payload(header, header_len.saturating_sub(len), input))
            }
            None => {
                *self = Self::Header { held, len: (len + taken) as u8 };
                Ok(Decoded { consumed: taken, piece: None })
            }
        }
    }
}

/// Returns the header with the masking key for the payload after `len` more bytes.
fn rotate_key(header: FrameHeader, len: usize) -> FrameHeader {
    let masking_key = header.masking_key.map(|key: MaskingKey| key.at_offset(len));
    FrameHeader { masking_key, ..header }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::opcode::Opcode;
    use crate::role::Role;

    fn decoded(decoder: &mut FrameDecoder, input: &mut [u8]) -> Decoded {
        decoder.decode(input).unwrap()
    }

    #[test]
    fn a_header_can_be_cut_anywhere_and_its_first_piece_can_be_empty() {
        let key = MaskingKey::new([9, 8, 7, 6]);
        let payload = [5; 70_000];
        let mut frame = Vec::new();
        Frame::binary(&payload).encode(Some(key), &mut frame);
        let header_len = frame.len() - payload.len();
        assert_eq!(header_len, FRAME_HEADER_BYTES_MAX);
        // Under miri the first and the last cut, because each takes seconds.
        let step = if cfg!(miri) { header_len - 1 } else { 1 };
        for cut in (1..=header_len).step_by(step) {
            let mut input = frame.clone();
            let (head, rest) = input.split_at_mut(cut);
            let mut decoder = FrameDecoder::new(FrameRules::new(Role::Server));
            assert!(decoder.is_between_frames());
            let first = decoded(&mut decoder, head);
            assert!(!decoder.is_between_frames());
            assert_eq!(first.consumed, cut);
            assert_eq!(first.piece.is_some(), cut == header_len);
            if let Some(piece) = first.piece {
                assert!(piece.first && piece.range.is_empty());
                assert_eq!(piece.remaining_bytes, 70_000);
            }
            let second = decoded(&mut decoder, rest);
            let piece = second.piece.unwrap();
            assert_eq!((piece.first, piece.remaining_bytes), (cut < header_len, 0));
            assert_eq!(piece.header.opcode, Opcode::Binary);
            assert_eq!(rest[piece.range], payload);
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn only_an_open_data_frame_has_bytes_to_come() {
        let remaining = |frame: Frame<'_>, arrived: usize| {
            let mut input = Vec::new();
            frame.encode(None, &mut input);
            let mut decoder = FrameDecoder::new(FrameRules::new(Role::Client));
            decoder.decode(&mut input[..arrived]).unwrap();
            decoder.place.remaining_data_bytes()
        };
        for frame in [Frame::binary(b"12345"), Frame::text("12345").not_final(), Frame::continuation(b"12345")] {
            // A byte of the header, the header, three bytes of payload, all of it.
            assert_eq!([1, 2, 5, 7].map(|arrived| remaining(frame, arrived)), [0, 5, 2, 0], "{frame:?}");
        }
        let ping = Frame::ping(b"12345").unwrap();
        assert_eq!([1, 2, 5, 7].map(|arrived| remaining(ping, arrived)), [0; 4]);
    }

    #[test]
    fn every_cut_of_a_payload_is_unmasked_with_the_right_turn_of_the_key() {
        let key = MaskingKey::new([1, 2, 3, 4]);
        let mut frame = Vec::new();
        Frame::text("Gezeitentor").encode(Some(key), &mut frame);
        for first_cut in 6..frame.len() {
            for second_cut in first_cut..frame.len() {
                let mut input = frame.clone();
                let mut decoder = FrameDecoder::new(FrameRules::new(Role::Server));
                let mut text = Vec::new();
                let mut remaining = Vec::new();
                for range in [0..first_cut, first_cut..second_cut, second_cut..frame.len()] {
                    let input = &mut input[range];
                    let piece = decoded(&mut decoder, input).piece.unwrap();
                    remaining.push(piece.remaining_bytes);
                    text.extend_from_slice(&input[piece.range]);
                }
                assert_eq!(text, b"Gezeitentor");
                let expected = [first_cut, second_cut, frame.len()].map(|cut| (frame.len() - cut) as u64);
                assert_eq!(remaining, expected);
            }
        }
    }
}
