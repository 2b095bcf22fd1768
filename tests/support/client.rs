//! The tests' own WebSocket client, on a blocking std socket.
//!
//! It shares no code with the crates under test, because a common mistake would cancel itself out. It sends any bytes,
//! valid or not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No wait in a test lasts longer than this before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The request of RFC 6455 section 1.3, and the accept key of its answer.
pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// First bytes of frames: FIN and opcode.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;
/// The end of a fragmented message.
pub const CONTINUATION: u8 = 0x80;
/// Subtracted from a first byte: more fragments follow.
pub const FIN: u8 = 0x80;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Returns a masked frame with the shortest encoding of its length.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Returns the header of a masked frame that claims `len` bytes.
pub fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..=125 => bytes.push(0x80 | len as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes
}

/// Returns a masked close frame.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Returns bytes whose values show a loss, a repetition or a swap.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (number, place) in bytes.chunks_mut(8).enumerate() {
        place.copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[..place.len()]);
    }
    bytes
}

/// A received frame.
#[derive(PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    /// Without the whole payload, which can be megabytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.payload[..self.payload.len().min(100)];
        write!(f, "frame {:#04x} of {} bytes, {}", self.first, self.payload.len(), start.escape_ascii())
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    /// The lines of the head after the first, in lower case.
    pub head: String,
    pub body: String,
}

/// One connection, plain unless `S` says otherwise. Its reads and writes fail instead of waiting forever.
pub struct Client<S = TcpStream> {
    pub stream: S,
    /// Received and not yet taken.
    buffer: Vec<u8>,
    taken: usize,
}

