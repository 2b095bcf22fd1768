//! Requests: their events, and the refused ones.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_http::protocol::{Event, Next, Protocol};
use tidegate_http::{Limits, Response};

use super::date;

/// A server that answers each request, and records its events.
struct Server {
    protocol: Protocol,
    /// The requests: `METHOD target content|trailers`.
    seen: String,
    sent: Vec<u8>,
    closed: bool,
}

impl Server {
    fn new(limits: Limits) -> Server {
        Server { protocol: Protocol::new(Arc::new(limits)), seen: String::new(), sent: Vec::new(), closed: false }
    }

    fn feed(&mut self, mut input: &[u8]) {
        while !input.is_empty() && !self.closed {
            let progress = match self.protocol.receive(input) {
                Ok(progress) => progress,
                Err(error) => {
                    self.seen.push_str(&format!("!{}", error.status().as_u16()));
                    self.protocol.refuse(error, date(), &mut self.sent);
                    self.closed = self.protocol.advance() == Next::Close;
                    assert!(self.closed);
                    return;
                }
            };
            match progress.event {
                Some(Event::Head(head)) => {
                    let line = format!("{} {} ", head.method(), head.target());
                    self.seen.push_str(&line);
                }
                Some(Event::Content(range)) => {
                    assert!(range.end <= progress.consumed);
                    self.seen.push_str(&String::from_utf8_lossy(&input[range]));
                }
                Some(Event::End(Some(trailers))) => {
                    for (name, value) in &*trailers {
                        self.seen.push_str(&format!("[{name}={value:?}]"));
                    }
                }
                Some(Event::End(None)) => {}
                Some(event) => panic!("unknown event {event:?}"),
                None => assert!(progress.consumed > 0, "no progress"),
            }
            input = &input[progress.consumed..];
            self.answer();
        }
    }

    fn answer(&mut self) {
        if self.protocol.is_awaiting_response() && !self.protocol.has_content() {
            self.seen.push('|');
            let content = Bytes::from_static(b"ok");
            self.protocol
                .respond_whole(&Response::text(""), &content, date(), &mut self.sent)
                .expect("a request waits");
            self.closed = self.protocol.advance() == Next::Close;
        }
    }
}

/// Feeds the input whole, in small pieces, in two pieces, and with trailing bytes; expects the same events each time,
/// and returns them.
fn see_with(input: &[u8], limits: &Limits) -> String {
    let mut whole = Server::new(limits.clone());
    whole.feed(input);
    // Miri is a thousand times slower: a few sizes must do.
    let step = if cfg!(miri) { 41 } else { 1 };
    for size in (1..=input.len().min(7)).step_by(step) {
        let mut pieces = Server::new(limits.clone());
        for piece in input.chunks(size) {
            pieces.feed(piece);
        }
        assert_eq!(pieces.seen, whole.seen, "pieces of {size}");
        assert_eq!(pieces.sent, whole.sent, "pieces of {size}");
        assert_eq!(pieces.closed, whole.closed, "pieces of {size}");
    }
    for at in (0..input.len().min(400)).step_by(step) {
        let mut halves = Server::new(limits.clone());
        halves.feed(&input[..at]);
        halves.feed(&input[at..]);
        assert_eq!(halves.seen, whole.seen, "split at {at}");
    }
    let mut trailing = Server::new(limits.clone());
    trailing.feed(&[input, b"GET /trailing HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    let expected = match whole.closed {
        true => whole.seen.clone(),
        false => format!("{}GET /trailing |", whole.seen),
    };
    if whole.closed || whole.seen.ends_with('|') {
        assert_eq!(trailing.seen, expected, "with trailing bytes");
    }
    whole.seen
}

fn see(input: &str) -> String {
    see_with(input.as_bytes(), &Limits::default())
}

/// Returns the status that a request is refused with.
fn refusal(input: &str) -> &'static str {
    let seen = see(input);
    for status in ["400", "408", "413", "414", "417", "431", "501", "505"] {
        if seen.ends_with(&format!("!{status}")) {
            return status;
        }
    }
    panic!("not refused: {input:?} gave {seen:?}");
}

