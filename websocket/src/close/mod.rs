//! Close codes and the close frame's payload (RFC 6455 sections 5.5.1 and 7.4).
//!
//! A [`CloseFrame`] that exists may be sent: its code and reason were checked when it was made or parsed. When it may
//! be sent, and what follows, is [`closing`](crate::close::closing_handshake)'s.

pub(crate) mod closing_handshake;

use std::fmt;

use crate::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX};
use crate::protocol_error::{ProtocolError, UsageError};
use crate::utf8::Text;

/// Why a connection was closed: a number of RFC 6455 section 7.4 or of the IANA registry it sets up.
///
/// Any number can be held; [`is_sendable`](Self::is_sendable) says whether it may be on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of message the endpoint does not take, such as binary.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the peer's close frame had no code. Never on the wire.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: a message inconsistent with its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated; for when nothing else fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client wanted an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met a condition it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded; try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from its upstream (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The code of this number, whatever it is.
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// May this code be in a close frame? 1000-1003, 1007-1014 and 3000-4999 may; 1004-1006 and 1015 are reserved,
    /// 1016-2999 unassigned, the rest undefined (RFC 6455 section 7.4).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Which range of RFC 6455 section 7.4.2 the number is in.
    #[must_use]
    pub const fn class(self) -> CloseCodeClass {
        match self.0 {
            1005 | 1006 | 1015 => CloseCodeClass::Local,
            1000..=1003 | 1007..=1014 => CloseCodeClass::Protocol,
            3000..=3999 => CloseCodeClass::Registered,
            4000..=4999 => CloseCodeClass::Private,
            _ => CloseCodeClass::Unassigned,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// The ranges of close codes (RFC 6455 section 7.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCodeClass {
    /// 1000-1003 and 1007-1014: defined by the protocol and its registry.
    Protocol,
    /// 1005, 1006 and 1015: how an endpoint tells its application what happened; never sent.
    Local,
    /// 3000-3999: registered by libraries and frameworks.
    Registered,
    /// 4000-4999: private between two applications.
    Private,
    /// Any other number; never valid on the wire.
    Unassigned,
}

/// A code and a reason that may be sent in a close frame, or came in one.
///
/// ```
/// use tidegate_websocket::{CloseCode, CloseFrame};
/// let close = CloseFrame::new(CloseCode::GOING_AWAY, "see you")?;
/// assert_eq!((close.code().value(), close.reason()), (1001, "see you"));
/// assert!(CloseFrame::new(CloseCode::ABNORMAL, "").is_err());
/// # Ok::<(), tidegate_websocket::UsageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    code: CloseCode,
    reason: Text,
}

impl CloseFrame {
    /// Checks that the code is [sendable](CloseCode::is_sendable) and the reason is at most 123 bytes.
    ///
    /// # Errors
    /// [`UsageError::CloseCodeNotSendable`] and [`UsageError::CloseReasonTooLong`].
    pub fn new(code: CloseCode, reason: impl Into<Text>) -> Result<Self, UsageError> {
        let reason = reason.into();
        if !code.is_sendable() {
            return Err(UsageError::CloseCodeNotSendable { code });
        }
        if reason.len() > CLOSE_REASON_BYTES_MAX {
            return Err(UsageError::CloseReasonTooLong { reason_bytes: reason.len() });
        }
        Ok(Self { code, reason })
    }

