//! Encodes payloads into frames, appended to an outbound buffer (RFC 6455 sections 5 and 6.1).
//!
//! A [`Frame`] that exists can be sent: control frames were checked when they were made. A client passes a fresh
//! masking key for each frame, a server none.

use super::{FrameHeader, HeaderBytes};
use crate::close::CloseFrame;
use crate::frame::mask::{MaskingKey, apply_mask};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::message::{Message, MessageKind};
use crate::opcode::Opcode;
use crate::reserved_bits::ReservedBits;
use crate::usage_error::UsageError;

/// A frame to send, over a borrowed payload.
///
/// ```
/// use tidegate_websocket::protocol::{Frame, MaskingKey};
/// let mut out = Vec::new();
/// Frame::text("Hello").encode(None, &mut out);
/// assert_eq!(out, b"\x81\x05Hello");
/// out.clear();
/// let key = MaskingKey::new([0x37, 0xFA, 0x21, 0x3D]);
/// Frame::ping(b"Hello")?.encode(Some(key), &mut out);
/// assert_eq!(out, b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
/// # Ok::<(), tidegate_websocket::UsageError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a frame is sent only once it is encoded"]
pub struct Frame<'a> {
    fin: bool,
    reserved_bits: ReservedBits,
    opcode: Opcode,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns a text message in one frame, or its first frame with [`not_final`](Self::not_final).
    #[inline]
    pub const fn text(text: &'a str) -> Self {
        Self::new(Opcode::Text, text.as_bytes())
    }

    /// Returns a binary message in one frame, or its first frame with [`not_final`](Self::not_final).
    #[inline]
    pub const fn binary(payload: &'a [u8]) -> Self {
        Self::new(Opcode::Binary, payload)
    }

    /// Returns the last continuation frame of a message, or one in its middle with [`not_final`](Self::not_final).
    #[inline]
    pub const fn continuation(payload: &'a [u8]) -> Self {
        Self::new(Opcode::Continuation, payload)
    }

    /// Returns a message in one frame.
    #[inline]
    pub fn message(message: &'a Message) -> Self {
        Self::new(message.kind().opcode(), message.as_bytes())
    }

    /// Returns a compressed message in one frame.
    pub(crate) const fn deflated(kind: MessageKind, deflated: &'a [u8]) -> Self {
        Self::new(kind.opcode(), deflated).reserved_bits(ReservedBits::RSV1)
    }

    /// Returns a message of this kind in one frame. The caller ensures that text is UTF-8.
    #[inline]
    pub(crate) const fn of_kind(kind: MessageKind, payload: &'a [u8]) -> Self {
        Self::new(kind.opcode(), payload)
    }

    /// Returns a ping.
    ///
    /// # Errors
    /// [`UsageError::ControlTooLong`] above 125 bytes.
    pub const fn ping(payload: &'a [u8]) -> Result<Self, UsageError> {
        Self::control(Opcode::Ping, payload)
    }

    /// Returns a pong, with the payload of the ping that it answers, or any payload if it is unsolicited.
    ///
    /// # Errors
    /// [`UsageError::ControlTooLong`] above 125 bytes.
    pub const fn pong(payload: &'a [u8]) -> Result<Self, UsageError> {
        Self::control(Opcode::Pong, payload)
    }

    /// Returns a control frame of any opcode from 0x8 to 0xF. For close frames [`encode_close`] is safer: it takes a
    /// checked payload.
    ///
    /// # Errors
    /// [`UsageError::NotControl`] for a data opcode, [`UsageError::ControlTooLong`] above 125 bytes.
    pub const fn control(opcode: Opcode, payload: &'a [u8]) -> Result<Self, UsageError> {
        if !opcode.is_control() {
            return Err(UsageError::NotControl { opcode });
        }
        if payload.len() > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(UsageError::ControlTooLong { payload_bytes: payload.len() });
        }
        Ok(Self::new(opcode, payload))
    }

    /// Clears FIN: more frames of the message follow. Has no effect on control frames.
    pub const fn not_final(mut self) -> Self {
        self.fin = self.opcode.is_control();
        self
    }

    /// Sets reserved bits, which the peer must have negotiated.
    pub const fn reserved_bits(mut self, bits: ReservedBits) -> Self {
        self.reserved_bits = bits;
        self
    }

    /// Returns the payload.
    #[inline]
    pub(crate) const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns only the header, for a payload that is sent from its place.
    #[must_use]
    #[inline]
    pub fn header(&self, masking_key: Option<MaskingKey>) -> HeaderBytes {
        let Self { fin, reserved_bits, opcode, payload } = *self;
        let payload_len = payload.len() as u64;
        FrameHeader { fin, reserved_bits, opcode, masking_key, payload_len }.encode()
    }

    /// Appends header and payload to `out`, masked if there is a key.
    #[inline]
    pub fn encode(&self, masking_key: Option<MaskingKey>, out: &mut Vec<u8>) {
        out.reserve(FRAME_HEADER_BYTES_MAX + self.payload.len());
        if self.payload.len() <= 125 && masking_key.is_none() {
            // The frame of most messages: the header has two bytes.
            let Self { fin, reserved_bits, opcode, payload } = *self;
            let header = FrameHeader { fin, reserved_bits, opcode, masking_key, payload_len: payload.len() as u64 };
            out.extend_from_slice(&[header.first_byte(), payload.len() as u8]);
            return out.extend_from_slice(self.payload);
        }
        out.extend_from_slice(&self.header(masking_key));
        let start = out.len();
        out.extend_from_slice(self.payload);
        if let Some(key) = masking_key {
            apply_mask(key, &mut out[start..]);
        }
    }

    const fn new(opcode: Opcode, payload: &'a [u8]) -> Self {
        Self { fin: true, reserved_bits: ReservedBits::NONE, opcode, payload }
    }
}

