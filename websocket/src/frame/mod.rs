//! Frames (RFC 6455 section 5).
//!
//! [`FrameDecoder`] turns bytes into headers and pieces of payload and enforces every rule about a single frame;
//! [`protocol`](crate::protocol) enforces the order of frames. [`Frame`] and [`MessageEncoder`] turn payloads into
//! bytes. Nothing here does I/O, keeps payload or draws masking keys.

mod decoder;
mod encoder;
mod header;
pub(crate) mod mask;

pub(crate) use decoder::FramePlace;
pub use decoder::{Decoded, FrameDecoder, Piece};
pub use encoder::{Frame, MessageEncoder, encode_close};
pub use header::{FrameHeader, HeaderBytes};

use crate::reserved_bits::ReservedBits;
use crate::role::Role;

tidegate_engine::__settings! {
    /// The rules for frames of the peer: by default RFC 6455 without extensions.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FrameRules {
        /// Our role, which decides whether the peer's frames must be masked.
        pub role: Role,
        /// Reserved bits that the peer can set on the first frame of a message: those of negotiated per-message
        /// extensions. Default: none.
        pub message_bits: ReservedBits,
        /// Reserved bits that the peer can set on any frame: those of negotiated per-frame extensions. Default: none.
        pub frame_bits: ReservedBits,
        /// Whether control frames of opcode 0xB-0xF are accepted. Default: false.
        pub reserved_control: bool,
    }
}

impl FrameRules {
    /// Returns the rules of RFC 6455 for `role`, without extensions.
    pub const fn new(role: Role) -> Self {
        Self { role, message_bits: ReservedBits::NONE, frame_bits: ReservedBits::NONE, reserved_control: false }
    }
}
