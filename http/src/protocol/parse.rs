//! Parses one complete request head, strictly.
//!
//! Owns the way from the bytes of a head to a [`RequestHead`] and its [`Conclusion`]. `scan` has found the end of the
//! head and bounded its size; `httparse` splits the lines; `target` and `header_facts` check the parts. Called by the
//! reading machine. Keeps nothing, and allocates only the head it returns.

use std::mem::MaybeUninit;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Version};

use crate::error::RequestError;
use crate::field::is_token_byte;
use crate::limits::Limits;
use crate::message::body::Body;
use crate::message::conclusion::Conclusion;
use crate::message::head::RequestHead;
use crate::message::head_memory::{Field, HeadMemory, Span};
use crate::message::request::Request;
use crate::protocol::header_facts::HeaderFacts;
use crate::protocol::scan::METHOD_BYTES_MAX;
use crate::protocol::target::{Path, Target, parse_target};

/// A head, its meaning, and its length in bytes.
type Parsed = (RequestHead, Conclusion, usize);

/// Parses `bytes`, which end with the empty line of the head and can begin with one empty line to skip.
pub(crate) fn parse_head(bytes: &[u8], limits: &Arc<Limits>) -> Result<(RequestHead, Conclusion), RequestError> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let (head, conclusion, length) = match parse(bytes, limits) {
        Err(RequestError::VersionUnsupported) => parse(&as_minor_1(bytes)?, limits)?,
        parsed => parsed?,
    };
    // The scanner and the parser agree on the end of a head. If they ever do not, the request is refused.
    if length != bytes.len() {
        return Err(RequestError::FieldValue);
    }
    Ok((head, conclusion))
}

/// Parses the head at the start of `input` without scanning it first, if it is complete and valid, as nearly every one
/// is. Otherwise returns `None`: the scanner finds its end, or the reason to refuse it.
///
/// The requests of a pipeline or of one client are often equal: a head that equals the last one on this thread is not
/// parsed again. A complete head means the same whatever follows it.
#[inline]
pub(crate) fn parse_unscanned(input: &[u8], limits: &Arc<Limits>) -> Option<Parsed> {
    if let Some((memory, conclusion)) = HeadMemory::reuse_last(input, limits) {
        let length = memory.head_bytes();
        return Some((RequestHead::from(memory), conclusion, length));
    }
    parse_fresh(input, limits)
}

fn parse_fresh(input: &[u8], limits: &Arc<Limits>) -> Option<Parsed> {
    if !input.first().copied().is_some_and(is_token_byte) {
        return None;
    }
    parse(input, limits).ok()
}

fn parse(bytes: &[u8], limits: &Arc<Limits>) -> Result<Parsed, RequestError> {
    let mut table = [const { MaybeUninit::uninit() }; Limits::FIELDS_CEILING];
    let table = &mut table[..limits.fields_max.min(Limits::FIELDS_CEILING)];
    let mut lines = httparse::Request::new(&mut []);
    let length = match lines.parse_with_uninit_headers(bytes, table) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Err(RequestError::Incomplete),
        Err(error) => return Err(refusal(error, bytes)),
    };
    let bytes = &bytes[..length];
    let (Some(method), Some(target), Some(minor)) = (lines.method, lines.path, lines.version) else {
        return Err(RequestError::RequestLine);
    };
    // The scanner checks these two too, if it ran.
    if method.len() > METHOD_BYTES_MAX {
        return Err(RequestError::MethodTooLong);
    }
    if length > limits.head_bytes_max {
        return Err(RequestError::HeadTooLarge);
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| RequestError::Method)?;
    let version = match minor {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    if target.len() > limits.target_bytes_max {
        return Err(RequestError::TargetTooLong);
    }
    let parts = parse_target(&method, target.as_bytes())?;
    let mut facts = HeaderFacts::default();
    for (index, field) in lines.headers.iter().enumerate() {
        // A name begins right after the line end before it. `httparse` accepts a bare line feed there.
        if !bytes[..offset(bytes, field.name.as_bytes())].ends_with(b"\r\n") {
            return Err(RequestError::BareLineFeed);
        }
        facts.note(index, field.name.as_bytes(), field.value)?;
    }
    if !bytes.ends_with(b"\r\n\r\n") {
        return Err(RequestError::BareLineFeed);
    }
    let conclusion = facts.conclude(version, limits)?;

    let mut memory = HeadMemory::take();
    memory.set_bytes(bytes);
    let position = |part: &[u8]| Span::new(offset(bytes, part), part.len());
    let fields = lines.headers.iter();
    memory
        .fields
        .extend(fields.map(|field| Field { name: position(field.name.as_bytes()), value: position(field.value) }));
    memory.method = method;
    memory.version = version;
    memory.target = memory.append_text(target);
    memory.upgrade = conclusion.upgrade;
    place_path(&parts, &mut memory);
    memory.complete(conclusion, limits);
    if let Some(authority) = &parts.authority {
        let start = offset(bytes, target.as_bytes()) + authority.start;
        place_authority(Span::new(start, authority.len()), facts.host_index(), &mut memory);
    }
    Ok((RequestHead::from(memory), conclusion, length))
}

