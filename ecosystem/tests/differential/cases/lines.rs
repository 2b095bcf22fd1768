//! Kinds of request lines, and of what stands in front of them and between lines.

use super::Kind;
use super::draft::Draft;
use crate::random::Random;

pub fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::new("a valid request", |_, _| {})];
    kinds.extend(methods());
    kinds.extend(targets());
    kinds.extend(versions());
    kinds.extend(line_ends());
    kinds
}

fn methods() -> Vec<Kind> {
    let set = |_: &mut Random, draft: &mut Draft, method: &&'static str| draft.method = method.as_bytes().into();
    vec![
        Kind::of(
            "another registered method",
            &["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "LOCK"],
            set,
        ),
        Kind::of("method HEAD", &["HEAD"], |_, draft, method| {
            draft.without_content();
            draft.method = method.as_bytes().into();
        }),
        Kind::of("method TRACE", &["TRACE"], |_, draft, method| {
            draft.without_content();
            draft.method = method.as_bytes().into();
        }),
        Kind::of("a method with a hyphen or an underscore", &["M-SEARCH", "A_B"], set),
        Kind::of("a method with digits or other token bytes", &["GET1", "A.B", "A!", "#A", "A+B", "~", "A|B"], set),
        Kind::of("a method in lower case", &["get", "Post", "foo"], set),
        Kind::of("a method with a delimiter", &["A@B", "A:B", "A/B", "A\"", "(A)", "A=B", "{A}", "A,B"], set),
        Kind::of("no method", &[""], set),
        Kind::of("a method of 40 bytes", &["ABCDEFGHIJABCDEFGHIJABCDEFGHIJABCDEFGHIJ"], set),
        Kind::of("CONNECT", &["a.example:443", "/"], |_, draft, target| {
            draft.without_content();
            (draft.method, draft.target) = (b"CONNECT".into(), target.as_bytes().into());
        }),
        Kind::of("content in a HEAD request", &["HEAD"], |random, draft, method| {
            draft.set_length(random, &["5"]);
            draft.method = method.as_bytes().into();
        }),
        Kind::of("content in a GET or DELETE request", &["GET", "DELETE"], |random, draft, method| {
            draft.set_length(random, &["5"]);
            draft.method = method.as_bytes().into();
        }),
    ]
}

fn targets() -> Vec<Kind> {
    let set = |_: &mut Random, draft: &mut Draft, target: &&'static str| draft.target = target.as_bytes().into();
    let set_get = |_: &mut Random, draft: &mut Draft, target: &&'static str| {
        draft.without_content();
        draft.target = target.as_bytes().into();
    };
    vec![
        Kind::of("dots and slashes in a path", &["/a/../b", "//", "/./a//b/", "/../a", "/a/%2e%2e/b"], set),
        Kind::of("an incomplete percent-encoding", &["/%", "/%4", "/%zz", "/a?%"], set),
        Kind::of("a path with a percent-encoded slash or NUL", &["/a%2Fb", "/a%00b", "/%0d%0a"], set),
        Kind::of("a path with bytes that must be encoded", &["/\"", "/{a}", "/a|b", "/a\\b", "/^", "/[a]"], set),
        Kind::of("a path with angle brackets", &["/<a>", "/a<", "/>"], set),
        Kind::of("a path with a backquote", &["/`", "/a`b"], set),
        Kind::of("a query with bytes that must be encoded", &["/?a={b}", "/?[]", "/?a|b", "/?\\", "/?^`"], set),
        Kind::of("a query with angle brackets or a quote", &["/?<a>", "/?a=\"b\""], set),
        Kind::of("a fragment", &["/#", "/a#b", "/a?b#c"], set),
        Kind::of("a target without a slash", &["a", "a/b", "?a", "a.example", "a.example:80"], set),
        Kind::of("no target", &[""], set),
        Kind::of("an absolute target", &["http://a.example/a?b", "HTTP://a.example/a", "http://a.example:8080/"], set),
        Kind::of("an absolute target without a path", &["http://a.example", "http://a.example?b", "http://b:80"], set),
        Kind::of("an absolute target of HTTPS", &["https://a.example/a", "https://a.example"], set),
        Kind::of("an absolute target of another scheme", &["ftp://a.example/a", "ws://a.example/a", "urn:a"], set),
        Kind::of("an absolute target with user information", &["http://u@a.example/", "http://u:p@a.example/"], set),
        Kind::of("an absolute target without a host", &["http:///a", "http://", "http://:80/", "http:/a"], set),
        Kind::of("an absolute target with an invalid port", &["http://a.example:b/", "http://a.example:65536/"], set),
        Kind::of("an absolute target with an empty port", &["http://a.example:/", "http://a.example:/a"], set),
        Kind::of("an absolute target with a percent-encoded host", &["http://a%2eexample/", "http://%41/"], set),
        Kind::of("an absolute target and HTTP/1.0 without Host", &["http://a.example/a"], |_, draft, target| {
            draft.without_content();
            draft.remove("host");
            (draft.target, draft.version) = (target.as_bytes().into(), b"HTTP/1.0".into());
        }),
        Kind::of("an absolute target and no Host", &["http://a.example/a"], |_, draft, target| {
            draft.remove("host");
            draft.target = target.as_bytes().into();
        }),
        Kind::of("OPTIONS *", &["*"], |_, draft, target| {
            draft.without_content();
            (draft.method, draft.target) = (b"OPTIONS".into(), target.as_bytes().into());
        }),
        Kind::of("an asterisk with another method", &["*"], set_get),
        Kind::of("an asterisk with more", &["*a", "**", "*/", "*?a"], |_, draft, target| {
            draft.without_content();
            (draft.method, draft.target) = (b"OPTIONS".into(), target.as_bytes().into());
        }),
        Kind::new("a target of 4,000 bytes", |random, draft| {
            let byte = *random.pick(b"az-/");
            draft.target = [&b"/"[..], &vec![byte; 4000]].concat();
        }),
        Kind::new("a target of 10,000 bytes", |random, draft| {
            let byte = *random.pick(b"az-/");
            draft.target = [&b"/"[..], &vec![byte; 10_000]].concat();
        }),
        Kind::new("a target of 70,000 bytes", |_, draft| draft.target = [&b"/"[..], &vec![b'a'; 70_000]].concat()),
    ]
}

