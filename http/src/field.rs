//! Tokens, comma-separated lists (RFC 9110 sections 5.6.1 and 5.6.2) and hosts (section 7.2) in field values.
//!
//! The one implementation for every field that is a token or a list of tokens: Connection, Transfer-Encoding and
//! Upgrade here, `Sec-WebSocket-Protocol`, `Sec-WebSocket-Version` and the rest of the opening handshake in the
//! websocket crate. Hosts stand in Host and in targets here, and in Origin there.
//!
//! Quoted strings are not recognised: a comma or a semicolon in one separates too. Fields that allow them need a parser
//! on top, which can check its parts with [`token`].

use std::net::Ipv6Addr;

/// Returns the elements of a comma-separated list, without the whitespace around them. Empty elements are skipped (RFC
/// 9110 section 5.6.1.2).
///
/// For a field with several lines, chain the lines: `lines.flat_map(list_elements)`.
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Returns whether a list has an element equal to `token`, ignoring case.
pub fn contains_token(value: &[u8], token: &[u8]) -> bool {
    list_elements(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// Returns the bytes as text if they are a token (RFC 9110 section 5.6.2): not empty, and token bytes only.
pub fn token(bytes: &[u8]) -> Option<&str> {
    let is_token = !bytes.is_empty() && bytes.iter().copied().all(is_token_byte);
    if is_token { std::str::from_utf8(bytes).ok() } else { None }
}

/// Returns whether a byte is allowed in a token (RFC 9110 section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// The host of `uri-host [ ":" port ]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name or an IPv4 address, possibly empty.
    Name(&'a [u8]),
    /// An IPv6 address, given in brackets.
    Ipv6(Ipv6Addr),
}

/// Splits `uri-host [ ":" port ]` (RFC 3986 section 3.2.2) into the host and the bytes of the port, which are empty if
/// there is none and otherwise unchecked. `None` for a host that is no address and no name, so neither user information
/// nor a path passes.
///
/// Percent signs are refused: `http::Uri` accepts none in a host, and names in the DNS are in their IDNA encoding.
/// RFC 9112 section 3.2: an invalid Host is answered with 400.
#[inline]
pub fn split_host(value: &[u8]) -> Option<(Host<'_>, &[u8])> {
    if let [b'[', rest @ ..] = value {
        let end = rest.iter().position(|&byte| byte == b']')?;
        let address = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        return match &rest[end + 1..] {
            [] => Some((Host::Ipv6(address), &[])),
            [b':', port @ ..] => Some((Host::Ipv6(address), port)),
            _ => None,
        };
    }
    // The first byte not allowed in a name is the colon before the port, or the value is invalid.
    match value.iter().position(|&byte| !NAME_BYTES[usize::from(byte)]) {
        None => Some((Host::Name(value), &[])),
        Some(colon) if value[colon] == b':' => Some((Host::Name(&value[..colon]), &value[colon + 1..])),
        Some(_) => None,
    }
}

/// Whether each byte value is allowed in a host name: unreserved and sub-delims, which include the bytes of IPv4
/// addresses.
static NAME_BYTES: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        allowed[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=');
        byte += 1;
    }
    allowed
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_elements_and_whitespace_are_skipped() {
        assert!(list_elements(b" a,\tb c ,, ,d").eq([b"a".as_slice(), b"b c", b"d"]));
        assert!(list_elements(b" , ,").next().is_none());
        assert!(contains_token(b"keep-alive, Upgrade", b"upgrade"));
        assert!(!contains_token(b"keep-alive, upgrades", b"upgrade"));
    }

    #[test]
    fn tokens_are_the_bytes_of_rfc_9110() {
        for byte in 0..=255_u8 {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token_byte(byte), expected, "{byte}");
            assert_eq!(token(&[b'a', byte]).is_some(), expected, "{byte}");
        }
        assert_eq!(token(b""), None);
    }
}