/// Returns a head of a higher minor version of HTTP/1 as one of HTTP/1.1, as which a recipient is to process it (RFC
/// 9110 section 2.5).
fn as_minor_1(bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
    let line_end = bytes.iter().position(|&byte| byte == b'\r').ok_or(RequestError::VersionUnsupported)?;
    let (line, rest) = bytes.split_at(line_end);
    match line {
        [start @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            Ok([start, b" HTTP/1.1", rest].concat())
        }
        _ => Err(RequestError::VersionUnsupported),
    }
}

/// Makes the authority of the target the value of Host, whether there was one or not (RFC 9112 section 3.2.2).
#[cold]
fn place_authority(authority: Span, host_index: Option<usize>, memory: &mut HeadMemory) {
    match host_index.and_then(|index| memory.fields.get_mut(index)) {
        Some(host) => host.value = authority,
        None => memory.push_host(authority),
    }
}

/// Stores the positions of the path and the query.
fn place_path(target: &Target, memory: &mut HeadMemory) {
    memory.path = match &target.path {
        Path::Given(path) => Span::new(path.start, path.len()),
        Path::Root => memory.append_text("/"),
    };
    memory.query = target.query.as_ref().map(|query| Span::new(query.start, query.len()));
}

/// Returns the position in `bytes` of a slice of it.
fn offset(bytes: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize)
}

/// Translates an error of `httparse`. The request line is checked again, as the errors about it are not specific.
fn refusal(error: httparse::Error, bytes: &[u8]) -> RequestError {
    match error {
        httparse::Error::HeaderName => RequestError::FieldName,
        httparse::Error::HeaderValue => RequestError::FieldValue,
        httparse::Error::TooManyHeaders => RequestError::TooManyFields,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status | httparse::Error::NewLine => {
            request_line_refusal(bytes)
        }
    }
}

fn request_line_refusal(bytes: &[u8]) -> RequestError {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let parts: Vec<&[u8]> = line.splitn(4, |&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return RequestError::RequestLine;
    };
    if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
        return RequestError::Method;
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return RequestError::Target;
    }
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => RequestError::FieldValue,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            RequestError::VersionUnsupported
        }
        _ => RequestError::VersionMalformed,
    }
}

