//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` (RFC 6455 sections 1.3, 4.2.2 and 11.3).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha1::{Digest, Sha1};

/// The string that RFC 6455 section 1.3 appends to the key before hashing.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Characters of 16 bytes in base64, padding included.
const KEY_LEN: usize = 24;
/// Characters of a SHA-1 digest in base64, padding included.
const ACCEPT_KEY_LEN: usize = 28;

/// The 16 bytes that a client draws at random for each handshake, in base64: the value of `Sec-WebSocket-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; KEY_LEN]);

impl Nonce {
    /// Returns the nonce of these bytes, which the caller draws at random.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        let mut encoded = [b'='; KEY_LEN];
        // Cannot fail: 16 bytes take exactly 24 characters.
        let _ = STANDARD.encode_slice(bytes, &mut encoded);
        Self(encoded)
    }

    /// Parses the value of a `Sec-WebSocket-Key`: canonical base64 of exactly 16 bytes, not just any 24 characters.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let encoded: [u8; KEY_LEN] = value.try_into().ok()?;
        // The decoder needs room for 24 characters without padding.
        let mut decoded = [0; 18];
        let len = STANDARD.decode_slice(encoded, &mut decoded).ok()?;
        (len == 16).then_some(Self(encoded))
    }

    /// Returns the value of the header.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the proof that a server has read this nonce.
    #[must_use]
    pub fn accept_key(&self) -> AcceptKey {
        let digest = Sha1::new().chain_update(self.0).chain_update(GUID).finalize();
        let mut encoded = [b'='; ACCEPT_KEY_LEN];
        // Cannot fail: 20 bytes take exactly 28 characters.
        let _ = STANDARD.encode_slice(digest, &mut encoded);
        AcceptKey(encoded)
    }
}

/// The value of `Sec-WebSocket-Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptKey([u8; ACCEPT_KEY_LEN]);

impl AcceptKey {
    /// Returns the value of the header.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<AcceptKey> for HeaderValue {
    fn from(key: AcceptKey) -> Self {
        // Base64 is always a valid header value.
        Self::from_bytes(&key.0).unwrap_or(Self::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let nonce = Nonce::parse(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(nonce, Nonce::new(*b"the sample nonce"));
        assert_eq!(nonce.accept_key().as_bytes(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(HeaderValue::from(nonce.accept_key()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_base64_of_sixteen_bytes_is_a_key() {
        for value in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",  // no padding
            "dGhlIHNhbXBsZSBub25jZQ=", // half the padding
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZSE=", // 17 bytes
            "dGhlIHNhbXBsZSBub25jZSEh", // 18 bytes
            "dGhlIHNhbXBsZSBub25jZR==", // bits set that decode to nothing
            "dGhlIHNhbXBsZSBub25j!Q==",
            "dGhlIHNhbXBsZSBub25jZ===",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert_eq!(Nonce::parse(value.as_bytes()), None, "{value}");
        }
    }
}
