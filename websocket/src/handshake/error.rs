//! Errors of the opening handshake: one variant for each wrong or missing part.
//!
//! The server answers an [`UpgradeRequestError`]; [`UpgradeRequestError::response`] is the one place that maps it to a
//! status, headers and a body. [`UpgradeResponseError`] and [`UriError`] surface at the client.

use http::header::{CONNECTION, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use thiserror::Error;

use super::VERSION;
use super::origin::OriginError;

/// Why a server refuses a request to open a WebSocket (RFC 6455 section 4.2.1). The text is the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpgradeRequestError {
    /// The method is not GET.
    #[error("websocket: the method must be GET")]
    Method,
    /// The version is not HTTP/1.1: older versions have no upgrade, newer ones another (RFC 8441).
    #[error("websocket: the version must be HTTP/1.1")]
    HttpVersion,
    /// There is no `Host`.
    #[error("websocket: Host is missing")]
    MissingHost,
    /// `Host` occurs more than once.
    #[error("websocket: Host is repeated")]
    RepeatedHost,
    /// `Upgrade` does not list `websocket`.
    #[error("websocket: Upgrade must list websocket")]
    Upgrade,
    /// `Connection` does not list `Upgrade`.
    #[error("websocket: Connection must list Upgrade")]
    Connection,
    /// There is no `Sec-WebSocket-Version`.
    #[error("websocket: Sec-WebSocket-Version is missing: must be 13")]
    MissingVersion,
    /// `Sec-WebSocket-Version` occurs more than once (RFC 6455 section 11.3.5).
    #[error("websocket: Sec-WebSocket-Version is repeated")]
    RepeatedVersion,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("websocket: Sec-WebSocket-Version must be 13")]
    UnsupportedVersion,
    /// There is no `Sec-WebSocket-Key`.
    #[error("websocket: Sec-WebSocket-Key is missing")]
    MissingKey,
    /// `Sec-WebSocket-Key` occurs more than once (RFC 6455 section 11.3.1).
    #[error("websocket: Sec-WebSocket-Key is repeated")]
    RepeatedKey,
    /// `Sec-WebSocket-Key` is not base64 of 16 bytes.
    #[error("websocket: Sec-WebSocket-Key must be 16 bytes in base64")]
    InvalidKey,
    /// `Sec-WebSocket-Protocol` lists something that is not a token (RFC 6455 section 4.1).
    #[error("websocket: Sec-WebSocket-Protocol must list tokens")]
    InvalidSubprotocol,
    /// `Sec-WebSocket-Protocol` lists something twice (RFC 6455 section 4.1).
    #[error("websocket: Sec-WebSocket-Protocol lists a subprotocol twice")]
    RepeatedSubprotocol,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 section 9.1). Only servers that speak an
    /// extension check it.
    #[error("websocket: Sec-WebSocket-Extensions must list extensions with parameters")]
    InvalidExtensions,
    /// Pages of this origin must not connect (RFC 6455 section 10.2).
    #[error("websocket: origin not allowed")]
    Origin(#[from] OriginError),
}

impl UpgradeRequestError {
    /// Returns the status that answers the error: 426 for a missing or unsupported protocol version, 403 for an origin,
    /// else 400.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MissingVersion | Self::UnsupportedVersion => StatusCode::UPGRADE_REQUIRED,
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Method
            | Self::HttpVersion
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::Upgrade
            | Self::Connection
            | Self::RepeatedVersion
            | Self::MissingKey
            | Self::RepeatedKey
            | Self::InvalidKey
            | Self::InvalidSubprotocol
            | Self::InvalidExtensions
            | Self::RepeatedSubprotocol => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the response that answers the error, with its text as body. A 426 names the supported version (RFC 6455
    /// section 4.4) and the protocol to upgrade to (RFC 9110 section 15.5.22).
    #[must_use]
    pub fn response(self) -> Response<String> {
        let mut response = Response::new(self.to_string());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.status() == StatusCode::UPGRADE_REQUIRED {
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        response
    }
}

/// Why a client rejects a server's response (RFC 6455 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpgradeResponseError {
    /// The status is not 101: the response is an ordinary HTTP response.
    #[error("the server answered the websocket handshake with status {status}")]
    Status {
        /// The status of the response.
        status: StatusCode,
    },
    /// The version is not HTTP/1.1.
    #[error("the server answered the websocket handshake in a version other than HTTP/1.1")]
    HttpVersion,
    /// `Upgrade` is not `websocket`.
    #[error("the server's Upgrade header is missing or not websocket")]
    Upgrade,
    /// `Connection` does not list `Upgrade`.
    #[error("the server's Connection header does not list Upgrade")]
    Connection,
    /// There is no `Sec-WebSocket-Accept`.
    #[error("the server sent no Sec-WebSocket-Accept")]
    MissingAccept,
    /// `Sec-WebSocket-Accept` occurs more than once (RFC 6455 section 11.3.3).
    #[error("the server repeated Sec-WebSocket-Accept")]
    RepeatedAccept,
    /// `Sec-WebSocket-Accept` does not match our key.
    #[error("the server's Sec-WebSocket-Accept does not match the key")]
    WrongAccept,
    /// `Sec-WebSocket-Protocol` occurs more than once (RFC 6455 section 11.3.4).
    #[error("the server repeated Sec-WebSocket-Protocol")]
    RepeatedSubprotocol,
    /// `Sec-WebSocket-Protocol` names something that we did not offer.
    #[error("the server chose a subprotocol that was not offered")]
    UnrequestedSubprotocol,
    /// `Sec-WebSocket-Extensions` names something that we did not offer.
    #[error("the server chose an extension that was not offered")]
    UnrequestedExtension,
    /// `Sec-WebSocket-Extensions` is malformed, or agrees to what was not offered (RFC 7692 section 7.1).
    #[error("the server's Sec-WebSocket-Extensions does not match the offer")]
    InvalidExtensions,
}

/// Why a client cannot build a request (RFC 6455 sections 3 and 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// The text is not a URI (RFC 3986), or its port is not a number from 1 to 65,535.
    #[error("invalid websocket URI: must be ws://host[:port]/path?query, percent-encoded")]
    Malformed,
    /// The scheme is not `ws` or `wss`.
    #[error("invalid websocket URI: the scheme must be ws or wss")]
    Scheme,
    /// There is no host.
    #[error("invalid websocket URI: the host is missing")]
    Host,
    /// The URI has a user or password, which websocket URIs must not have.
    #[error("invalid websocket URI: user information is not allowed")]
    UserInformation,
    /// A subprotocol is not a token.
    #[error("invalid subprotocol: must be a token such as chat")]
    Subprotocol,
    /// A subprotocol occurs twice.
    #[error("repeated subprotocol: offer each one once")]
    RepeatedSubprotocol,
}
