//! HTTP: request heads, whole exchanges, routes.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tidegate_http::protocol::{DateCache, Event, HttpDate, Progress, Protocol};
use tidegate_http::{Handler, Limits, Reply, Request, Response, Router, sync_handler};

use super::Subject;

/// The head of a load generator.
pub const PLAIN: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n";

/// The head of a browser.
pub const BROWSER: &[u8] = b"GET /articles/1234/comments?page=2&order=newest HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/articles/1234\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; theme=dark\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\r\n";

/// The head that opens a WebSocket.
pub const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\n\
    Host: 127.0.0.1:9001\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Parses a head on a new connection. Two different heads alternate, because a head that equals the last one is
/// recognised, not parsed.
pub struct ParseHead {
    limits: Arc<Limits>,
    heads: [Vec<u8>; 2],
    turn: usize,
}

impl ParseHead {
    pub fn new(head: &[u8]) -> Self {
        const HOST: &[u8] = b"\r\nHost: ";
        let host = head.windows(HOST.len()).position(|window| window == HOST).expect("the head has a Host field");
        let mut other = head.to_vec();
        other[host + HOST.len()] = b'x';
        Self { limits: Arc::new(Limits::default()), heads: [head.to_vec(), other], turn: 0 }
    }
}

impl Subject for ParseHead {
    fn run(&mut self) -> usize {
        self.turn = 1 - self.turn;
        match Protocol::new(Arc::clone(&self.limits)).receive(&self.heads[self.turn]) {
            Ok(Progress { event: Some(Event::Head(head)), .. }) => head.target().len(),
            _ => 0,
        }
    }

    fn expected(&self) -> usize {
        self.heads[0].split(|&byte| byte == b' ').nth(1).map_or(0, <[u8]>::len)
    }
}

/// Receives the requests of one connection and answers each.
pub struct Exchange {
    protocol: Protocol,
    input: Vec<u8>,
    requests: usize,
    piece_bytes: usize,
    date: HttpDate,
    response: Response,
    content: Bytes,
    out: Vec<u8>,
}

impl Exchange {
    /// Returns the subject with `requests` pipelined requests with this head, received together. From the second on,
    /// each equals the one before it, which the protocol recognises.
    pub fn pipelined(head: &[u8], requests: usize) -> Self {
        Self {
            protocol: Protocol::new(Arc::new(Limits::default())),
            input: head.repeat(requests),
            requests,
            piece_bytes: usize::MAX,
            date: DateCache::new().at(SystemTime::UNIX_EPOCH),
            response: Response::text(""),
            content: Bytes::from_static(b"Hello, World!"),
            out: Vec::new(),
        }
    }

    /// Returns the subject with two pipelined requests with different heads, so none equals the one before it.
    pub fn alternating(one: &[u8], other: &[u8]) -> Self {
        Self { requests: 2, ..Self::pipelined(&[one, other].concat(), 1) }
    }

    /// Returns the subject with one request whose head arrives in pieces of `piece_bytes`.
    pub fn in_pieces(head: &[u8], piece_bytes: usize) -> Self {
        Self { piece_bytes, ..Self::pipelined(head, 1) }
    }

    fn answer(&mut self, progress: &Progress) -> bool {
        let asked = matches!(progress.event, Some(Event::Head(_)));
        let answered =
            asked && self.protocol.respond_whole(&self.response, &self.content, self.date, &mut self.out).is_ok();
        if answered {
            self.protocol.advance();
        }
        answered
    }
}

impl Subject for Exchange {
    fn run(&mut self) -> usize {
        let mut answered = 0;
        self.out.clear();
        let input = std::mem::take(&mut self.input);
        for mut piece in input.chunks(self.piece_bytes.min(input.len())) {
            while !piece.is_empty() {
                let Ok(progress) = self.protocol.receive(piece) else { return 0 };
                answered += usize::from(self.answer(&progress));
                piece = &piece[progress.consumed..];
            }
        }
        self.input = input;
        answered
    }

    fn expected(&self) -> usize {
        self.requests
    }
}

/// A router like that of an application: 30 routes, 18 of them with parameters and one with a wildcard.
pub struct Routes(Router);

impl Routes {
    /// Paths that have a route: without parameters, with one, with two, with a wildcard.
    pub const FOUND: [(&'static str, &'static str); 4] = [
        ("fixed", "/api/v1/articles"),
        ("parameter", "/api/v1/articles/1234"),
        ("two_parameters", "/api/v1/articles/1234/comments/77"),
        ("wildcard", "/static/styles/main.css"),
    ];
    /// A path without a route.
    pub const MISSING: &'static str = "/api/v1/nothing/here";

    pub fn new() -> Self {
        let mut router = Router::new()
            .get("/", sync_handler(|_| "found"))
            .get("/plaintext", sync_handler(|_| "found"))
            .get("/static/*path", sync_handler(|_| "found"));
        for kind in ["articles", "users", "rooms", "files", "tags", "orders", "invoices", "events", "notes"] {
            router = router
                .get(&format!("/api/v1/{kind}"), sync_handler(|_| "found"))
                .get(&format!("/api/v1/{kind}/:id"), sync_handler(|_| "found"))
                .get(&format!("/api/v1/{kind}/:id/comments/:comment"), sync_handler(|_| "found"));
        }
        Self(router)
    }

    /// Returns a request for `path`.
    pub fn request(path: &str) -> Request {
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n");
        Request::parse(head.as_bytes(), Bytes::new()).expect("the path is valid")
    }

    /// Finds the route and runs its handler, which does nothing. Returns the status.
    pub fn route(&self, request: Request) -> u16 {
        match self.0.handle(request) {
            Reply::Ready(response) => response.status().as_u16(),
            Reply::Pending(_) => 0,
        }
    }
}
