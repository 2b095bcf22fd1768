//! The close frame's payload: a code and a reason (RFC 6455 section 5.5.1).
//!
//! A [`CloseFrame`] that exists can be sent: its code and reason were checked when it was made or parsed.

use std::fmt;

use crate::close_code::CloseCode;
use crate::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX};
use crate::protocol_error::ProtocolError;
use crate::usage_error::UsageError;
use crate::utf8::Text;

/// The code and reason of a close frame that was received or can be sent.
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
    /// Returns a close frame of a [sendable](CloseCode::is_sendable) code and a reason of at most 123 bytes.
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

    /// Parses an unmasked close payload; `None` when it is empty: no code was given (1005).
    ///
    /// # Errors
    /// [`ProtocolError::TruncatedCloseCode`], [`ProtocolError::InvalidCloseCode`] and
    /// [`ProtocolError::InvalidCloseReason`].
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::TruncatedCloseCode),
            [high, low, reason @ ..] => (CloseCode::new(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.is_sendable() {
            return Err(ProtocolError::InvalidCloseCode { code: code.value() });
        }
        let reason = Text::copy_from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
        Ok(Some(Self { code, reason }))
    }

    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        self.code
    }

    /// Returns the reason; empty when none was given.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the payload: the code in network order, then the reason.
    #[must_use]
    pub fn payload(&self) -> ClosePayload {
        // The bounds hold by construction; `min` shows them to the compiler.
        let reason = self.reason.as_bytes();
        let reason = &reason[..reason.len().min(CLOSE_REASON_BYTES_MAX)];
        let mut bytes = [0; CONTROL_PAYLOAD_BYTES_MAX];
        bytes[..2].copy_from_slice(&self.code.value().to_be_bytes());
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
    fn payloads_round_trip() {
        let longest = "r".repeat(CLOSE_REASON_BYTES_MAX);
        for reason in ["", "bye", "Tschüß", longest.as_str()] {
            let close = CloseFrame::new(CloseCode::NORMAL, reason).unwrap();
            let parsed = CloseFrame::parse(close.payload().as_ref()).unwrap();
            assert_eq!(parsed.as_ref().map(|close| (close.code(), close.reason())), Some((CloseCode::NORMAL, reason)));
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
