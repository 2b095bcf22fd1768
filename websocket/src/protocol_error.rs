//! Errors, by whose fault they are: [`ProtocolError`] the peer's, [`UsageError`] the application's.
//!
//! Every check of the peer's bytes has its own variant here, and [`ProtocolError::close_code`] is the one place that
//! maps them to the code of the close frame that answers them (RFC 6455 section 7.4.1). Handshake errors are apart,
//! in [`handshake`](crate::handshake): they are answered with an HTTP status, not with a close code.

use thiserror::Error;

use crate::close_code::CloseCode;
use crate::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX};
use crate::opcode::{Opcode, ReservedBits};

/// The peer broke the protocol. The connection is to be *failed* (RFC 6455 section 7.1.7): answer with a close frame
/// of [`close_code`](Self::close_code), send nothing more, read nothing more into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set that nothing negotiated, or where its extension forbids it (RFC 6455 section 5.2).
    #[error("the peer set reserved bits that are not negotiated: {bits}")]
    ReservedBits {
        /// The offending bits.
        bits: ReservedBits,
    },

    /// An opcode of 0x3-0x7 or, unless allowed, 0xB-0xF (RFC 6455 section 5.2).
    #[error("the peer sent a frame of reserved opcode {opcode:#x}")]
    ReservedOpcode {
        /// The opcode's four bits.
        opcode: u8,
    },

    /// A control frame without FIN (RFC 6455 section 5.5).
    #[error("the peer fragmented a {opcode} frame")]
    FragmentedControl {
        /// Which control frame.
        opcode: Opcode,
    },

    /// A control frame claiming more than 125 bytes of payload (RFC 6455 section 5.5).
    #[error("the peer sent a {opcode} frame of more than {CONTROL_PAYLOAD_BYTES_MAX} bytes")]
    ControlTooLong {
        /// Which control frame.
        opcode: Opcode,
    },

    /// A length in more bytes than it needs (RFC 6455 section 5.2).
    #[error("the peer encoded the payload length {payload_len} in more bytes than needed")]
    NonMinimalLength {
        /// The length that was encoded, in bytes.
        payload_len: u64,
    },

    /// A 64-bit length with its most significant bit set (RFC 6455 section 5.2).
    #[error("the peer sent a payload length with its most significant bit set")]
    LengthOutOfRange,

    /// A client sent a frame without masking it (RFC 6455 section 5.1).
    #[error("the client sent an unmasked frame")]
    UnmaskedFrame,

    /// A server masked a frame (RFC 6455 section 5.1).
    #[error("the server sent a masked frame")]
    MaskedFrame,

    /// A continuation frame while no message is open (RFC 6455 section 5.4).
    #[error("the peer continued a message that was not begun")]
    UnexpectedContinuation,

    /// A text or binary frame inside a fragmented message (RFC 6455 section 5.4).
    #[error("the peer began a message inside a fragmented one")]
    ExpectedContinuation,

    /// A close frame whose payload is one byte: too short for a code (RFC 6455 section 5.5.1).
    #[error("the peer sent a close frame with half a close code")]
    TruncatedCloseCode,

    /// A close code that must not be on the wire (RFC 6455 section 7.4).
    #[error("the peer sent the invalid close code {code}")]
    InvalidCloseCode {
        /// The code as sent.
        code: u16,
    },

    /// A close reason that is not UTF-8 (RFC 6455 sections 5.5.1 and 8.1).
    #[error("the peer sent a close reason that is not UTF-8")]
    InvalidCloseReason,

    /// A text message that is not UTF-8 (RFC 6455 sections 5.6 and 8.1).
    #[error("the peer sent a text message that is not UTF-8")]
    InvalidUtf8,

    /// A compressed message that is not in the deflate format (RFC 7692 section 7.2.2).
    #[error("the peer sent a compressed message that cannot be inflated")]
    InvalidDeflate,

    /// A message above the receiver's limit (RFC 6455 sections 7.4.1 and 10.4).
    #[error("the peer sent a message of at least {message_bytes} bytes, above the limit of {message_bytes_max}")]
    MessageTooBig {
        /// Bytes of the message's frames so far, counting what the last header claims; of a compressed message, bytes of
        /// payload so far.
        message_bytes: u64,
        /// The limit in force.
        message_bytes_max: u64,
    },
}

