//! Frames (RFC 6455 section 5): the vocabulary, and encoding and decoding as types of their own.
//!
//! [`FrameDecoder`] turns bytes into headers and pieces of payload and enforces every rule that one frame alone can
//! break; which frames may follow which is [`protocol`](crate::protocol)'s. [`Frame`] and [`MessageEncoder`] turn
//! payloads into bytes. Nothing here does I/O, keeps payload or draws masking keys.

mod decoder;
mod encoder;
mod header;
pub(crate) mod mask;

pub use decoder::{Decoded, FrameDecoder, Piece};
pub use encoder::{Frame, MessageEncoder, encode_close};
pub use header::{FrameHeader, HeaderBytes};

use crate::opcode::ReservedBits;
use crate::role::Role;

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