#[test]
fn requests_are_seen_in_order() {
    assert_eq!(
        see("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
             POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
             \r\nPOST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n2;x\r\nde\r\n0\r\nSum: 1\r\n\r\n\
             GET /4 HTTP/1.1\r\nHost: a\r\n\r\n"),
        "GET /1 |POST /2 hello|POST /3 abcde[sum=\"1\"]|GET /4 |"
    );
}

#[test]
fn refused_heads() {
    for (status, input) in [
        // RFC 9112 section 3: the request line.
        ("400", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        ("400", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET /\r\nHost: a\r\n\r\n"),
        ("400", "GET\r\n\r\n"),
        ("400", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("501", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        // Section 2.3: versions, and the preface of RFC 9113, section 3.4.
        ("400", "GET / http/1.1\r\nHost: a\r\n\r\n"),
        ("400", "GET / HTTP/1\r\nHost: a\r\n\r\n"),
        ("400", "GET / HTTP/11.1\r\nHost: a\r\n\r\n"),
        ("505", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        ("505", "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        ("505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        // Section 2.2: line ends.
        ("400", "GET / HTTP/1.1\nHost: a\n\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n"),
        ("400", "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        ("400", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // Section 5: fields.
        ("400", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX: b\x0bc\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n"),
        // Section 3.2: Host.
        ("400", "GET / HTTP/1.1\r\n\r\n"),
        ("400", "GET http://a/ HTTP/1.1\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        ("400", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        // Expect (RFC 9110 section 10.1.1).
        ("417", "GET / HTTP/1.1\r\nHost: a\r\nExpect: b\r\n\r\n"),
    ] {
        assert_eq!(refusal(input), status, "{input:?}");
    }
}

#[test]
fn a_higher_minor_version_is_processed_as_1_1() {
    let request = "POST / HTTP/1.2\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n";
    assert_eq!(see(&request.repeat(2)), "POST / b|POST / b|");
}

#[test]
fn refused_framing() {
    let post = |fields: &str, content: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{content}");
    for (status, fields) in [
        ("400", "Content-Length: 5\r\nContent-Length: 5"),
        ("400", "Content-Length: 5\r\nContent-Length: 6"),
        ("400", "Content-Length: 5, 5"),
        ("400", "Content-Length: +5"),
        ("400", "Content-Length: -5"),
        ("400", "Content-Length: 0x5"),
        ("400", "Content-Length: 5 5"),
        ("400", "Content-Length:"),
        ("413", "Content-Length: 104857601"),
        ("413", "Content-Length: 99999999999999999999999999"),
        ("400", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("400", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("400", "Transfer-Encoding: identity"),
        ("400", "Transfer-Encoding: gzip"),
        ("400", "Transfer-Encoding: chunked, gzip"),
        ("400", "Transfer-Encoding: chunked, chunked"),
        ("400", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
        ("400", "Transfer-Encoding: xchunked"),
        ("400", "Transfer-Encoding:"),
        ("501", "Transfer-Encoding: gzip, chunked"),
        ("400", "Transfer-Encoding : chunked"),
        ("400", "Transfer-Encoding: \x0bchunked"),
    ] {
        assert_eq!(refusal(&post(fields, "")), status, "{fields:?}");
    }
    let chunked = |content: &str| post("Transfer-Encoding: chunked", content);
    assert_eq!(refusal(&chunked("x\r\n")), "400");
    assert_eq!(refusal(&chunked("5\nhello\r\n0\r\n\r\n")), "400");
    assert_eq!(refusal(&chunked("5\r\nhello0\r\n\r\n")), "400");
    assert_eq!(refusal(&chunked("fffffffffffffffff\r\n")), "400");
    assert_eq!(refusal(&chunked("ffffffffff\r\n")), "413");
    assert_eq!(see(&chunked("0000000000000001\r\na\r\n0\r\n\r\n")), "POST / a|");
    assert_eq!(refusal(&chunked("00000000000000001\r\n")), "400");
    assert_eq!(refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "400");
}

#[test]
fn bounds_of_heads() {
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length - 1));
    let defaults = Limits::default();
    let see = |input: &str| {
        let mut server = Server::new(defaults.clone());
        for piece in input.as_bytes().chunks(1000) {
            server.feed(piece);
        }
        let mut whole = Server::new(defaults.clone());
        whole.feed(input.as_bytes());
        assert_eq!(server.seen, whole.seen);
        whole.seen
    };
    assert!(see(&target(8192)).ends_with('|'));
    assert_eq!(see(&target(8193)), "!414");
    assert_eq!(see(&"x".repeat(33)), "!501");
    let fields = |count: usize| {
        let more: String = (1..count).map(|index| format!("x{index}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n")
    };
    assert!(see(&fields(100)).ends_with('|'));
    assert_eq!(see(&fields(101)), "!431");
    let empty = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let head = |length: usize| {
        let value = "y".repeat(length - empty);
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n")
    };
    assert!(see(&head(65_536)).ends_with('|'));
    assert_eq!(see(&head(65_537)), "!431");
}

#[test]
fn accepted_oddities() {
    // RFC 9112 section 2.2: one empty line before the request line.
    assert_eq!(see("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "GET / |");
    // RFC 9110 section 5.5: whitespace around a value, an empty value.
    assert_eq!(see("GET / HTTP/1.1\r\nHost:\t a \r\nX:\r\n\r\n"), "GET / |");
    // RFC 9112 section 3.2: Host can be empty, and can be missing in HTTP/1.0.
    assert_eq!(see("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "GET / |");
    assert_eq!(see("GET / HTTP/1.0\r\n\r\n"), "GET / |");
    assert_eq!(see("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS * |");
    assert_eq!(see("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"), "M-SEARCH / |");
    assert_eq!(see("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), "GET http://b/ |");
}

#[test]
fn noise_makes_progress_and_no_panic() {
    let seeds = [
        "GET /1 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n",
        "PUT /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    for _ in 0..rounds {
        let mut input = seeds[random(3)].as_bytes().to_vec();
        input.extend_from_slice(seeds[random(3)].as_bytes());
        for _ in 0..random(4) {
            let at = random(input.len());
            match random(3) {
                0 => input[at] = random(256) as u8,
                1 => drop(input.remove(at)),
                _ => input.insert(at, b"\r\n \t:;0\0"[random(8)]),
            }
        }
        let mut whole = Server::new(Limits::default());
        whole.feed(&input);
        let mut pieces = Server::new(Limits::default());
        for piece in input.chunks(1 + random(9)) {
            pieces.feed(piece);
        }
        assert_eq!(pieces.seen, whole.seen, "{:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn fields_whose_names_are_as_long_as_those_with_a_meaning_mean_nothing() {
    let input = b"POST / HTTP/1.1\r\nHost: a\r\nDate: not a host\r\nAccept: b\r\nReferer: c\r\nConnection: upgrade\r\n\
        Keep-Alive: close\r\nAccept-Charset: utf-8\r\nIf-Modified-Since: gzip\r\n\r\n";
    let mut protocol = Protocol::new(Arc::default());
    let Some(Event::Head(head)) = protocol.receive(input).expect("a valid head").event else {
        panic!("the head is complete");
    };
    assert_eq!(head.header("host"), Some("a"));
    assert!(!head.wants_upgrade(), "Referer is not Upgrade");
    assert!(!protocol.has_content());
    let mut out = Vec::new();
    protocol.respond_whole(&Response::text(""), &Bytes::new(), date(), &mut out).expect("a request awaits");
    assert_eq!(protocol.advance(), Next::Receive, "Keep-Alive is not Connection");
}

#[test]
fn chunks_end_with_crlf_and_nothing_else() {
    let chunked = |content: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{content}");
    for content in
        ["1\r\na\n\n0\r\n\r\n", "1\r\nab\n0\r\n\r\n", "1\r\na\0\n0\r\n\r\n", "1\r\na\r\r0\r\n\r\n", "1\r\na0\r\n\r\n"]
    {
        assert_eq!(refusal(&chunked(content)), "400", "{content:?}");
    }
    // RFC 9112 section 7.1.1 allows whitespace before an extension.
    assert_eq!(see(&chunked("1 \t ;a\r\nb\r\n0\r\n\r\n")), "POST / b|");
    assert_eq!(refusal(&chunked("1 \t a\r\nb\r\n0\r\n\r\n")), "400");
}

#[test]
fn chunk_extensions_are_bounded_to_the_byte() {
    let limits = Limits::default().chunk_extension_bytes_max(5);
    let see = |content: &str| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        see_with(format!("{head}{content}").as_bytes(), &limits)
    };
    assert_eq!(see("1;ab\r\nx\r\n0;c\r\n\r\n"), "POST / x|");
    assert_eq!(see("1;ab\r\nx\r\n0;cd\r\n\r\n"), "POST / x!400");
}

#[test]
fn every_line_of_a_field_counts() {
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    // One expectation that is not met refuses the request, whatever follows.
    assert_eq!(refusal(&post("Expect: b\r\nExpect: 100-continue")), "417");
    // Without chunked at the end the length is unknown (RFC 9112 section 6.3), however many codings are unknown.
    assert_eq!(refusal(&post("Transfer-Encoding: gzip, br")), "400");
    assert_eq!(refusal(&post("Transfer-Encoding: gzip\r\nTransfer-Encoding: br")), "400");
    assert_eq!(refusal(&post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")), "501");
}

#[test]
fn limits_are_the_largest_values_accepted() {
    assert_eq!(see("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n"), "POST / ");
    let method = "M".repeat(32);
    assert_eq!(see(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")), format!("{method} / |"));
    assert_eq!(refusal(&format!("{method}M / HTTP/1.1\r\nHost: a\r\n\r\n")), "501");
}

#[test]
fn the_authority_of_a_target_replaces_host_wherever_it_stands() {
    let mut protocol = Protocol::new(Arc::default());
    let input = b"GET http://b/ HTTP/1.1\r\nAccept: c\r\nHost: a\r\n\r\n";
    let Some(Event::Head(head)) = protocol.receive(input).expect("a valid head").event else {
        panic!("the head is complete");
    };
    assert_eq!((head.header("accept"), head.header("host")), (Some("c"), Some("b")));
}

#[test]
fn a_head_begins_with_its_first_byte_but_not_with_an_empty_line() {
    for (input, in_head) in [("G", true), ("GE\r", true), ("\r", false), ("\r\n", false), ("\r\nG", true), ("", false)]
    {
        for size in [1, 10] {
            let mut protocol = Protocol::new(Arc::default());
            for piece in input.as_bytes().chunks(size) {
                assert!(protocol.receive(piece).expect("valid so far").event.is_none());
            }
            assert_eq!(protocol.is_in_head(), in_head, "{input:?} in pieces of {size}");
        }
    }
}

#[test]
fn an_empty_input_changes_nothing() {
    let mut protocol = Protocol::new(Arc::default());
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for input in [&b""[..], post, b""] {
        let progress = protocol.receive(input).expect("valid");
        assert_eq!((progress.consumed, progress.event.is_some()), (input.len(), !input.is_empty()));
        assert!(!protocol.is_in_head());
    }
    assert!(protocol.awaits_continue(), "no content has arrived");
}

#[test]
fn the_remaining_content_is_known_unless_it_comes_in_chunks() {
    let remaining = |head: &str, content: &[&str]| {
        let mut protocol = Protocol::new(Arc::default());
        assert_eq!((protocol.content_remaining(), protocol.has_content()), (Some(0), false));
        assert!(protocol.receive(head.as_bytes()).expect("valid").event.is_some());
        let mut seen = vec![protocol.content_remaining()];
        for mut piece in content.iter().map(|piece| piece.as_bytes()) {
            while !piece.is_empty() {
                piece = &piece[protocol.receive(piece).expect("valid").consumed..];
            }
            seen.push(protocol.content_remaining());
        }
        assert!(!protocol.has_content());
        seen
    };
    let counted = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(remaining(counted, &["he", "llo"]), [Some(5), Some(3), Some(0)]);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(remaining(chunked, &["5\r\nhe", "llo\r\n0\r\n\r\n"]), [None, None, Some(0)]);
    assert_eq!(remaining("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[]), [Some(0)]);
}