fn versions() -> Vec<Kind> {
    let set = |_: &mut Random, draft: &mut Draft, version: &&'static str| draft.version = version.as_bytes().into();
    vec![
        Kind::new("HTTP/1.0", |random, draft| {
            draft.version = b"HTTP/1.0".into();
            if draft.content.starts_with(b"5") {
                draft.set_length(random, &["5"]);
            }
        }),
        Kind::new("HTTP/1.0 without Host", |_, draft| {
            draft.without_content();
            draft.remove("host");
            draft.version = b"HTTP/1.0".into();
        }),
        Kind::new("HTTP/1.0 with keep-alive", |random, draft| {
            draft.without_content();
            draft.version = b"HTTP/1.0".into();
            draft.add(random, "Connection", "keep-alive");
        }),
        Kind::of("a higher minor version", &["HTTP/1.2", "HTTP/1.9"], set),
        Kind::of("another major version", &["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9"], set),
        Kind::of("a malformed version", &["HTTP/1", "HTTP/1.", "HTTP/01.1", "HTTP/1.10", "HTTP1.1", "HTTP/1,1"], set),
        Kind::of("another protocol", &["RTSP/1.0", "HTTPS/1.1", "XHTTP/1.1", "ICY"], set),
        Kind::of("a version in lower case", &["http/1.1", "Http/1.1"], set),
        Kind::new("no version", |_, draft| {
            draft.without_content();
            (draft.second_space, draft.version) = (Vec::new(), Vec::new());
        }),
        Kind::of("more than one space in the request line", &["  ", "   "], |random, draft, spaces| {
            let spaces = spaces.as_bytes().to_vec();
            if random.chance(50) { draft.first_space = spaces } else { draft.second_space = spaces }
        }),
        Kind::of("a tab in place of a space in the request line", &["\t"], |random, draft, tab| {
            let tab = tab.as_bytes().to_vec();
            if random.chance(50) { draft.first_space = tab } else { draft.second_space = tab }
        }),
        Kind::of("whitespace after the version", &["HTTP/1.1 ", "HTTP/1.1\t", "HTTP/1.1   "], set),
        Kind::of("a word after the version", &["HTTP/1.1 a", "HTTP/1.1 HTTP/1.1"], set),
    ]
}

fn line_ends() -> Vec<Kind> {
    let lead = |_: &mut Random, draft: &mut Draft, lead: &&'static [u8]| draft.lead = lead.to_vec();
    let everywhere = |draft: &mut Draft, end: &[u8]| {
        for field in &mut draft.fields {
            field.line_end = end.to_vec();
        }
        (draft.line_end, draft.empty_line) = (end.to_vec(), end.to_vec());
    };
    vec![
        Kind::of("an empty line in front", &[b"\r\n" as &[u8]], lead),
        Kind::of("several empty lines in front", &[b"\r\n\r\n" as &[u8], b"\r\n\r\n\r\n"], lead),
        Kind::of("a line feed in front", &[b"\n" as &[u8], b"\n\n"], lead),
        Kind::of("whitespace in front", &[b" " as &[u8], b"\t", b" \r\n"], lead),
        Kind::of("a NUL or a byte above 127 in front", &[b"\0" as &[u8], b"\xef\xbb\xbf", b"\xff"], lead),
        Kind::of("a TLS client", &[b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" as &[u8]], lead),
        Kind::of("the preface of HTTP/2", &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" as &[u8]], lead),
        Kind::new("a line feed alone after the request line", |_, draft| draft.line_end = b"\n".into()),
        Kind::new("a line feed alone after a field", |random, draft| {
            let index = random.below(draft.fields.len());
            draft.fields[index].line_end = b"\n".into();
        }),
        Kind::new("a line feed alone as the empty line", |_, draft| draft.empty_line = b"\n".into()),
        Kind::new("line feeds alone everywhere", move |_, draft| everywhere(draft, b"\n")),
        Kind::new("a carriage return alone after the request line", |_, draft| draft.line_end = b"\r".into()),
        Kind::new("a carriage return alone after a field", |_, draft| {
            draft.added("X-A", "b").line_end = b"\r".into();
        }),
        Kind::new("two carriage returns at the end of a line", |random, draft| match random.below(3) {
            0 => draft.line_end = b"\r\r\n".into(),
            1 => draft.added("X-A", "b").line_end = b"\r\r\n".into(),
            _ => draft.empty_line = b"\r\r\n".into(),
        }),
    ]
}
