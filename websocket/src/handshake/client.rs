//! The client's side of the opening handshake (RFC 6455 section 4.1).
//!
//! Builds the head of the request and checks the response. The caller draws the nonce and does the I/O.

use std::io::Write;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};

use super::VERSION;
use super::error::{UpgradeResponseError, UriError};
use super::field::{self, Once};
use super::key::Nonce;

/// A request to open a WebSocket, and the check of its response.
///
/// ```
/// use tidegate_websocket::handshake::{ClientHandshake, Nonce};
/// let uri = "ws://example.com/chat?room=1".parse()?;
/// let nonce = Nonce::new(*b"the sample nonce"); // use 16 random bytes
/// let handshake = ClientHandshake::new(&uri, nonce)?.subprotocol("wamp")?;
/// let mut head = Vec::new();
/// handshake.encode(&mut head);
/// assert!(head.starts_with(b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a handshake is sent only once it is encoded"]
pub struct ClientHandshake {
    target: String,
    host: String,
    nonce: Nonce,
    subprotocols: Vec<String>,
    extensions: Option<HeaderValue>,
    headers: HeaderMap,
}

/// The agreement with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Established {
    /// The subprotocol, one of those that were offered.
    pub subprotocol: Option<String>,
    /// The server's `Sec-WebSocket-Extensions`, unparsed; `None` unless an offer was made.
    pub extensions: Option<HeaderValue>,
}

impl ClientHandshake {
    /// Prepares a handshake for a `ws` or `wss` URI. The nonce must not be used for another handshake.
    ///
    /// # Errors
    /// [`UriError`] when the URI is not a websocket URI (RFC 6455 section 3).
    pub fn new(uri: &Uri, nonce: Nonce) -> Result<Self, UriError> {
        let default_port = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("ws") => 80,
            Some(scheme) if scheme.eq_ignore_ascii_case("wss") => 443,
            _ => return Err(UriError::Scheme),
        };
        let authority = uri.authority().ok_or(UriError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UriError::UserInformation);
        }
        let name = authority.host();
        if name.is_empty() {
            return Err(UriError::Host);
        }
        let host = match authority.port_u16() {
            Some(port) if port != default_port => format!("{name}:{port}"),
            _ => name.to_owned(),
        };
        let target = match uri.path_and_query().map_or("/", PathAndQuery::as_str) {
            query if query.starts_with('?') => format!("/{query}"),
            target => target.to_owned(),
        };
        Ok(Self { target, host, nonce, subprotocols: Vec::new(), extensions: None, headers: HeaderMap::new() })
    }

    /// Offers a subprotocol, after the earlier ones.
    ///
    /// # Errors
    /// [`UriError::Subprotocol`] and [`UriError::RepeatedSubprotocol`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, UriError> {
        let name = field::token(name.as_bytes()).ok_or(UriError::Subprotocol)?;
        if self.subprotocols.iter().any(|offered| offered == name) {
            return Err(UriError::RepeatedSubprotocol);
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// Offers extensions: the value of `Sec-WebSocket-Extensions`. Default: none.
    pub fn extensions(mut self, offer: HeaderValue) -> Self {
        self.extensions = Some(offer);
        self
    }

    /// Adds a header. The headers of the handshake itself and those of a body are ignored.
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        if !is_reserved(&name) {
            if name == AUTHORIZATION {
                value.set_sensitive(true);
            }
            self.headers.append(name, value);
        }
        self
    }

    /// Appends the head of the request to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // Writing to a `Vec` cannot fail.
        let _ = write!(out, "GET {} HTTP/1.1\r\nHost: {}\r\n", self.target, self.host);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        let _ = write!(out, "Sec-WebSocket-Version: {VERSION}\r\n");
        push_header(out, "Sec-WebSocket-Key", self.nonce.as_bytes());
        if !self.subprotocols.is_empty() {
            push_header(out, "Sec-WebSocket-Protocol", self.subprotocols.join(", ").as_bytes());
        }
        if let Some(offer) = &self.extensions {
            push_header(out, "Sec-WebSocket-Extensions", offer.as_bytes());
        }
        for (name, value) in &self.headers {
            push_header(out, name.as_str(), value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Checks the head of the server's response.
    ///
    /// # Errors
    /// [`UpgradeResponseError`]: close the connection or, for a status other than 101, handle the response as HTTP.
    pub fn check_response(
        &self,
        status: StatusCode,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<Established, UpgradeResponseError> {
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpgradeResponseError::Status { status });
        }
        if version != Version::HTTP_11 {
            return Err(UpgradeResponseError::HttpVersion);
        }
        match field::once(headers, &UPGRADE) {
            Once::Value(value) if value.trim_ascii().eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(UpgradeResponseError::Upgrade),
        }
        if !field::contains_token(headers, &CONNECTION, "upgrade") {
            return Err(UpgradeResponseError::Connection);
        }
        match field::once(headers, &SEC_WEBSOCKET_ACCEPT) {
            Once::Missing => return Err(UpgradeResponseError::MissingAccept),
            Once::Repeated => return Err(UpgradeResponseError::RepeatedAccept),
            Once::Value(value) if value.trim_ascii() != self.nonce.accept_key().as_bytes() => {
                return Err(UpgradeResponseError::WrongAccept);
            }
            Once::Value(_) => {}
        }
        let subprotocol = self.check_subprotocol(headers)?;
        let extensions = self.check_extensions(headers)?;
        Ok(Established { subprotocol, extensions })
    }

    fn check_subprotocol(&self, headers: &HeaderMap) -> Result<Option<String>, UpgradeResponseError> {
        let chosen = match field::once(headers, &SEC_WEBSOCKET_PROTOCOL) {
            Once::Missing => return Ok(None),
            Once::Repeated => return Err(UpgradeResponseError::RepeatedSubprotocol),
            Once::Value(value) => value.trim_ascii(),
        };
        match self.subprotocols.iter().find(|offered| offered.as_bytes() == chosen) {
            Some(offered) => Ok(Some(offered.clone())),
            None => Err(UpgradeResponseError::UnrequestedSubprotocol),
        }
    }

    /// Compares the server's choice with the offer by name. Parameters are for the extension to check.
    fn check_extensions(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, UpgradeResponseError> {
        let offered = self.extensions.as_ref().map_or(&[][..], HeaderValue::as_bytes);
        let is_offered = |chosen: &[u8]| {
            let mut offers = offered.split(|byte| *byte == b',').map(extension_name);
            offers.any(|name| name.eq_ignore_ascii_case(extension_name(chosen)))
        };
        if !field::list(headers, &SEC_WEBSOCKET_EXTENSIONS).all(is_offered) {
            return Err(UpgradeResponseError::UnrequestedExtension);
        }
        let mut lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
        match (lines.next(), lines.next()) {
            (first, None) => Ok(first.cloned()),
            (_, Some(_)) => Ok(join_lines(headers)),
        }
    }
}

/// Joins all lines of `Sec-WebSocket-Extensions` into one.
fn join_lines(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).ok()
}

/// Returns the name in `name; parameter; parameter=value`.
fn extension_name(element: &[u8]) -> &[u8] {
    element.split(|byte| *byte == b';').next().unwrap_or(element).trim_ascii()
}

/// Returns whether the handshake sets this header itself, or the header would announce a body.
fn is_reserved(name: &HeaderName) -> bool {
    [
        HOST,
        UPGRADE,
        CONNECTION,
        SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION,
        SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_EXTENSIONS,
        SEC_WEBSOCKET_ACCEPT,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
    ]
    .contains(name)
}

fn push_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
