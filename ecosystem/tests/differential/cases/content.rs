//! Kinds of framing: Content-Length, Transfer-Encoding, chunks and trailers.

use super::Kind;

/// `hello` in one chunk.
const CHUNKED: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";

pub fn kinds() -> Vec<Kind> {
    let mut kinds = lengths();
    kinds.extend(codings());
    kinds.extend(both());
    kinds.extend(chunks());
    kinds.extend(chunk_ends());
    kinds.extend(trailers());
    kinds
}

/// A kind of requests with these lines of Content-Length.
fn length(name: &str, values: &'static [&'static [&'static str]]) -> Kind {
    Kind::of(name, values, |random, draft, lengths| draft.set_length(random, lengths))
}

/// A kind of requests with these lines of Transfer-Encoding, and chunks.
fn coding(name: &str, values: &'static [&'static [&'static str]]) -> Kind {
    Kind::of(name, values, |random, draft, codings| draft.set_codings(random, codings, CHUNKED))
}

/// A kind of requests with these chunks.
fn chunked(name: &str, values: &'static [&'static [u8]]) -> Kind {
    Kind::of(name, values, |random, draft, content| draft.set_chunks(random, content))
}

/// A kind of requests with these trailers behind a chunk.
fn trailer(name: &str, values: &'static [&'static [u8]]) -> Kind {
    Kind::of(name, values, |random, draft, trailers| {
        draft.set_chunks(random, &[b"5\r\nhello\r\n0\r\n", *trailers, b"\r\n"].concat());
    })
}

fn lengths() -> Vec<Kind> {
    vec![
        length("a length", &[&["5"]]),
        Kind::of("a length of zero", &[&["0"] as &[&str], &["000"]], |random, draft, lengths| {
            draft.set_length(random, lengths);
            draft.content.clear();
        }),
        length("a length with leading zeros", &[&["05"], &["0000000005"]]),
        length("a length with 40 leading zeros", &[&["00000000000000000000000000000000000000005"]]),
        length("two equal lengths", &[&["5", "5"]]),
        length("a list of equal lengths", &[&["5, 5"], &["5,5"]]),
        length("two different lengths", &[&["5", "6"], &["6", "5"], &["5", "0"]]),
        length("a list of different lengths", &[&["5, 6"], &["0,5"]]),
        length("a length and a comma", &[&["5,"], &[", 5"], &["5, "]]),
        length("a length with a sign", &[&["+5"], &["-5"], &["-0"]]),
        length("a length that is not decimal", &[&["0x5"], &["5.0"], &["5e0"], &["a"], &["\"5\""]]),
        length("a length with something after it", &[&["5;"], &["5 5"], &["5a"], &["5;a=b"]]),
        length("an empty length", &[&[""], &[" "]]),
        length(
            "a length beyond 64 bits",
            &[&["18446744073709551621"], &["99999999999999999999999999"], &["9223372036854775813"]],
        ),
        length("a length of 200 MB", &[&["200000000"]]),
        Kind::new("a length in a field with an underscore", |random, draft| {
            draft.without_content();
            draft.add(random, "Content_Length", "5");
        }),
        Kind::of("an empty line after the content", &[b"\r\n" as &[u8]], |random, draft, extra| {
            draft.set_length(random, &["5"]);
            draft.content.extend_from_slice(extra);
        }),
        Kind::of("bytes beyond the length", &[b"xyz" as &[u8], b"\0", b"GET"], |random, draft, extra| {
            draft.set_length(random, &["5"]);
            draft.content.extend_from_slice(extra);
            draft.content.extend_from_slice(b"\r\n\r\n");
        }),
    ]
}