impl ProtocolError {
    /// The code of the close frame that answers this error: 1007 for text that is not UTF-8 and what cannot be
    /// inflated, 1009 for a message too
    /// big, 1002 for the rest (RFC 6455 section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits { .. }
            | Self::ReservedOpcode { .. }
            | Self::FragmentedControl { .. }
            | Self::ControlTooLong { .. }
            | Self::NonMinimalLength { .. }
            | Self::LengthOutOfRange
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::TruncatedCloseCode
            | Self::InvalidCloseCode { .. } => CloseCode::PROTOCOL_ERROR,
            Self::InvalidCloseReason | Self::InvalidUtf8 | Self::InvalidDeflate => CloseCode::INVALID_PAYLOAD,
            Self::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
        }
    }
}

/// The application asked for something the protocol forbids. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UsageError {
    /// More than 125 bytes for a control frame (RFC 6455 section 5.5).
    #[error("a control frame carries at most {CONTROL_PAYLOAD_BYTES_MAX} bytes, not {payload_bytes}")]
    ControlTooLong {
        /// Bytes asked for.
        payload_bytes: usize,
    },

    /// A data opcode where a control opcode is needed (RFC 6455 section 5.5).
    #[error("a {opcode} frame is not a control frame")]
    NotControl {
        /// The opcode asked for.
        opcode: Opcode,
    },

    /// An opcode that begins no message where one is needed: messages are text or binary (RFC 6455 section 5.6).
    #[error("a {opcode} frame is not a message: use text or binary")]
    NotData {
        /// The opcode asked for.
        opcode: Opcode,
    },

    /// A text message that is not UTF-8 (RFC 6455 section 5.6).
    #[error("a text message must be UTF-8: send other bytes as binary")]
    NotUtf8,

    /// A close code that must not be on the wire: 1004-1006, 1015, or one outside the ranges of
    /// RFC 6455 section 7.4.
    #[error("the close code {code} must not be sent")]
    CloseCodeNotSendable {
        /// The code asked for.
        code: CloseCode,
    },

    /// Half a close code: the payload of a close frame is empty or begins with two bytes of code (RFC 6455 section 5.5.1).
    #[error("the payload of a close frame begins with a code of two bytes")]
    CloseCodeCut,

    /// A close reason of more than 123 bytes (RFC 6455 section 5.5.1).
    #[error("a close reason has at most {CLOSE_REASON_BYTES_MAX} bytes, not {reason_bytes}")]
    CloseReasonTooLong {
        /// Bytes asked for.
        reason_bytes: usize,
    },

    /// A level of compression that does not exist.
    #[error("there is no compression level {level}: use -2 to 9")]
    CompressionLevel {
        /// The level asked for.
        level: i32,
    },

    /// A window that compressors do not have.
    #[error("a window of {bits} bits cannot be had: use 9 to 15")]
    WindowBits {
        /// The bits asked for.
        bits: u8,
    },

    /// A close frame has been sent: nothing may follow it (RFC 6455 section 5.5.1).
    #[error("the close frame has been sent: nothing may follow it")]
    CloseSent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_close_code_says_which_rule_was_broken() {
        assert_eq!(ProtocolError::UnmaskedFrame.close_code().value(), 1002);
        assert_eq!(ProtocolError::InvalidCloseCode { code: 1005 }.close_code().value(), 1002);
        assert_eq!(ProtocolError::InvalidUtf8.close_code().value(), 1007);
        assert_eq!(ProtocolError::InvalidCloseReason.close_code().value(), 1007);
        let too_big = ProtocolError::MessageTooBig { message_bytes: 2, message_bytes_max: 1 };
        assert_eq!(too_big.close_code().value(), 1009);
    }

    #[test]
    fn messages_say_what_the_peer_did() {
        let error = ProtocolError::ReservedBits { bits: ReservedBits::RSV1 | ReservedBits::RSV3 };
        assert_eq!(error.to_string(), "the peer set reserved bits that are not negotiated: RSV1+RSV3");
        let error = ProtocolError::FragmentedControl { opcode: Opcode::Ping };
        assert_eq!(error.to_string(), "the peer fragmented a ping frame");
    }
}
