//! Sans-I/O WebSocket (RFC 6455) and the Tidegate WebSocket connection.
#![deny(unsafe_code)]

mod assembler;
pub mod close;
pub mod closing;
pub mod error;
pub mod event;
pub mod frame;
pub mod handshake;
pub mod limits;
pub mod mask;
pub mod message;
pub mod protocol;
pub mod utf8;

pub use close::{CloseCode, CloseCodeClass, CloseFrame};
pub use closing::{Closing, ClosingState, Transport};
pub use error::{ProtocolError, UsageError};
pub use event::{ControlPayload, Event, Progress};
pub use frame::{
    Decoded, Frame, FrameDecoder, FrameHeader, FrameRules, MessageEncoder, Opcode, Piece,
    ReservedBits, Role, encode_close,
};
pub use mask::{MaskingKey, apply_mask};
pub use message::{Message, MessageKind};
pub use protocol::{Delivery, Protocol, ProtocolConfig};
pub use utf8::{InvalidUtf8, Text, Utf8Validator};