fn codings() -> Vec<Kind> {
    vec![
        coding("chunked", &[&["chunked"]]),
        coding("chunked in upper case", &[&["Chunked"], &["CHUNKED"]]),
        coding("chunked with whitespace after it", &[&["chunked "], &["chunked\t"]]),
        coding("chunked with empty elements", &[&["chunked,"], &[", chunked"], &["chunked, ,"]]),
        coding("chunked twice", &[&["chunked, chunked"]]),
        coding("chunked in two lines", &[&["chunked", "chunked"]]),
        coding("chunked and an empty line of it", &[&["chunked", ""], &["", "chunked"]]),
        coding("chunked with a parameter", &[&["chunked;a="], &["chunked ; a"], &["chunked;"]]),
        coding("chunked with a control byte", &[&["\x0bchunked"], &["chunked\x0c"], &["\x01chunked"]]),
        coding("chunked in quotes", &[&["\"chunked\""], &["'chunked'"]]),
        coding("chunked in another word", &[&["xchunked"], &["chunkedx"], &["chunked chunked"]]),
        coding("an empty Transfer-Encoding", &[&[""], &[","]]),
        coding("identity", &[&["identity"]]),
        coding("identity and chunked", &[&["identity, chunked"], &["identity", "chunked"]]),
        coding("chunked and identity", &[&["chunked, identity"], &["chunked", "identity"]]),
        coding("another coding", &[&["gzip"], &["deflate"], &["x"]]),
        coding("another coding and chunked", &[&["gzip, chunked"], &["gzip", "chunked"]]),
        coding("chunked and another coding", &[&["chunked, gzip"], &["chunked", "gzip"]]),
        Kind::of("chunked in HTTP/1.0", &[&["chunked"] as &[&str]], |random, draft, codings| {
            draft.set_codings(random, codings, CHUNKED);
            draft.version = "HTTP/1.0".into();
        }),
        Kind::of("chunked in a GET request", &[&["chunked"] as &[&str]], |random, draft, codings| {
            draft.set_codings(random, codings, CHUNKED);
            draft.method = "GET".into();
        }),
    ]
}

fn both() -> Vec<Kind> {
    vec![
        Kind::of("chunked and a length", &["5", "15", "0"], |random, draft, length| {
            draft.set_codings(random, &["chunked"], CHUNKED);
            draft.add(random, "Content-Length", length);
        }),
        Kind::of("chunked and an invalid length", &["-1", "a", ""], |random, draft, length| {
            draft.set_codings(random, &["chunked"], CHUNKED);
            draft.add(random, "Content-Length", length);
        }),
        Kind::of("another coding and a length", &[b"gzip" as &[u8], b"identity", b"x"], |random, draft, coding| {
            draft.set_length(random, &["5"]);
            draft.add(random, "Transfer-Encoding", coding);
        }),
        Kind::new("a space in front of the colon of Transfer-Encoding, and a length", |random, draft| {
            draft.set_length(random, &["15"]);
            draft.content = CHUNKED.into();
            draft.added("Transfer-Encoding", "chunked").colon = b" : ".into();
        }),
        Kind::new("Transfer_Encoding and a length", |random, draft| {
            draft.set_length(random, &["5"]);
            draft.add(random, "Transfer_Encoding", "chunked");
        }),
    ]
}

