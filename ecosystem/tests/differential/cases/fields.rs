//! Kinds of fields: their syntax, Host, Connection, Expect and Upgrade.

use super::Kind;
use super::draft::{Draft, Field};
use crate::random::Random;

pub fn kinds() -> Vec<Kind> {
    let mut kinds = syntax();
    kinds.extend(numbers_and_sizes());
    kinds.extend(hosts());
    kinds.extend(connections());
    kinds
}

fn syntax() -> Vec<Kind> {
    let value = |_: &mut Random, draft: &mut Draft, value: &&'static [u8]| {
        draft.added("X-A", value);
    };
    let name = |_: &mut Random, draft: &mut Draft, name: &&'static [u8]| {
        draft.added("X-A", "b").name = name.to_vec();
    };
    let colon = |_: &mut Random, draft: &mut Draft, colon: &&'static str| {
        draft.added("X-A", "b").colon = colon.as_bytes().into();
    };
    vec![
        Kind::of("an empty value", &[b"" as &[u8], b" ", b" \t "], value),
        Kind::of("spaces around a value", &[b"  b" as &[u8], b"b ", b"   b  "], value),
        Kind::of("tabs around a value", &[b"\tb" as &[u8], b"b\t", b" \tb \t"], value),
        Kind::of("a tab within a value", &[b"a\tb" as &[u8], b"a \t b"], value),
        Kind::of("bytes above 127 in a value", &[b"\xc3\xa9" as &[u8], b"a\xff", b"\x80b"], value),
        Kind::new("no space after the colon", |_, draft| draft.added("X-A", "b").colon = b":".into()),
        Kind::of("a space or a tab in front of the colon", &[" :", "\t: ", "  : "], colon),
        Kind::of("a line without a colon", &["", " "], colon),
        Kind::of("an empty name", &[b"" as &[u8]], name),
        Kind::of("a name with a space", &[b"X A" as &[u8], b"X-A B"], name),
        Kind::of("a name with an underscore", &[b"X_A" as &[u8], b"X-A_B"], name),
        Kind::of("a name with digits or hyphens only", &[b"1" as &[u8], b"-", b"X-"], name),
        Kind::of(
            "a name with other token bytes",
            &[b"X!" as &[u8], b"X.A", b"X#A", b"X+A", b"X~", b"X|A", b"X'A"],
            name,
        ),
        Kind::of(
            "a name with a delimiter",
            &[b"X(A)" as &[u8], b"X/A", b"X@A", b"X[A]", b"X=A", b"X;A", b"\"X\""],
            name,
        ),
        Kind::of("a line folded onto the next", &[b"a\r\n b" as &[u8], b"a\r\n\tb", b"\r\n b"], value),
        Kind::new("a fold of the first line", |_, draft| draft.line_end = b"\r\n ".into()),
        Kind::new("a line of whitespace among the fields", |_, draft| {
            draft.added("X-A", "b").line_end = b"\r\n \r\n".into();
        }),
        Kind::new("the same field twice", |random, draft| {
            draft.add(random, "X-A", "1");
            draft.add(random, "x-a", "2");
        }),
    ]
}

fn numbers_and_sizes() -> Vec<Kind> {
    let many = |count: usize| {
        move |_: &mut Random, draft: &mut Draft| {
            draft.fields.extend((0..count).map(|number| Field::new(&format!("X-{number}"), "b")));
        }
    };
    let long = |bytes: usize| {
        move |_: &mut Random, draft: &mut Draft| {
            draft.added("X-A", vec![b'b'; bytes]);
        }
    };
    vec![
        Kind::new("80 fields", many(80)),
        Kind::new("150 fields", many(150)),
        Kind::new("300 fields", many(300)),
        Kind::new("a value of 4,000 bytes", long(4_000)),
        Kind::new("a value of 20,000 bytes", long(20_000)),
        Kind::new("a value of 70,000 bytes", long(70_000)),
        Kind::new("a name of 1,000 bytes", |_, draft| draft.added("X-A", "b").name = vec![b'x'; 1_000]),
    ]
}

