//! The tests' own server for clients, on a blocking std socket.
//!
//! It shares no code with the crates under test, and sends any bytes, valid or not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::client::PATIENCE;

/// A server on a thread.
pub struct RawServer {
    pub address: SocketAddr,
    thread: JoinHandle<()>,
}

impl RawServer {
    /// Runs `serve` for `connections` connections, each on a thread.
    pub fn start(connections: usize, serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            thread::scope(|scope| {
                for _ in 0..connections {
                    let peer = Peer::of(listener.accept().unwrap().0);
                    scope.spawn(|| serve(peer));
                }
            });
        });
        Self { address, thread }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Waits for its end. A panic of the thread fails the test.
    pub fn finish(self) {
        self.thread.join().unwrap();
    }
}

/// A client as the server sees it. Reads and writes fail instead of waiting forever.
pub struct Peer {
    pub stream: TcpStream,
}

/// A frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct MaskedFrame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub key: [u8; 4],
    /// Unmasked.
    pub payload: Vec<u8>,
}

impl Peer {
    pub fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads the head of a request, byte by byte: what follows it is left.
    pub fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads a request and answers it as a WebSocket server does, with `fields` in addition. Returns the request.
    pub fn accept(&mut self, fields: &str) -> String {
        self.accept_with(fields, b"")
    }

    /// As [`accept`](Self::accept), with bytes right behind the response, in one write.
    pub fn accept_with(&mut self, fields: &str, rest: &[u8]) -> String {
        let head = self.read_head();
        let accept = derive_accept_key(field(&head, "Sec-WebSocket-Key").unwrap().as_bytes());
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
        );
        self.write(&[response.as_bytes(), rest].concat());
        head
    }

    /// Reads a frame, which must be masked.
    pub fn read_frame(&mut self) -> MaskedFrame {
        let [first, second] = self.read_bytes();
        assert_eq!(second & 0x80, 0x80, "a client's frame is not masked");
        let len = match second & 0x7F {
            126 => u64::from(u16::from_be_bytes(self.read_bytes())),
            127 => u64::from_be_bytes(self.read_bytes()),
            len => u64::from(len),
        };
        let key: [u8; 4] = self.read_bytes();
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).unwrap();
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        MaskedFrame { first, key, payload }
    }

    /// Reads a frame that must be this one.
    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        let frame = self.read_frame();
        assert_eq!((frame.first, frame.payload.as_slice()), (first, payload));
    }

    fn read_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends an unmasked frame of at most 125 bytes.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.write(&[&[first, payload.len() as u8], payload].concat());
    }

    /// Reads until the client's end of stream. Returns the bytes before it.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }
}

/// Returns the value of a field in a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").skip(1);
    lines
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|field| field.1)
}
