//! Tokens and comma-separated lists in field values (RFC 9110, sections 5.6.1 and 5.6.2).
//!
//! The one implementation for every field that is a token or a list of tokens: Connection, Transfer-Encoding and
//! Upgrade here, `Sec-WebSocket-Protocol`, `Sec-WebSocket-Version` and the rest of the opening handshake in the
//! websocket crate. Public for that crate alone, and hidden from the documentation.
//!
//! Quoted strings are not recognised: a comma or a semicolon in one separates too. Fields that allow them need a parser
//! on top, which can check its parts with [`token`].

/// Returns the elements of a comma-separated list, without the whitespace around them. Empty elements are skipped (RFC
/// 9110, section 5.6.1.2).
///
/// For a field with several lines, chain the lines: `lines.flat_map(list_elements)`.
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Returns whether a list has an element equal to `token`, ignoring case.
pub fn contains_token(value: &[u8], token: &[u8]) -> bool {
    list_elements(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// Returns the bytes as text if they are a token (RFC 9110, section 5.6.2): not empty, and token bytes only.
pub fn token(bytes: &[u8]) -> Option<&str> {
    let is_token = !bytes.is_empty() && bytes.iter().copied().all(is_token_byte);
    if is_token { std::str::from_utf8(bytes).ok() } else { None }
}

/// Returns whether a byte is allowed in a token (RFC 9110, section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

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