impl Request {
    /// Parses a request for a handler's test: the bytes of a head, with its empty line, and the content.
    ///
    /// # Errors
    /// The same as for a request received from a peer.
    ///
    /// ```
    /// let request = tidegate_http::Request::parse(b"GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n", "")?;
    /// assert_eq!(request.path(), "/a");
    /// # Ok::<(), tidegate_http::protocol::RequestError>(())
    /// ```
    pub fn parse(head: &[u8], content: impl Into<Bytes>) -> Result<Request, RequestError> {
        let (head, _) = parse_head(head, &Arc::default())?;
        Ok(Request::new(head, Body::from(content.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<RequestHead, RequestError> {
        parse_head(head.as_bytes(), &Arc::default()).map(|parsed| parsed.0)
    }

    #[test]
    fn parts_are_found() {
        let head = parse("POST /a%20b?c=d HTTP/1.1\r\nHost:  a \r\nX-Two: 1\r\nx-two: 2\r\n\r\n").expect("valid");
        assert_eq!(head.method(), Method::POST);
        assert_eq!(head.version(), Version::HTTP_11);
        assert_eq!(head.target(), "/a%20b?c=d");
        assert_eq!((head.path(), head.raw_query()), ("/a%20b", Some("c=d")));
        assert_eq!(head.header("HOST"), Some("a"));
        assert_eq!(head.header("x-TWO"), Some("1"));
        assert_eq!(head.header("x-three"), None);
        assert_eq!(head.headers().get_all("x-two").iter().count(), 2);
        assert_eq!(head.uri().expect("uri").query(), Some("c=d"));
        let names: Vec<_> = head.fields().map(|field| field.0).collect();
        assert_eq!(names, ["Host", "X-Two", "x-two"]);
    }

    #[test]
    fn only_a_complete_valid_head_is_parsed_unscanned() {
        let limits = Limits::default().head_bytes_max(40).target_bytes_max(8).fields_max(2);
        let limits = Arc::new(limits);
        let length = |input: &str| parse_unscanned(input.as_bytes(), &limits).map(|parsed| parsed.2);
        assert_eq!(length("GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"), Some(27));
        for input in [
            "",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: 1234567890\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\na:\r\nb:\r\n\r\n",
            "GET /12345678 HTTP/1.1\r\nHost:\r\n\r\n",
        ] {
            assert_eq!(length(input), None, "{input:?}");
        }
        let method = "M".repeat(METHOD_BYTES_MAX + 1);
        let input = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(parse_unscanned(input.as_bytes(), &Arc::default()).is_none());
        assert!(parse_unscanned(&input.as_bytes()[1..], &Arc::default()).is_some());
    }

    #[test]
    fn the_error_of_a_request_line_names_its_part() {
        use RequestError as E;
        for (line, error) in [
            ("GET", E::RequestLine),
            ("GET /", E::RequestLine),
            ("GET / HTTP/1.1 x", E::RequestLine),
            (" / HTTP/1.1", E::Method),
            ("G(T / HTTP/1.1", E::Method),
            ("GET  HTTP/1.1", E::Target),
            ("GET /\x7f HTTP/1.1", E::Target),
            ("GET / HTTP/1.2", E::VersionUnsupported),
            ("GET / HTTP/0.9", E::VersionUnsupported),
            ("PRI * HTTP/2.0", E::VersionUnsupported),
            ("GET / HTTP/x.1", E::VersionMalformed),
            ("GET / HTTP/1.x", E::VersionMalformed),
            ("GET / HTTP/11", E::VersionMalformed),
            ("GET / http/1.1", E::VersionMalformed),
            // The line is right, so the error is in what follows.
            ("GET / HTTP/1.0", E::FieldValue),
            ("GET / HTTP/1.1", E::FieldValue),
        ] {
            for end in ["\r\nHost: a\r\n\r\n", "\n", ""] {
                assert_eq!(request_line_refusal(format!("{line}{end}").as_bytes()), error, "{line:?} and {end:?}");
            }
        }
    }

    #[test]
    fn an_absolute_target_replaces_host() {
        let head = parse("GET http://b:81?q HTTP/1.1\r\nHost: a\r\n\r\n").expect("valid");
        assert_eq!(head.header("host"), Some("b:81"));
        assert_eq!(head.headers()["host"], "b:81");
        assert_eq!((head.path(), head.raw_query()), ("/", Some("q")));
        assert_eq!(head.target(), "http://b:81?q");
    }

    #[test]
    fn an_absolute_target_stands_for_a_missing_host() {
        let limits = Arc::default();
        let input = b"GET http://b:81/ HTTP/1.0\r\nX: 1\r\n\r\n".as_slice();
        for followed in [input.to_vec(), [input, b"Host: c\r\n"].concat(), input.to_vec()] {
            let (head, _, length) = parse_unscanned(&followed, &limits).expect("valid");
            assert_eq!(length, input.len());
            assert_eq!((head.header("host"), head.header("x")), (Some("b:81"), Some("1")));
            assert_eq!((head.headers()["host"].as_bytes(), head.fields().count()), (&b"b:81"[..], 2));
            assert_eq!(head.copy().header("host"), Some("b:81"));
        }
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").expect("valid").header("host"), None);
    }

    #[test]
    fn a_higher_minor_version_is_processed_as_1_1() {
        for digit in 2..=9 {
            let request = format!("POST /a HTTP/1.{digit}\r\nHost: b\r\nContent-Length: 3\r\n\r\n");
            for input in [request.clone(), format!("\r\n{request}")] {
                let head = parse(&input).expect("valid");
                assert_eq!((head.version(), head.path(), head.header("host")), (Version::HTTP_11, "/a", Some("b")));
            }
        }
        let missing_host = parse("GET / HTTP/1.2\r\n\r\n").map(|_| ());
        assert_eq!(missing_host, Err(RequestError::HostMissing));
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/2.2", "HTTP/9.1"] {
            let refused = parse(&format!("GET / {version}\r\nHost: a\r\n\r\n")).map(|_| ());
            assert_eq!(refused, Err(RequestError::VersionUnsupported), "{version}");
        }
        let malformed = parse("GET / HTTP/1.10\r\nHost: a\r\n\r\n").map(|_| ());
        assert_eq!(malformed, Err(RequestError::VersionMalformed));
    }

    #[test]
    fn values_can_have_any_bytes_except_controls() {
        let head =
            parse_head(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\ta\r\nY:\r\n\r\n", &Arc::default()).expect("valid").0;
        assert_eq!(head.header("x"), None);
        assert_eq!(head.header_bytes("x"), Some(&b"\xff\ta"[..]));
        assert_eq!(head.header("y"), Some(""));
        assert_eq!(head.headers().len(), 3);
    }

    #[test]
    fn memory_is_reused_without_its_content() {
        let first = parse("GET /first HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n").expect("valid");
        drop(first);
        let mut second = parse("GET /second HTTP/1.1\r\nHost: b\r\n\r\n").expect("valid");
        second.push_param("name", "value");
        assert_eq!(second.fields().count(), 1);
        assert_eq!((second.path(), second.header("x")), ("/second", None));
        assert_eq!(second.param("name"), Some("value"));
        drop(second);
        let third = parse("GET / HTTP/1.1\r\nHost: b\r\n\r\n").expect("valid");
        assert_eq!(third.params().count(), 0);
    }

    #[test]
    fn a_reused_head_means_the_same_and_keeps_nothing_of_its_use() {
        let limits = Arc::default();
        let input = b"POST http://b/a/x?q HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n".as_slice();
        let followed = [input, b"abc"].concat();
        let (mut first, conclusion, length) = parse_unscanned(input, &limits).expect("valid");
        first.push_param("name", "value");
        first.push_param_of_path("rest", Span::new(3, 1));
        first.extensions_mut().insert(1_u8);
        let of_first = first.headers().clone();
        drop(first);
        assert!(HeadMemory::reuse_last(&input[..length - 1], &limits).is_none());
        let (again, again_conclusion, again_length) = parse_unscanned(&followed, &limits).expect("valid");
        assert_eq!((again_conclusion, again_length), (conclusion, length));
        assert_eq!((again.method(), again.path(), again.raw_query()), (&Method::POST, "/a/x", Some("q")));
        assert_eq!((again.target(), again.header("host")), ("http://b/a/x?q", Some("b")));
        assert_eq!(again.headers(), &of_first);
        assert_eq!((again.params().count(), again.extensions().len()), (0, 0));
        drop(again);
        assert!(HeadMemory::reuse_last(&followed, &limits).is_some());
    }

    #[test]
    fn a_head_is_reused_only_under_the_same_limits() {
        let input = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        let strict = Arc::new(Limits::default().body_bytes_max(2));
        let short = Arc::new(Limits::default().head_bytes_max(20).target_bytes_max(10));
        assert!(parse_unscanned(input, &Arc::default()).is_some());
        for limits in [strict, short] {
            assert!(parse_unscanned(input, &limits).is_none());
            // A refused head is not reused either.
            assert!(parse_unscanned(input, &limits).is_none());
        }
    }
}
