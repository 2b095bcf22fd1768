//! The opcode in the first byte of a frame (RFC 6455 section 5.2).

use std::fmt;

/// The kinds of frames (RFC 6455 section 5.2). 0x3-0x7 have no variant, because they are always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// 0x0: continues a message.
    Continuation = 0x0,
    /// 0x1: begins a text message.
    Text = 0x1,
    /// 0x2: begins a binary message.
    Binary = 0x2,
    /// 0x8: closes the connection.
    Close = 0x8,
    /// 0x9: asks for a pong.
    Ping = 0x9,
    /// 0xA: answers a ping, or is unsolicited.
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
    /// Returns the opcode of these four bits; `None` for 0x3-0x7 and for values above 0xF.
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

    /// Returns the four bits on the wire.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Returns whether this is a control frame, 0x8-0xF (RFC 6455 section 5.5).
    #[must_use]
    #[inline]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }

    /// Returns whether this is one of 0xB-0xF, which RFC 6455 reserves.
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
