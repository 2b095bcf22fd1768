//! Close codes (RFC 6455 section 7.4).

use std::fmt;

/// The reason for closing a connection, as a number of RFC 6455 section 7.4 or of the IANA registry.
///
/// It can hold any number; [`is_sendable`](Self::is_sendable) returns whether it can be sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of message that the endpoint does not accept, such as binary.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the peer's close frame had no code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: a message inconsistent with its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated; used when nothing else fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client wanted an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the server is overloaded; try again later (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from its upstream (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Never sent.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Creates a code from any number.
    #[must_use]
    pub const fn new(value: u16) -> Self {
        Self(value)
    }

    /// Returns the number.
    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Returns whether a close frame can carry this code: 1000-1003, 1007-1014 and 3000-4999 can. 1004-1006 and 1015
    /// are reserved, 1016-2999 unassigned, the rest undefined (RFC 6455 section 7.4).
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Returns the range of RFC 6455 section 7.4.2 that the number is in.
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
#[non_exhaustive]
pub enum CloseCodeClass {
    /// 1000-1003 and 1007-1014: defined by the protocol and its registry.
    Protocol,
    /// 1005, 1006 and 1015: for an endpoint's own application; never sent.
    Local,
    /// 3000-3999: registered by libraries and frameworks.
    Registered,
    /// 4000-4999: private between two applications.
    Private,
    /// Any other number; never sent.
    Unassigned,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