impl Client {
    /// Opens a connection without a handshake.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::of(stream)
    }

    /// Opens a connection and makes the opening handshake.
    pub fn open(address: SocketAddr) -> Self {
        Self::connect(address).upgraded()
    }

    /// Sends a message while reading its echo, which must be equal.
    pub fn check_echo(&mut self, first: u8, payload: &[u8]) {
        let mut writer = self.stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&frame(first, payload)).unwrap());
            self.expect(first, payload);
        });
    }

    /// Sends FIN.
    pub fn finish_writing(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    /// Returns another client of a connection without received bytes.
    pub fn of(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), taken: 0 }
    }

    /// Makes the opening handshake.
    pub fn upgraded(mut self) -> Self {
        self.write(HANDSHAKE.as_bytes());
        self.expect_upgraded();
        self
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload));
    }

    /// Returns the next frame; `None` at the server's FIN. Fails at a reset.
    pub fn next(&mut self) -> Option<Frame> {
        if !self.fill(2) {
            return None;
        }
        let [first, second] = self.take(2)[..] else { unreachable!("two were taken") };
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let len = match second {
            126 => self.expect_bytes(2).iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
            127 => self.expect_bytes(8).iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
            len => usize::from(len),
        };
        let minimal = match second {
            126 => len > 125,
            127 => len > 0xFFFF,
            _ => true,
        };
        assert!(minimal, "a length of {len} in too many bytes");
        Some(Frame { first, payload: self.expect_bytes(len) })
    }

    /// Expects this frame next.
    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        let frame = self.next().expect("a frame before the end of the stream");
        let expected = Frame { first, payload: payload.to_vec() };
        assert!(frame == expected, "got {frame:?}, expected {expected:?}");
    }

    /// Expects a close frame with this code next, and returns its reason.
    pub fn expect_close(&mut self, code: u16) -> String {
        let frame = self.next().expect("a close frame before the end of the stream");
        assert_eq!(frame.first, CLOSE, "got {frame:?}, expected close {code}");
        assert!(frame.payload.len() >= 2, "got {frame:?}, expected close {code}");
        assert_eq!(u16::from_be_bytes([frame.payload[0], frame.payload[1]]), code);
        String::from_utf8(frame.payload[2..].to_vec()).expect("a reason is UTF-8")
    }

    /// Returns the payload of the next ping, and skips echoes before it.
    pub fn next_ping(&mut self) -> Vec<u8> {
        loop {
            let frame = self.next().expect("a ping before the end of the stream");
            if frame.first == PING {
                return frame.payload;
            }
            assert_eq!(frame.first, TEXT, "{frame:?}");
        }
    }

    /// Returns the next frame that is no ping, and answers the pings before it.
    pub fn next_between_pings(&mut self) -> Frame {
        loop {
            let frame = self.next().expect("a frame before the end of the stream");
            if frame.first != PING {
                return frame;
            }
            self.send(PONG, &frame.payload);
        }
    }

    /// Reads to the close frame of a server that has missed a pong, and to the end of its stream. Skips what is before.
    pub fn expect_no_pong(mut self) {
        loop {
            let frame = self.next().expect("a close frame before the end of the stream");
            match frame.first {
                PING | TEXT => {}
                _ => {
                    assert_eq!(frame.payload, [&1001_u16.to_be_bytes()[..], b"no pong"].concat(), "{frame:?}");
                    return self.expect_end();
                }
            }
        }
    }

    /// Expects FIN next, not a reset. Then ends this side too, because the server waits for it.
    pub fn expect_end(mut self) {
        let frame = self.next();
        assert!(frame.is_none(), "got {frame:?}, expected the end of the stream");
    }

    /// Expects a reset. Bytes before it are ignored.
    pub fn expect_reset(mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("FIN, expected a reset"),
                Ok(_) => {}
                Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
    }

    /// Closes with 1000, and expects the answer and the end.
    pub fn close(mut self) {
        self.write(&close_frame(1000, ""));
        self.expect_close(1000);
        self.expect_end();
    }

    /// As [`close`](Self::close), but the pings of the keepalive can come before the answer.
    pub fn close_between_pings(mut self) {
        self.write(&close_frame(1000, ""));
        while self.next().expect("a close frame").first == PING {}
        self.expect_end();
    }

    /// Expects the response to [`HANDSHAKE`].
    pub fn expect_upgraded(&mut self) {
        let response = self.http_response();
        assert_eq!(response.status, 101, "{response:?}");
        let accept = format!("sec-websocket-accept: {ACCEPT}").to_lowercase();
        for line in [accept.as_str(), "upgrade: websocket", "connection: upgrade"] {
            assert!(response.head.contains(line), "no {line} in {response:?}");
        }
    }

    /// Reads one HTTP response whose content, if any, has a length.
    pub fn http_response(&mut self) -> HttpResponse {
        self.http_response_to(false)
    }

    /// As [`http_response`](Self::http_response), but without content if the request is HEAD.
    pub fn http_response_to(&mut self, head_request: bool) -> HttpResponse {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.expect_bytes(1));
        }
        let head = String::from_utf8(head).expect("a head in ASCII");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        let body = self.expect_bytes(if head_request { 0 } else { length });
        HttpResponse { status, head, body: String::from_utf8(body).expect("a body in UTF-8") }
    }

    fn expect_bytes(&mut self, count: usize) -> Vec<u8> {
        assert!(self.fill(count), "the stream ended {} bytes early", count - (self.buffer.len() - self.taken));
        self.take(count)
    }

    /// Reads until `count` bytes are buffered. Returns false if the stream ended before the first of them.
    fn fill(&mut self, count: usize) -> bool {
        if self.taken == self.buffer.len() {
            // Freed, because some tests count allocations.
            self.buffer = Vec::new();
            self.taken = 0;
        }
        let mut bytes = [0; 16 * 1024];
        while self.buffer.len() - self.taken < count {
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    assert_eq!(self.buffer.len(), self.taken, "the stream ended inside a frame or head");
                    return false;
                }
                Ok(len) => self.buffer.extend_from_slice(&bytes[..len]),
                Err(error) => panic!("the connection failed: {error}"),
            }
        }
        true
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.taken += count;
        self.buffer[self.taken - count..self.taken].to_vec()
    }
}