    /// Parses an unmasked close payload; `None` when it is empty, which means no code was given (1005).
    ///
    /// # Errors
    /// [`ProtocolError::TruncatedCloseCode`], [`ProtocolError::InvalidCloseCode`] and
    /// [`ProtocolError::InvalidCloseReason`].
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::TruncatedCloseCode),
            [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.is_sendable() {
            return Err(ProtocolError::InvalidCloseCode { code: code.0 });
        }
        let reason = Text::copy_from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
        Ok(Some(Self { code, reason }))
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        self.code
    }

    /// The reason, empty when none was given.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The payload of the close frame: the code in network order, then the reason.
    #[must_use]
    pub fn payload(&self) -> ClosePayload {
        // The bounds hold by construction; `min` states them where the compiler and the reader can see them.
        let reason = self.reason.as_bytes();
        let reason = &reason[..reason.len().min(CLOSE_REASON_BYTES_MAX)];
        let mut bytes = [0; CONTROL_PAYLOAD_BYTES_MAX];
        bytes[..2].copy_from_slice(&self.code.0.to_be_bytes());
        bytes[2..2 + reason.len()].copy_from_slice(reason);
        ClosePayload { bytes, len: 2 + reason.len() }
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            "" => self.code.fmt(f),
            reason => write!(f, "{} {reason}", self.code),
        }
    }
}

/// The payload of a close frame, at most 125 bytes, held without heap.
#[derive(Debug, Clone)]
pub struct ClosePayload {
    bytes: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    len: usize,
}

impl AsRef<[u8]> for ClosePayload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codes_of_section_7_4_may_be_on_the_wire() {
        // All of them take minutes under miri.
        let step = if cfg!(miri) { 97 } else { 1 };
        for value in (0..=u16::MAX).step_by(step) {
            let valid = matches!(value, 1000..=1003 | 1007..=1014 | 3000..=4999);
            let parsed = CloseFrame::parse(&value.to_be_bytes());
            match parsed {
                Ok(Some(close)) => assert!(valid && close.code().value() == value, "{value}"),
                Ok(None) => panic!("{value} was not seen"),
                Err(error) => {
                    assert!(!valid, "{value} refused");
                    assert_eq!(error, ProtocolError::InvalidCloseCode { code: value });
                }
            }
            assert_eq!(CloseFrame::new(CloseCode::new(value), "").is_ok(), valid, "{value}");
        }
    }

    #[test]
    fn every_named_code_has_its_class() {
        let sendable = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
        for value in sendable {
            assert_eq!(CloseCode::new(value).class(), CloseCodeClass::Protocol);
        }
        for code in [CloseCode::NO_STATUS, CloseCode::ABNORMAL, CloseCode::TLS_HANDSHAKE] {
            assert_eq!(code.class(), CloseCodeClass::Local);
            assert!(!code.is_sendable());
        }
        assert_eq!(CloseCode::new(1004).class(), CloseCodeClass::Unassigned);
        assert_eq!(CloseCode::new(2999).class(), CloseCodeClass::Unassigned);
        assert_eq!(CloseCode::new(3000).class(), CloseCodeClass::Registered);
        assert_eq!(CloseCode::new(4999).class(), CloseCodeClass::Private);
        assert_eq!(CloseCode::new(5000).class(), CloseCodeClass::Unassigned);
    }

    #[test]
    fn payloads_round_trip() {
        let longest = "r".repeat(CLOSE_REASON_BYTES_MAX);
        for reason in ["", "bye", "Tschüß", longest.as_str()] {
            let close = CloseFrame::new(CloseCode::NORMAL, reason).unwrap();
            let parsed = CloseFrame::parse(close.payload().as_ref()).unwrap();
            assert_eq!(parsed, Some(close));
        }
    }

    #[test]
    fn malformed_payloads_are_told_apart() {
        assert_eq!(CloseFrame::parse(&[]), Ok(None));
        assert_eq!(CloseFrame::parse(&[3]), Err(ProtocolError::TruncatedCloseCode));
        assert_eq!(CloseFrame::parse(&[3, 232, 0xC3]), Err(ProtocolError::InvalidCloseReason));
        let reason_bytes = CLOSE_REASON_BYTES_MAX + 1;
        assert_eq!(
            CloseFrame::new(CloseCode::NORMAL, "r".repeat(reason_bytes)),
            Err(UsageError::CloseReasonTooLong { reason_bytes })
        );
    }
}