fn chunks() -> Vec<Kind> {
    vec![
        chunked("several chunks", &[b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n"]),
        chunked("no chunk but the last", &[b"0\r\n\r\n", b"000\r\n\r\n"]),
        chunked(
            "a chunk size in upper or lower case",
            &[b"A\r\n0123456789\r\n0\r\n\r\n", b"a\r\n0123456789\r\n0\r\n\r\n"],
        ),
        chunked(
            "a chunk size with a few leading zeros",
            &[b"005\r\nhello\r\n0\r\n\r\n", b"0000000005\r\nhello\r\n00\r\n\r\n"],
        ),
        chunked("a chunk size with many leading zeros", &[b"0000000000000000000005\r\nhello\r\n0\r\n\r\n"]),
        chunked(
            "chunk extensions",
            &[b"5;a\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked(
            "whitespace in front of a chunk extension",
            &[b"5 ;a\r\nhello\r\n0\r\n\r\n", b"5\t; a = b\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked(
            "an invalid chunk extension",
            &[
                b"5;\r\nhello\r\n0\r\n\r\n",
                b"5;=\r\nhello\r\n0\r\n\r\n",
                b"5;a=\"\r\nhello\r\n0\r\n\r\n",
                b"5;@\r\nhello\r\n0\r\n\r\n",
            ],
        ),
        chunked("bytes above 127 in a chunk extension", &[b"5;a=\xc3\xa9\r\nhello\r\n0\r\n\r\n"]),
        chunked(
            "a control byte in a chunk extension",
            &[b"5;a\x01\r\nhello\r\n0\r\n\r\n", b"5;\0\r\nhello\r\n0\r\n\r\n", b"5;\x7f\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked(
            "a line feed in a chunk extension",
            &[b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked(
            "a carriage return in a chunk extension",
            &[b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"5;\r\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked(
            "whitespace after a chunk size",
            &[b"5 \r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0 \r\n\r\n"],
        ),
        chunked("whitespace in front of a chunk size", &[b" 5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n\t0\r\n\r\n"]),
        chunked(
            "a chunk size with a prefix or a sign",
            &[b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked(
            "an invalid digit in a chunk size",
            &[
                b"5g\r\nhello\r\n0\r\n\r\n",
                b"5_\r\nhello\r\n0\r\n\r\n",
                b"5.\r\nhello\r\n0\r\n\r\n",
                b"5,\r\nhello\r\n0\r\n\r\n",
            ],
        ),
        chunked("no chunk size", &[b"\r\nhello\r\n0\r\n\r\n", b";a\r\nhello\r\n0\r\n\r\n"]),
        chunked(
            "a chunk size beyond 64 bits",
            &[b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked(
            "a chunk size of 64 bits",
            &[b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"8000000000000000\r\nhello\r\n0\r\n\r\n"],
        ),
        chunked("a chunk size of 200 MB", &[b"bebc200\r\nhello\r\n0\r\n\r\n"]),
        Kind::new("a chunk extension of 2,000 bytes", |random, draft| {
            let content = [&b"5;a="[..], &vec![b'b'; 2_000], b"\r\nhello\r\n0\r\n\r\n"].concat();
            draft.set_chunks(random, &content);
        }),
        Kind::new("chunk extensions of 30,000 bytes", |random, draft| {
            let chunk = [&b"1;a="[..], &vec![b'b'; 300], b"\r\nh\r\n"].concat();
            draft.set_chunks(random, &[chunk.repeat(100), b"0\r\n\r\n".to_vec()].concat());
        }),
        Kind::new("1,000 chunks of one byte", |random, draft| {
            draft.set_chunks(random, &[b"1\r\nh\r\n".repeat(1_000), b"0\r\n\r\n".to_vec()].concat());
        }),
    ]
}

fn chunk_ends() -> Vec<Kind> {
    vec![
        chunked("a line feed alone after a chunk size", &[b"5\nhello\r\n0\r\n\r\n"]),
        chunked("a line feed alone after the last chunk size", &[b"5\r\nhello\r\n0\n\r\n", b"0\n\r\n"]),
        chunked("a line feed alone after chunk data", &[b"5\r\nhello\n0\r\n\r\n"]),
        chunked("a line feed alone after the last chunk", &[b"5\r\nhello\r\n0\r\n\n"]),
        chunked("line feeds alone after all chunks", &[b"5\nhello\n0\n\n"]),
        chunked("a carriage return alone after a chunk size", &[b"5\rhello\r\n0\r\n\r\n", b"5\r\rhello\r\n0\r\n\r\n"]),
        chunked("a carriage return and another byte after chunk data", &[b"5\r\nhello\rx0\r\n\r\n"]),
        chunked("no line end after chunk data", &[b"5\r\nhello0\r\n\r\n"]),
        chunked("more chunk data than its size", &[b"5\r\nhello!\r\n0\r\n\r\n", b"4\r\nhello\r\n0\r\n\r\n"]),
        chunked("two bytes more chunk data than its size", &[b"5\r\nhelloXY0\r\n\r\n"]),
        chunked("less chunk data than its size", &[b"6\r\nhello\r\n0\r\n\r\n"]),
    ]
}

fn trailers() -> Vec<Kind> {
    vec![
        trailer("trailers", &[b"X-A: b\r\n", b"X-A: b\r\nX-C: d\r\n"]),
        trailer(
            "trailers that are framing fields",
            &[b"Content-Length: 9\r\n", b"Transfer-Encoding: gzip\r\n", b"Host: b\r\n"],
        ),
        trailer("a trailer without a colon", &[b"x\r\n", b"hello world\r\n"]),
        trailer("a trailer with an invalid name", &[b"a b: c\r\n", b": c\r\n", b"a : b\r\n", b"a(b): c\r\n"]),
        trailer("a trailer with a control byte", &[b"X-A: \x01\r\n", b"X-A: \0\r\n"]),
        trailer("a folded trailer", &[b"X-A: b\r\n c\r\n", b" X-A: b\r\n"]),
        trailer("a trailer that ends with a line feed alone", &[b"X-A: b\n"]),
        Kind::new("trailers of 20,000 bytes", |random, draft| {
            let trailers = format!("X-A: {}\r\n", "b".repeat(1_000)).repeat(20);
            draft.set_chunks(random, format!("5\r\nhello\r\n0\r\n{trailers}\r\n").as_bytes());
        }),
        Kind::new("150 trailers", |random, draft| {
            let trailers = "X-A: b\r\n".repeat(150);
            draft.set_chunks(random, format!("5\r\nhello\r\n0\r\n{trailers}\r\n").as_bytes());
        }),
    ]
}
