//! The patterns of routes, and the percent-decoding of their parameters.
//!
//! Owns the syntax, `/ws/:room` and `/files/*rest` or `/ws/{room}` and `/files/{*rest}`, and its translation to that of
//! `matchit`. Called by the router, and by the WebSocket crate's text routes, while routes are registered; decoding is
//! called for each parameter with a percent sign.

/// The largest number of parameters in one pattern.
pub(crate) const PARAMS_MAX: usize = 16;

/// One segment of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment<'p> {
    Literal(&'p str),
    /// `:name` or `{name}`.
    Param(&'p str),
    /// `*name` or `{*name}`.
    Wildcard(&'p str),
}

impl<'p> Segment<'p> {
    pub(crate) fn parse(segment: &'p str) -> Segment<'p> {
        let braced = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match (segment.as_bytes(), braced) {
            (_, Some(name)) => name.strip_prefix('*').map_or(Segment::Param(name), Segment::Wildcard),
            ([b':', ..], _) => Segment::Param(&segment[1..]),
            ([b'*', ..], _) => Segment::Wildcard(&segment[1..]),
            _ => Segment::Literal(segment),
        }
    }
}

/// Returns the segments of a pattern, of which the first, before the first slash, is the empty literal.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = Segment<'_>> {
    path.split('/').map(Segment::parse)
}

/// Returns the names of a pattern's parameters, in order.
pub(crate) fn param_names(path: &str) -> impl Iterator<Item = &str> {
    segments(path).filter_map(|segment| match segment {
        Segment::Param(name) | Segment::Wildcard(name) => Some(name),
        Segment::Literal(_) => None,
    })
}

/// Translates a pattern to the syntax of `matchit`. Not part of the API: public for the text routes of WebSockets.
///
/// # Panics
/// If the pattern is invalid; the message says how to fix it.
#[doc(hidden)]
pub fn to_matchit_syntax(path: &str) -> String {
    assert!(path.starts_with('/'), "invalid route {path:?}: must begin with a slash");
    assert!(
        path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')),
        "invalid route {path:?}: must be percent-encoded as in a request, and have no query or fragment"
    );
    let mut translated = String::with_capacity(path.len() + 8);
    let mut names = Vec::new();
    let mut rest = path[1..].split('/').peekable();
    while let Some(text) = rest.next() {
        translated.push('/');
        let (open, name) = match Segment::parse(text) {
            Segment::Literal(literal) => {
                assert!(
                    !literal.contains(['{', '}']),
                    "invalid route {path:?}: braces must enclose a whole segment, as in `/{{user_id}}`; a literal \
                     brace is written %7B or %7D"
                );
                translated.push_str(literal);
                continue;
            }
            Segment::Param(name) => ("{", name),
            Segment::Wildcard(name) => ("{*", name),
        };
        assert!(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "invalid route {path:?}: a parameter's name must be letters, digits and underscores, as in `:user_id` or \
             `{{user_id}}`"
        );
        assert!(
            open == "{" || rest.peek().is_none(),
            "invalid route {path:?}: the wildcard `{text}` must be the last segment"
        );
        assert!(!names.contains(&name), "invalid route {path:?}: two parameters are named {name:?}; rename one");
        names.push(name);
        translated.extend([open, name, "}"]);
    }
    assert!(
        names.len() <= PARAMS_MAX,
        "invalid route {path:?}: has {} parameters, at most {PARAMS_MAX} are allowed",
        names.len()
    );
    translated
}

/// Decodes percent signs (RFC 3986 section 2.1), as the router does for parameters: for queries, and for paths from
/// elsewhere. `None` if one is not followed by two hexadecimal digits, or if the result is not UTF-8.
///
/// ```
/// assert_eq!(tidegate_http::percent_decode("a%20b").as_deref(), Some("a b"));
/// assert_eq!(tidegate_http::percent_decode("100%"), None);
/// ```
pub fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = (bytes.next()? as char).to_digit(16)?;
        let low = (bytes.next()? as char).to_digit(16)?;
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_translated() {
        assert_eq!(to_matchit_syntax("/"), "/");
        assert_eq!(to_matchit_syntax("/ws/:room"), "/ws/{room}");
        assert_eq!(to_matchit_syntax("/:a/b/*rest"), "/{a}/b/{*rest}");
        assert_eq!(to_matchit_syntax("/{a}/b/{*rest}"), "/{a}/b/{*rest}");
        assert_eq!(to_matchit_syntax("/a:b/c*/"), "/a:b/c*/");
    }

    #[test]
    fn invalid_paths_panic() {
        for path in [
            "", "a", "/a?b", "/a b", "/:", "/*", "/*a/b", "/:a/:a", "/:a/{a}", "/:a-b", "/\u{e9}", "/{}", "/{*}",
            "/{*a}/b", "/a{b}", "/{a}b", "/{a", "/a}", "/{:a}",
        ] {
            assert!(std::panic::catch_unwind(|| to_matchit_syntax(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn percent_signs_are_decoded() {
        let decode = |text| percent_decode(text);
        assert_eq!(decode("a%20b%2Fc%2f"), Some("a b/c/".into()));
        assert_eq!(decode("%C3%A9+"), Some("\u{e9}+".into()));
        for invalid in ["%", "%2", "%2g", "%g2", "%+1", "%ff", "%C3"] {
            assert_eq!(decode(invalid), None, "{invalid}");
        }
    }
}
