//! The server's side of the opening handshake (RFC 6455 section 4.2).
//!
//! Stateless: a request's head in, an [`Offer`] or an [`UpgradeRequestError`] out. The acceptance of an offer builds
//! the 101.

use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method, Response, StatusCode, Version};

use super::VERSION;
use super::error::UpgradeRequestError;
use super::field::{self, Fields, Once};
use super::key::{AcceptKey, Nonce};

/// Returns whether the request asks for a WebSocket, correctly or not: `Upgrade` lists `websocket`, or there is a
/// `Sec-WebSocket-Key`. Other requests are for the next handler.
#[must_use]
pub fn is_websocket_request(headers: &impl Fields) -> bool {
    field::contains_token(headers, &UPGRADE, "websocket") || headers.values(&SEC_WEBSOCKET_KEY).next().is_some()
}

/// A checked request of a client to open a WebSocket.
///
/// The origin is not checked, because that is a policy: see [`check_same_origin`](super::check_same_origin).
///
/// ```
/// use http::{Method, Request, Version};
/// use tidegate_websocket::handshake::{Offer, is_websocket_request};
/// let (head, ()) = Request::get("/chat")
///     .header("Host", "example.com")
///     .header("Upgrade", "websocket")
///     .header("Connection", "Upgrade")
///     .header("Sec-WebSocket-Version", "13")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("Sec-WebSocket-Protocol", "soap, wamp")
///     .body(())?
///     .into_parts();
/// assert!(is_websocket_request(&head.headers));
/// let offer = Offer::parse(&head.method, head.version, &head.headers)?;
/// let acceptance = offer.accept(&["wamp", "soap"]);
/// assert_eq!(acceptance.subprotocol(), Some("wamp"));
/// let response = acceptance.response();
/// assert_eq!(response.headers()["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Offer<'h> {
    nonce: Nonce,
    subprotocols: Vec<&'h str>,
    extensions: Vec<&'h [u8]>,
}

impl<'h> Offer<'h> {
    /// Checks everything that RFC 6455 section 4.2.1 demands of the request's head.
    ///
    /// # Errors
    /// [`UpgradeRequestError`], every variant but [`Origin`](UpgradeRequestError::Origin).
    pub fn parse(method: &Method, version: Version, headers: &'h impl Fields) -> Result<Self, UpgradeRequestError> {
        if method != Method::GET {
            return Err(UpgradeRequestError::Method);
        }
        if version != Version::HTTP_11 {
            return Err(UpgradeRequestError::HttpVersion);
        }
        match field::once(headers, &HOST) {
            Once::Missing => return Err(UpgradeRequestError::MissingHost),
            Once::Repeated => return Err(UpgradeRequestError::RepeatedHost),
            Once::Value(_) => {}
        }
        if !field::contains_token(headers, &UPGRADE, "websocket") {
            return Err(UpgradeRequestError::Upgrade);
        }
        if !field::contains_token(headers, &CONNECTION, "upgrade") {
            return Err(UpgradeRequestError::Connection);
        }
        // Before the key: another version can have other rules for the rest.
        check_version(headers)?;
        let nonce = parse_key(headers)?;
        let subprotocols = parse_subprotocols(headers)?;
        let extensions = headers.values(&SEC_WEBSOCKET_EXTENSIONS).collect();
        Ok(Self { nonce, subprotocols, extensions })
    }

    /// Returns the subprotocols of the client, in its order of preference.
    #[must_use]
    pub fn subprotocols(&self) -> &[&'h str] {
        &self.subprotocols
    }

    /// Returns the lines of `Sec-WebSocket-Extensions`, unparsed.
    pub fn extensions(&self) -> impl Iterator<Item = &'h [u8]> {
        self.extensions.iter().copied()
    }

    /// Accepts the offer with the first of the server's `preferences` that the client offers, or without a subprotocol
    /// (RFC 6455 section 4.2.2). Subprotocols are compared exactly.
    #[must_use]
    pub fn accept<S: AsRef<str>>(&self, preferences: &[S]) -> Acceptance<'h> {
        let offered = |name: &S| self.subprotocols.iter().copied().find(|offered| *offered == name.as_ref());
        Acceptance { accept_key: self.nonce.accept_key(), subprotocol: preferences.iter().find_map(offered) }
    }
}

/// The server's answer to an [`Offer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptance<'h> {
    accept_key: AcceptKey,
    subprotocol: Option<&'h str>,
}

impl<'h> Acceptance<'h> {
    /// Returns the proof that the server has read the request.
    #[must_use]
    pub const fn accept_key(&self) -> AcceptKey {
        self.accept_key
    }

    /// Returns the agreed subprotocol.
    #[must_use]
    pub const fn subprotocol(&self) -> Option<&'h str> {
        self.subprotocol
    }

    /// Returns the `101 Switching Protocols`, to which the caller can add headers (RFC 6455 section 4.2.2).
    #[must_use]
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept_key.into());
        // The name came in a header, so it is a valid header value.
        if let Some(value) = self.subprotocol.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        response
    }
}

fn check_version(headers: &impl Fields) -> Result<(), UpgradeRequestError> {
    match field::once(headers, &SEC_WEBSOCKET_VERSION) {
        Once::Missing => Err(UpgradeRequestError::MissingVersion),
        Once::Repeated => Err(UpgradeRequestError::RepeatedVersion),
        Once::Value(value) if value.trim_ascii() == VERSION.as_bytes() => Ok(()),
        Once::Value(_) => Err(UpgradeRequestError::UnsupportedVersion),
    }
}

fn parse_key(headers: &impl Fields) -> Result<Nonce, UpgradeRequestError> {
    match field::once(headers, &SEC_WEBSOCKET_KEY) {
        Once::Missing => Err(UpgradeRequestError::MissingKey),
        Once::Repeated => Err(UpgradeRequestError::RepeatedKey),
        Once::Value(value) => Nonce::parse(value.trim_ascii()).ok_or(UpgradeRequestError::InvalidKey),
    }
}

fn parse_subprotocols(headers: &impl Fields) -> Result<Vec<&str>, UpgradeRequestError> {
    let mut subprotocols = Vec::new();
    for element in field::list(headers, &SEC_WEBSOCKET_PROTOCOL) {
        let name = field::token(element).ok_or(UpgradeRequestError::InvalidSubprotocol)?;
        subprotocols.push(name);
    }
    // Sorted, because the client decides on their number.
    let mut sorted = subprotocols.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(UpgradeRequestError::RepeatedSubprotocol);
    }
    Ok(subprotocols)
}