/// Appends a close frame to `out`; `None` is one without a code, which the peer reports as 1005.
pub fn encode_close(close: Option<&CloseFrame>, masking_key: Option<MaskingKey>, out: &mut Vec<u8>) {
    let payload = close.map(CloseFrame::payload);
    let payload = payload.as_ref().map_or(&[][..], AsRef::as_ref);
    Frame::new(Opcode::Close, payload).encode(masking_key, out);
}

/// Sends one message piece by piece, each piece a frame (RFC 6455 section 5.4).
///
/// Other messages must wait until [`finish`](Self::finish); control frames can come between. The caller ensures that
/// the pieces of a text message together are UTF-8; a piece can end inside a character.
///
/// ```
/// use tidegate_websocket::{MessageKind, protocol::MessageEncoder};
/// let mut out = Vec::new();
/// let mut message = MessageEncoder::new(MessageKind::Text);
/// message.write(b"Hel", None, &mut out);
/// message.finish(b"lo", None, &mut out);
/// assert_eq!(out, b"\x01\x03Hel\x80\x02lo");
/// ```
#[derive(Debug)]
pub struct MessageEncoder {
    /// The opcode of the next frame.
    opcode: Opcode,
}

impl MessageEncoder {
    /// Begins a message.
    #[must_use]
    pub const fn new(kind: MessageKind) -> Self {
        Self { opcode: kind.opcode() }
    }

    /// Appends a piece to `out` as a frame without FIN.
    pub fn write(&mut self, piece: &[u8], masking_key: Option<MaskingKey>, out: &mut Vec<u8>) {
        self.next(piece).not_final().encode(masking_key, out);
        self.advance();
    }

    /// Returns the next frame, with FIN.
    pub(crate) const fn next<'a>(&self, piece: &'a [u8]) -> Frame<'a> {
        Frame::new(self.opcode, piece)
    }

    /// Notes that the next frame was sent.
    pub(crate) const fn advance(&mut self) {
        self.opcode = Opcode::Continuation;
    }

    /// Returns whether a frame was sent.
    pub(crate) const fn is_begun(&self) -> bool {
        matches!(self.opcode, Opcode::Continuation)
    }

    /// Appends the last piece, which can be empty, to `out` as the frame with FIN.
    pub fn finish(self, piece: &[u8], masking_key: Option<MaskingKey>, out: &mut Vec<u8>) {
        self.next(piece).encode(masking_key, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close_code::CloseCode;

    #[test]
    fn control_frames_are_checked_when_made() {
        let payload = [0; CONTROL_PAYLOAD_BYTES_MAX + 1];
        let too_long = Err(UsageError::ControlTooLong { payload_bytes: payload.len() });
        assert_eq!(Frame::ping(&payload), too_long);
        assert_eq!(Frame::pong(&payload), too_long);
        assert!(Frame::ping(&payload[1..]).is_ok());
        let opcode = Opcode::Text;
        assert_eq!(Frame::control(opcode, b""), Err(UsageError::NotControl { opcode }));
        let mut out = Vec::new();
        Frame::control(Opcode::ControlF, b"x").unwrap().not_final().encode(None, &mut out);
        assert_eq!(out, b"\x8f\x01x");
    }

    #[test]
    fn close_frames_carry_code_and_reason_or_nothing() {
        let mut out = Vec::new();
        encode_close(None, None, &mut out);
        let close = CloseFrame::new(CloseCode::GOING_AWAY, "bye").unwrap();
        encode_close(Some(&close), None, &mut out);
        assert_eq!(out, b"\x88\x00\x88\x05\x03\xe9bye");
        out.clear();
        encode_close(Some(&close), Some(MaskingKey::new([1, 0, 1, 0])), &mut out);
        assert_eq!(out, b"\x88\x85\x01\x00\x01\x00\x02\xe9cyd");
    }

    #[test]
    fn a_frame_takes_no_more_memory_than_it_needs() {
        for key in [None, Some(MaskingKey::new([1, 2, 3, 4]))] {
            let payload = vec![7; 5000];
            let mut out = Vec::new();
            Frame::binary(&payload).encode(key, &mut out);
            assert!(out.capacity() <= payload.len() + FRAME_HEADER_BYTES_MAX, "{} bytes", out.capacity());
        }
    }

    #[test]
    fn a_message_has_begun_once_a_frame_was_sent() {
        let mut out = Vec::new();
        let mut encoder = MessageEncoder::new(MessageKind::Binary);
        assert!(!encoder.is_begun());
        encoder.write(b"", None, &mut out);
        assert!(encoder.is_begun());
        encoder.write(b"a", None, &mut out);
        assert!(encoder.is_begun());
        encoder.finish(b"b", None, &mut out);
        assert_eq!(out, b"\x02\x00\x00\x01a\x80\x01b");
    }

    #[test]
    fn reserved_bits_and_headers_alone() {
        let frame = Frame::binary(b"data").reserved_bits(ReservedBits::RSV1);
        assert_eq!(&*frame.header(None), b"\xc2\x04");
        let long = vec![0; 70_000];
        assert_eq!(&*Frame::binary(&long).header(None), b"\x82\x7f\0\0\0\0\0\x01\x11\x70");
    }
}
