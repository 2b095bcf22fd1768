//! The errors of the peer. Those of the application are [`UsageError`](crate::UsageError).
//!
//! Every check of the peer's bytes has its own variant, and [`ProtocolError::close_code`] is the one place that maps it
//! to the close code that answers it (RFC 6455 section 7.4.1). Handshake errors are in [`handshake`](crate::handshake):
//! they are answered with an HTTP status, not with a close code.

use thiserror::Error;

use crate::close_code::CloseCode;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use crate::opcode::Opcode;
use crate::reserved_bits::ReservedBits;

/// The peer broke the protocol. *Fail* the connection (RFC 6455 section 7.1.7): answer with a close frame of
/// [`close_code`](Self::close_code), then send and receive nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set that was not negotiated, or that its extension forbids in this place (RFC 6455 section
    /// 5.2).
    #[error("the peer set reserved bits that were not negotiated: {bits}")]
    ReservedBits {
        /// The offending bits.
        bits: ReservedBits,
    },

    /// An opcode of 0x3-0x7 or, unless allowed, 0xB-0xF (RFC 6455 section 5.2).
    #[error("the peer sent a frame with reserved opcode {opcode:#x}")]
    ReservedOpcode {
        /// The opcode's four bits.
        opcode: u8,
    },

    /// A control frame without FIN (RFC 6455 section 5.5).
    #[error("the peer fragmented a {opcode} frame")]
    FragmentedControl {
        /// The kind of control frame.
        opcode: Opcode,
    },

    /// A control frame that claims more than 125 bytes of payload (RFC 6455 section 5.5).
    #[error("the peer sent a {opcode} frame of more than {CONTROL_PAYLOAD_BYTES_MAX} bytes")]
    ControlTooLong {
        /// The kind of control frame.
        opcode: Opcode,
    },

    /// A payload length encoded in more bytes than it needs (RFC 6455 section 5.2).
    #[error("the peer encoded the payload length {payload_len} in more bytes than needed")]
    NonMinimalLength {
        /// The encoded length, in bytes.
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
    #[error("the peer continued a message that it had not begun")]
    UnexpectedContinuation,

    /// A text or binary frame inside a fragmented message (RFC 6455 section 5.4).
    #[error("the peer began a message inside a fragmented message")]
    ExpectedContinuation,

    /// A close frame with a payload of one byte, too short for a code (RFC 6455 section 5.5.1).
    #[error("the peer sent a close frame with a truncated close code")]
    TruncatedCloseCode,

    /// A close code that must not be sent (RFC 6455 section 7.4).
    #[error("the peer sent invalid close code {code}")]
    InvalidCloseCode {
        /// The received code.
        code: u16,
    },

    /// A close reason that is not UTF-8 (RFC 6455 sections 5.5.1 and 8.1).
    #[error("the peer sent a close reason that is not UTF-8")]
    InvalidCloseReason,

    /// A text message that is not UTF-8 (RFC 6455 sections 5.6 and 8.1).
    #[error("the peer sent a text message that is not UTF-8")]
    InvalidUtf8,

    /// A compressed message that is not in the deflate format (RFC 7692 section 7.2.2). (Feature `compression`.)
    #[error("the peer sent a compressed message that cannot be inflated")]
    InvalidDeflate,

    /// A message above our limit (RFC 6455 sections 7.4.1 and 10.4).
    #[error("the peer sent a message of at least {message_bytes} bytes, above the limit of {message_bytes_max}")]
    MessageTooBig {
        /// Bytes of the message's frames so far, counting all that the last header claims. For a compressed message,
        /// bytes of inflated payload so far.
        message_bytes: u64,
        /// The limit in force.
        message_bytes_max: u64,
    },
}

impl ProtocolError {
    /// Returns the code of the close frame that answers this error: 1007 for invalid UTF-8 and for payload that cannot
    /// be inflated, 1009 for a message that is too big, 1002 for everything else (RFC 6455 section 7.4.1).
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
    fn error_texts_say_what_the_peer_did() {
        let error = ProtocolError::ReservedBits { bits: ReservedBits::RSV1 | ReservedBits::RSV3 };
        assert_eq!(error.to_string(), "the peer set reserved bits that were not negotiated: RSV1+RSV3");
        let error = ProtocolError::FragmentedControl { opcode: Opcode::Ping };
        assert_eq!(error.to_string(), "the peer fragmented a ping frame");
    }
}
