//! The frame header (RFC 6455 section 5.2), parsed strictly and encoded minimally.
//!
//! ```text
//!  0               1               2               3
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| length      | extended length               |
//! |I|S|S|S|  (4)  |A|  (7)        |  126: 16 bits, 127: 64 bits   |
//! |N|V|V|V|       |S|             |                               |
//! | |1|2|3|       |K|             |                               |
//! +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
//! | masking key, 32 bits, if MASK is set                          |
//! +---------------------------------------------------------------+
//! ```

use std::ops::Deref;

use super::FrameRules;
use crate::frame::mask::MaskingKey;
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::opcode::Opcode;
use crate::protocol_error::ProtocolError;
use crate::reserved_bits::ReservedBits;
use crate::role::Role;

const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
/// Seven length bits that announce a length of 16 bits.
const LEN_16: u8 = 126;
/// Seven length bits that announce a length of 64 bits.
const LEN_64: u8 = 127;

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The reserved bits that are set.
    pub reserved_bits: ReservedBits,
    /// The kind of frame.
    pub opcode: Opcode,
    /// The masking key, if the payload is masked.
    pub masking_key: Option<MaskingKey>,
    /// The bytes of payload that follow, below 2^63.
    pub payload_len: u64,
}

impl FrameHeader {
    /// Parses the header at the start of `input`. Returns the header and its length in bytes, or `None` when more bytes
    /// are needed. An error is reported at the first byte that shows it.
    ///
    /// # Errors
    /// Every variant of [`ProtocolError`] that is about the header of one frame.
    #[inline]
    pub fn parse(input: &[u8], rules: &FrameRules) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        let opcode = parse_first_byte(first, rules)?;
        let Some(&second) = input.get(1) else {
            return Ok(None);
        };
        let masked = second & MASK != 0;
        match (rules.role, masked) {
            (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame),
            (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let len_bits = second & !MASK;
        if opcode.is_control() && usize::from(len_bits) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(ProtocolError::ControlTooLong { opcode });
        }
        let Some((payload_len, rest)) = parse_length(len_bits, &input[2..])? else {
            return Ok(None);
        };
        let (masking_key, rest) = match (masked, rest.split_first_chunk::<4>()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(MaskingKey::new(*key)), rest),
            (true, None) => return Ok(None),
        };
        let reserved_bits = ReservedBits::of_first_byte(first);
        let header = Self { fin: first & FIN != 0, reserved_bits, opcode, masking_key, payload_len };
        Ok(Some((header, input.len() - rest.len())))
    }

    /// Encodes the header, with the shortest encoding of the length.
    #[must_use]
    #[inline]
    pub fn encode(&self) -> HeaderBytes {
        let mut bytes = [0; FRAME_HEADER_BYTES_MAX];
        bytes[0] = self.first_byte();
        let mut len = match self.payload_len {
            0..=125 => {
                bytes[1] = self.payload_len as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = LEN_16;
                bytes[2..4].copy_from_slice(&(self.payload_len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = LEN_64;
                bytes[2..10].copy_from_slice(&self.payload_len.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.masking_key {
            bytes[1] |= MASK;
            bytes[len..len + 4].copy_from_slice(&key.bytes());
            len += 4;
        }
        HeaderBytes { bytes, len: len as u8 }
    }
}

impl FrameHeader {
    /// Returns FIN, the reserved bits and the opcode.
    #[inline]
    pub(super) const fn first_byte(&self) -> u8 {
        let fin = if self.fin { FIN } else { 0 };
        fin | self.reserved_bits.0 | self.opcode.bits()
    }
}

/// An encoded frame header: 2 to 14 bytes, held without heap.
#[derive(Debug, Clone, Copy)]
pub struct HeaderBytes {
    bytes: [u8; FRAME_HEADER_BYTES_MAX],
    len: u8,
}

impl Deref for HeaderBytes {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Parses FIN, the reserved bits and the opcode.
#[inline]
fn parse_first_byte(first: u8, rules: &FrameRules) -> Result<Opcode, ProtocolError> {
    let bits = ReservedBits::of_first_byte(first);
    let code = first & 0x0F;
    let opcode = match Opcode::from_bits(code) {
        Some(opcode) if !opcode.is_reserved_control() || rules.reserved_control => opcode,
        _ => return Err(ProtocolError::ReservedOpcode { opcode: code }),
    };
    if !bits.is_empty() {
        // RFC 7692 section 6.1: only the first frame of a message has a per-message bit.
        let allowed = match opcode {
            Opcode::Text | Opcode::Binary => rules.message_bits | rules.frame_bits,
            _ => rules.frame_bits,
        };
        if !allowed.contains(bits) {
            return Err(ProtocolError::ReservedBits { bits: bits.without(allowed) });
        }
    }
    if opcode.is_control() && first & FIN == 0 {
        return Err(ProtocolError::FragmentedControl { opcode });
    }
    Ok(opcode)
}

/// Parses the payload length. Returns it with the bytes that follow, or `None` when more bytes are needed.
#[inline]
fn parse_length(len_bits: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (payload_len, minimum, rest) = match len_bits {
        LEN_16 => match rest.split_first_chunk::<2>() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), 126, rest),
            None => return Ok(None),
        },
        LEN_64 => match rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), 0x1_0000, rest),
            None if rest.first().is_some_and(|byte| byte & 0x80 != 0) => {
                return Err(ProtocolError::LengthOutOfRange);
            }
            None => return Ok(None),
        },
        short => (u64::from(short), 0, rest),
    };
    if payload_len >> 63 != 0 {
        return Err(ProtocolError::LengthOutOfRange);
    }
    if payload_len < minimum {
        return Err(ProtocolError::NonMinimalLength { payload_len });
    }
    Ok(Some((payload_len, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(role: Role, input: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        FrameHeader::parse(input, &FrameRules::new(role))
    }

    #[test]
    fn headers_round_trip_and_need_all_their_bytes() {
        let lens = [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, u64::from(u32::MAX), (1 << 63) - 1];
        for role in [Role::Server, Role::Client] {
            for payload_len in lens {
                for opcode in [Opcode::Continuation, Opcode::Text, Opcode::Binary] {
                    let masking_key = (role == Role::Server).then(|| MaskingKey::new([1, 2, 3, 0xFF]));
                    let reserved_bits = ReservedBits::NONE;
                    let header = FrameHeader { fin: false, reserved_bits, opcode, masking_key, payload_len };
                    let bytes = header.encode();
                    for len in 0..bytes.len() {
                        assert_eq!(parse(role, &bytes[..len]), Ok(None), "{header:?}");
                    }
                    let mut trailing = bytes.to_vec();
                    trailing.extend_from_slice(b"trailing");
                    assert_eq!(parse(role, &trailing), Ok(Some((header, bytes.len()))));
                }
            }
        }
    }

    #[test]
    fn reserved_bits_are_accepted_only_where_their_extension_allows_them() {
        let mut rules = FrameRules::new(Role::Client);
        rules.message_bits = ReservedBits::RSV1;
        rules.frame_bits = ReservedBits::RSV3;
        let refused = |bits| Err(ProtocolError::ReservedBits { bits });
        for (first, expected) in [
            (0xC1, Ok(None)),
            (0xD2, Ok(None)),
            (0x90, Ok(None)),
            (0x99, Ok(None)),
            (0xC0, refused(ReservedBits::RSV1)),
            (0xD9, refused(ReservedBits::RSV1)),
            (0xF1, refused(ReservedBits::RSV2)),
        ] {
            assert_eq!(FrameHeader::parse(&[first], &rules), expected, "{first:#x}");
        }
    }

    #[test]
    fn reserved_control_opcodes_can_be_allowed_and_reserved_data_opcodes_cannot() {
        let mut rules = FrameRules::new(Role::Client);
        rules.reserved_control = true;
        for code in 0xB..=0xF {
            assert_eq!(FrameHeader::parse(&[0x80 | code], &rules), Ok(None));
            let refused = Err(ProtocolError::ReservedOpcode { opcode: code });
            assert_eq!(parse(Role::Client, &[0x80 | code]), refused);
        }
        for code in 3..=7 {
            let refused = Err(ProtocolError::ReservedOpcode { opcode: code });
            assert_eq!(FrameHeader::parse(&[0x80 | code], &rules), refused);
        }
    }

    #[test]
    fn a_wrong_length_is_refused_as_soon_as_it_shows() {
        let cases: [(&[u8], ProtocolError); 5] = [
            (&[0x82, 126, 0, 125], ProtocolError::NonMinimalLength { payload_len: 125 }),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], ProtocolError::NonMinimalLength { payload_len: 0xFFFF }),
            (&[0x82, 127, 0x80], ProtocolError::LengthOutOfRange),
            (&[0x89, 126], ProtocolError::ControlTooLong { opcode: Opcode::Ping }),
            (&[0x88, 127], ProtocolError::ControlTooLong { opcode: Opcode::Close }),
        ];
        for (bytes, error) in cases {
            assert_eq!(parse(Role::Client, bytes), Err(error));
            assert_eq!(parse(Role::Client, &bytes[..bytes.len() - 1]).ok(), Some(None));
        }
    }
}