fn hosts() -> Vec<Kind> {
    let set = |random: &mut Random, draft: &mut Draft, host: &&'static [u8]| draft.set_hosts(random, &[host]);
    vec![
        Kind::new("no Host", |random, draft| draft.set_hosts(random, &[])),
        Kind::new("two equal Hosts", |random, draft| draft.set_hosts(random, &[b"a", b"a"])),
        Kind::new("two different Hosts", |random, draft| draft.set_hosts(random, &[b"a", b"b"])),
        Kind::of("an empty Host", &[b"" as &[u8], b" "], set),
        Kind::of("a Host with a port", &[b"a:80" as &[u8], b"a.example:65535", b"127.0.0.1:8"], set),
        Kind::of("a Host with an empty port", &[b"a:" as &[u8], b"[::1]:"], set),
        Kind::of("a Host with an invalid port", &[b"a:b" as &[u8], b"a:8x", b"a:-1", b"a:80:80"], set),
        Kind::of("a Host with a port beyond 65535", &[b"a:65536" as &[u8], b"a:99999999999"], set),
        Kind::of("a Host with a port alone", &[b":80" as &[u8], b":"], set),
        Kind::of("a Host in upper case", &[b"A.EXAMPLE" as &[u8], b"A.Example:80"], set),
        Kind::of("a Host with dots at its end", &[b"a.example." as &[u8], b"a.example.:80"], set),
        Kind::of("a Host with empty labels", &[b"a..b" as &[u8], b".", b".a"], set),
        Kind::of(
            "a Host with underscores or other name bytes",
            &[b"a_b" as &[u8], b"a~b", b"a!b", b"a(b)", b"a+b"],
            set,
        ),
        Kind::of("a Host with user information", &[b"u@a" as &[u8], b"u:p@a"], set),
        Kind::of("a Host with a path, query or fragment", &[b"a/b" as &[u8], b"a?b", b"a#b", b"a\\b"], set),
        Kind::of("a Host with a space", &[b"a b" as &[u8], b"a :80", b"a\tb"], set),
        Kind::of("a Host with a comma", &[b"a, b" as &[u8], b"a,b"], set),
        Kind::of("a Host with a percent-encoding", &[b"a%2eb" as &[u8], b"%41"], set),
        Kind::of("a Host with other delimiters", &[b"<a>" as &[u8], b"\"a\"", b"a{b}", b"a|b", b"a^b", b"a`b"], set),
        Kind::of("a Host with bytes above 127", &[b"\xc3\xa9" as &[u8], b"a\xff"], set),
        Kind::of("a Host that is an IPv6 address", &[b"[::1]" as &[u8], b"[::1]:80", b"[2001:db8::1]"], set),
        Kind::of("a Host that is a broken IPv6 address", &[b"[::1" as &[u8], b"[]", b"[::1]a", b"[g::]", b"[1]"], set),
        Kind::of("a Host that is an IPv6 address without brackets", &[b"::1" as &[u8], b"2001:db8::1"], set),
        Kind::of("a Host with a URL", &[b"http://a" as &[u8], b"http://a/"], set),
    ]
}

fn connections() -> Vec<Kind> {
    let connection =
        |random: &mut Random, draft: &mut Draft, value: &&'static str| draft.add(random, "Connection", value);
    let expect = |random: &mut Random, draft: &mut Draft, value: &&'static str| {
        draft.set_length(random, &["5"]);
        draft.add(random, "Expect", value);
    };
    let upgrade = |random: &mut Random, draft: &mut Draft, value: &&'static str| {
        draft.without_content();
        draft.add(random, "Connection", "upgrade");
        draft.add(random, "Upgrade", value);
    };
    vec![
        Kind::of("the option close", &["close", "Close"], connection),
        Kind::of("the option close among others", &["x, close", "close, x", "keep-alive, close"], connection),
        Kind::of("an unknown option or keep-alive", &["x", "keep-alive", "", ",", "closed"], connection),
        Kind::new("the option close in the second of two lines", |_, draft| {
            draft.fields.push(Field::new("Connection", "x"));
            draft.fields.push(Field::new("Connection", "close"));
        }),
        Kind::of("the expectation 100-continue", &["100-continue", "100-Continue"], expect),
        Kind::of("another expectation", &["a", "100-continue, a", "200-ok", ""], expect),
        Kind::of("an expectation in HTTP/1.0", &["100-continue", "a"], |random, draft, value| {
            draft.set_length(random, &["5"]);
            draft.version = b"HTTP/1.0".into();
            draft.add(random, "Expect", value);
        }),
        Kind::of("an upgrade that the application declines", &["foo", "foo/1.0, bar"], upgrade),
        Kind::of("an upgrade to HTTP/2", &["h2c"], |random, draft, value| {
            draft.without_content();
            draft.add(random, "Connection", "Upgrade, HTTP2-Settings");
            draft.add(random, "Upgrade", value);
            draft.add(random, "HTTP2-Settings", "AAMAAABkAAQAAP__");
        }),
        Kind::new("an upgrade to WebSocket that the application declines", |random, draft| {
            draft.without_content();
            draft.add(random, "Connection", "Upgrade");
            draft.add(random, "Upgrade", "websocket");
            draft.add(random, "Sec-WebSocket-Version", "13");
            draft.add(random, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        }),
        Kind::of("the field TE", &["trailers", "gzip", "chunked"], |random, draft, value| {
            draft.add(random, "Connection", "TE");
            draft.add(random, "TE", value);
        }),
    ]
}
