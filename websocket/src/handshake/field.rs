//! Header fields that are comma-separated lists, over one line or several (RFC 9110 section 5.6.1).

use http::{HeaderMap, HeaderName, HeaderValue};

/// The elements of a list field, over all of its lines, without the empty ones.
pub(super) fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Does the list field contain this token, in any case?
pub(super) fn contains_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// How often a field occurs that must occur once.
pub(super) enum Once<'h> {
    Missing,
    Value(&'h HeaderValue),
    Repeated,
}

pub(super) fn once<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Once<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Once::Missing,
        (Some(value), None) => Once::Value(value),
        (Some(_), Some(_)) => Once::Repeated,
    }
}

/// The bytes as text if they are a token (RFC 9110 section 5.6.2).
pub(super) fn token(bytes: &[u8]) -> Option<&str> {
    let is_token =
        !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    if is_token { std::str::from_utf8(bytes).ok() } else { None }
}
