//! The four forms of a request-target (RFC 9112 section 3.2) and the syntax of Host (RFC 9110 section 7.2).
//!
//! Owns the decision which bytes are valid in a target, and which are its path, query and authority. It decodes no
//! percent signs: the router does, for parameters. Called by `parse` and `header_facts`.

use std::ops::Range;

use http::Method;

use crate::error::RequestError;
use crate::field::{Host, split_host};

/// The parts of a target, as positions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Empty for the authority form; `*` for the asterisk form; `/` at least otherwise.
    pub(crate) path: Path,
    /// Without the question mark.
    pub(crate) query: Option<Range<usize>>,
    /// In the absolute form only.
    pub(crate) authority: Option<Range<usize>>,
}

/// The path of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// The bytes at these positions.
    Given(Range<usize>),
    /// An absolute form without a path, which means `/` (RFC 9110 section 4.2.3).
    Root,
}

/// Checks a request-target against its method, and finds its parts.
pub(crate) fn parse_target(method: &Method, target: &[u8]) -> Result<Target, RequestError> {
    if method == Method::CONNECT {
        return Err(RequestError::Connect);
    }
    match target {
        // RFC 9112 section 3.2.4: only for OPTIONS of the whole server.
        b"*" if method == Method::OPTIONS => Ok(Target { path: Path::Given(0..1), query: None, authority: None }),
        [b'/', ..] => origin_form(target, 0),
        _ => absolute_form(target),
    }
}

/// Returns whether a field value is `uri-host [ ":" port ]`. Empty is valid: the target then has no authority.
pub(crate) fn is_host(value: &[u8]) -> bool {
    match split_host(value) {
        Some((Host::Name(b""), _)) => value.is_empty(),
        Some((_, port)) => is_port(port),
        None => false,
    }
}

fn origin_form(target: &[u8], start: usize) -> Result<Target, RequestError> {
    // The first byte not allowed in a path is the question mark, or the target is refused.
    let path_end = target[start..].iter().position(|&byte| !is_of(byte, PATH)).map_or(target.len(), |end| start + end);
    let query = match target[path_end..] {
        [] => None,
        [b'?', ref query @ ..] if all_of(query, QUERY) => Some(path_end + 1..target.len()),
        _ => return Err(RequestError::Target),
    };
    Ok(Target { path: Path::Given(start..path_end), query, authority: None })
}

/// Parses the absolute form, which a server must accept although only clients of proxies send it (RFC 9112,
/// section 3.2.2).
fn absolute_form(target: &[u8]) -> Result<Target, RequestError> {
    let start = if starts_with_ignoring_case(target, b"http://") {
        7
    } else if starts_with_ignoring_case(target, b"https://") {
        8
    } else {
        return Err(RequestError::Target);
    };
    let end = target[start..]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .map_or(target.len(), |offset| start + offset);
    // RFC 9110 section 4.2: the host of an http URI is not empty; section 4.2.4: no user information.
    if start == end || !is_host(&target[start..end]) {
        return Err(RequestError::Target);
    }
    let mut parts = origin_form(target, end)?;
    if parts.path == Path::Given(end..end) {
        parts.path = Path::Root;
    }
    parts.authority = Some(start..end);
    Ok(parts)
}

fn starts_with_ignoring_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.len() >= prefix.len() && bytes[..prefix.len()].eq_ignore_ascii_case(prefix)
}

/// Returns whether a text is a port: any number of digits, but the value must fit (RFC 3986 section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0_u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
            <= u32::from(u16::MAX)
}

/// The classes of bytes, each a bit in [`CLASSES`].
const PATH: u8 = 1;
const QUERY: u8 = 2;

/// The classes of each byte value.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let class = &mut classes[byte as usize];
        if is_path_byte(byte) {
            *class |= PATH;
        }
        if is_query_byte(byte) {
            *class |= QUERY;
        }
        byte += 1;
    }
    classes
};

fn is_of(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Returns whether all bytes are of a class, without a branch per byte.
fn all_of(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |seen, &byte| seen & CLASSES[usize::from(byte)]) == class
}

/// Returns whether `http::Uri` accepts a byte in a path: those of RFC 3986, and those that browsers leave unencoded.
const fn is_path_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'<' | b'>' | b'?' | b'`')
}

/// Returns whether `http::Uri` accepts a byte in a query. A fragment is never part of a target.
const fn is_query_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
        let parsed = parse_target(&Method::GET, target.as_bytes()).ok()?;
        let path = match parsed.path {
            Path::Given(range) => &target[range],
            Path::Root => "/",
        };
        Some((path, parsed.query.map(|range| &target[range]), parsed.authority.map(|range| &target[range])))
    }

    #[test]
    fn forms() {
        assert_eq!(parts("/"), Some(("/", None, None)));
        assert_eq!(parts("/a/b?c=d?e"), Some(("/a/b", Some("c=d?e"), None)));
        assert_eq!(parts("/a?"), Some(("/a", Some(""), None)));
        assert_eq!(parts("//a"), Some(("//a", None, None)));
        assert_eq!(parts("HTTP://a:8/b?c"), Some(("/b", Some("c"), Some("a:8"))));
        assert_eq!(parts("https://[::1]"), Some(("/", None, Some("[::1]"))));
        assert_eq!(parts("http://a?b"), Some(("/", Some("b"), Some("a"))));
    }

    #[test]
    fn refused_targets() {
        for target in [
            "*",
            "a",
            "a/b",
            "?a",
            "/a#b",
            "/a?b#c",
            "http://",
            "http:///a",
            "http://user@a/",
            "http://a:port/",
            "http://a%20b/",
            "ftp://a/",
            "/\u{e9}",
            "/a\u{7f}",
        ] {
            assert_eq!(parts(target), None, "{target}");
        }
        let asterisk = parse_target(&Method::OPTIONS, b"*").expect("OPTIONS *");
        assert_eq!(asterisk.path, Path::Given(0..1));
        assert_eq!(parse_target(&Method::CONNECT, b"a:443"), Err(RequestError::Connect));
    }

    #[test]
    fn every_accepted_byte_makes_a_uri() {
        for byte in 0..=255_u8 {
            for (prefix, rest) in [("/a", ""), ("/a?b", ""), ("http://a", "b/c"), ("http://", ":80")] {
                let target = [prefix.as_bytes(), &[byte], rest.as_bytes()].concat();
                if parse_target(&Method::GET, &target).is_ok() {
                    let uri = http::Uri::try_from(target.as_slice());
                    assert!(uri.is_ok(), "{prefix}, byte {byte}, {rest}");
                }
            }
        }
        for target in ["http://a:/", "http://a:00080", "http://[::1]:1?b", "http://[::ffff:127.0.0.1]/"] {
            assert!(parts(target).is_some() && http::Uri::try_from(target).is_ok(), "{target}");
        }
    }

    #[test]
    fn hosts() {
        for host in ["", "a", "a.b", "a:80", "a:", "127.0.0.1:1", "[::1]", "[::1]:80", "a:00080", "a:65535"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a,b:c",
            "a/b",
            "a%20b",
            "u@a",
            "u@80",
            "a/80",
            "a 80",
            "a:b",
            "a:65536",
            ":80",
            "[::1",
            "[]",
            "[::1]a",
            "[fe80::1%25eth0]",
            "::1",
            "a:99999999999999999999",
            "\u{e9}",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
