//! The errors of the application. Those of the peer are [`ProtocolError`](crate::ProtocolError).

use thiserror::Error;

use crate::close_code::CloseCode;
use crate::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX};
use crate::opcode::Opcode;

/// The application asked for something that the protocol forbids. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UsageError {
    /// More than 125 bytes for a control frame (RFC 6455 section 5.5).
    #[error("control frame payload of {payload_bytes} bytes is too long: at most {CONTROL_PAYLOAD_BYTES_MAX}")]
    ControlTooLong {
        /// Bytes that were asked for.
        payload_bytes: usize,
    },

    /// A data opcode where a control opcode is needed (RFC 6455 section 5.5).
    #[error("a {opcode} frame is not a control frame: use an opcode from 0x8 to 0xf")]
    NotControl {
        /// The opcode that was asked for.
        opcode: Opcode,
    },

    /// An opcode other than text or binary where a message is needed (RFC 6455 section 5.6).
    #[error("a {opcode} frame is not a message: use text or binary")]
    NotData {
        /// The opcode that was asked for.
        opcode: Opcode,
    },

    /// A text message that is not UTF-8 (RFC 6455 section 5.6).
    #[error("text is not UTF-8: send other bytes as binary")]
    NotUtf8,

    /// A close code that must not be sent: 1004-1006, 1015, or a code outside the ranges of RFC 6455 section 7.4.
    #[error("close code {code} must not be sent: use 1000-1003, 1007-1014 or 3000-4999")]
    CloseCodeNotSendable {
        /// The code that was asked for.
        code: CloseCode,
    },

    /// A close frame payload of one byte: it must be empty or begin with a code of two bytes (RFC 6455 section 5.5.1).
    #[error("invalid close frame payload of one byte: must be empty or begin with a code of two bytes")]
    CloseCodeCut,

    /// A close reason of more than 123 bytes (RFC 6455 section 5.5.1).
    #[error("close reason of {reason_bytes} bytes is too long: at most {CLOSE_REASON_BYTES_MAX}")]
    CloseReasonTooLong {
        /// Bytes that were asked for.
        reason_bytes: usize,
    },

    /// A send that would wait for a [`SendStream`](crate::SendStream) that its own task holds open, and so forever.
    /// Nothing was sent. Sends of other tasks wait.
    #[error(
        "the same task has a `send_stream` open and would wait for itself: finish that first, or send from another task"
    )]
    StreamOpen,

    /// A compression level that does not exist. (Feature `compression`.)
    #[error("unsupported compression level {level}: must be -2 to 9")]
    CompressionLevel {
        /// The level that was asked for.
        level: i32,
    },

    /// A window size that compressors do not have. (Feature `compression`.)
    #[error("unsupported window size of {bits} bits: must be 9 to 15")]
    WindowBits {
        /// The size that was asked for, in bits.
        bits: u8,
    },

    /// The close frame has been sent: nothing can follow it (RFC 6455 section 5.5.1).
    #[error("the close frame has been sent: nothing can follow it")]
    CloseSent,
}
