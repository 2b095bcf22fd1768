//! Frames (RFC 6455 section 5): the vocabulary, and encoding and decoding as types of their own.
//!
//! [`FrameDecoder`] turns bytes into headers and pieces of payload and enforces every rule that one frame alone can
//! break; which frames may follow which is [`protocol`](crate::protocol)'s. [`Frame`] and [`MessageEncoder`] turn
//! payloads into bytes. Nothing here does I/O, keeps payload or draws masking keys.

mod decoder;
mod encoder;
mod header;
pub(crate) mod mask;

use std::fmt;
use std::ops::BitOr;

pub use decoder::{Decoded, FrameDecoder, Piece};
pub use encoder::{Frame, MessageEncoder, encode_close};
pub use header::{FrameHeader, HeaderBytes};

/// Which end of the connection *we* are. A server's input must be masked and its output not; a client's the other way
/// round (RFC 6455 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}

/// The kinds of frame that may exist (RFC 6455 section 5.2).
///
/// 0x3-0x7 have no variant: they are always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// 0x0: the message goes on.
    Continuation = 0x0,
    /// 0x1: a text message begins.
    Text = 0x1,
    /// 0x2: a binary message begins.
    Binary = 0x2,
    /// 0x8: the closing handshake.
    Close = 0x8,
    /// 0x9: asks for a pong.
    Ping = 0x9,
    /// 0xA: answers a ping, or unsolicited.
    Pong = 0xA,
    /// 0xB: reserved for a further control frame.
    ControlB = 0xB,
    /// 0xC: reserved for a further control frame.
    ControlC = 0xC,
    /// 0xD: reserved for a further control frame.
    ControlD = 0xD,
    /// 0xE: reserved for a further control frame.
    ControlE = 0xE,
    /// 0xF: reserved for a further control frame.
    ControlF = 0xF,
}

impl Opcode {
    /// The opcode of these four bits, unless they are 0x3-0x7 or more than four.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            0xB => Self::ControlB,
            0xC => Self::ControlC,
            0xD => Self::ControlD,
            0xE => Self::ControlE,
            0xF => Self::ControlF,
            _ => return None,
        })
    }

    /// The four bits on the wire.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Is this a control frame, 0x8-0xF (RFC 6455 section 5.5)?
    #[must_use]
    #[inline]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }

    /// Is this one of 0xB-0xF, to which RFC 6455 gives no meaning?
    #[must_use]
    #[inline]
    pub const fn is_reserved_control(self) -> bool {
        self.bits() > Self::Pong.bits()
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::ControlB => "control 0xb",
            Self::ControlC => "control 0xc",
            Self::ControlD => "control 0xd",
            Self::ControlE => "control 0xe",
            Self::ControlF => "control 0xf",
        })
    }
}

/// A set of the three reserved bits of a frame's first byte (RFC 6455 section 5.2).
///
/// ```
/// use tidegate_websocket::ReservedBits;
/// let bits = ReservedBits::RSV1 | ReservedBits::RSV3;
/// assert!(bits.contains(ReservedBits::RSV1) && !bits.contains(ReservedBits::RSV2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ReservedBits(u8);

impl ReservedBits {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// The first, 0x40 of the byte; permessage-deflate's (RFC 7692).
    pub const RSV1: Self = Self(0x40);
    /// The second, 0x20 of the byte.
    pub const RSV2: Self = Self(0x20);
    /// The third, 0x10 of the byte.
    pub const RSV3: Self = Self(0x10);

    /// The bits of a frame's first byte.
    #[inline]
    const fn of_first_byte(byte: u8) -> Self {
        Self(byte & 0x70)
    }

    /// Are all of `other` in here?
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Is no bit set?
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of these bits that are not in `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for ReservedBits {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for ReservedBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in [(Self::RSV1, "RSV1"), (Self::RSV2, "RSV2"), (Self::RSV3, "RSV3")] {
            if self.contains(bit) {
                write!(f, "{separator}{name}")?;
                separator = "+";
            }
        }
        if self.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for ReservedBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReservedBits({self})")
    }
}

/// What a frame from the peer may look like. The default of each role is RFC 6455 without extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameRules {
    /// Our role: decides whether the peer's frames must be masked or must not.
    pub role: Role,
    /// Reserved bits the peer may set on the first frame of a message: those of negotiated per-message extensions.
    /// Default none.
    pub message_bits: ReservedBits,
    /// Reserved bits the peer may set on any frame: those of negotiated per-frame extensions. Default none.
    pub frame_bits: ReservedBits,
    /// Whether control frames of opcode 0xB-0xF are taken rather than refused. Default false.
    pub reserved_control: bool,
}

impl FrameRules {
    /// The rules of RFC 6455 for `role`, without extensions.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, message_bits: ReservedBits::NONE, frame_bits: ReservedBits::NONE, reserved_control: false }
    }
}
