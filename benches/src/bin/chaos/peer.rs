//! A client connection with blocking calls. The attacks decide what it sends and how it ends.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tidegate_benches::handshake::Upgrade;
use tidegate_benches::socket;

use crate::Outcome;
use crate::frame::{self, Frame};
use crate::random::Random;

/// Longest wait for the server, far above what a loaded machine needs. A longer one is a fault.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The most bytes received at a time.
const RECEIVE_BYTES: usize = 64 << 10;

/// The offer of compression that every server accepts.
pub const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// Connections opened by this process: the number decides the source address and the key.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// How a client dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It ends its side and reads to the end.
    Fin,
    /// It resets the connection.
    Reset,
}

/// How a connection ended, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server ended its side in order.
    Fin,
    /// The server reset the connection.
    Reset,
}

/// A client connection.
pub struct Peer {
    pub stream: TcpStream,
    address: SocketAddr,
    number: u64,
    received: Vec<u8>,
    at: usize,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let connect = || {
            let socket = socket::unconnected(address, number)?;
            socket.connect_timeout(&address.into(), PATIENCE)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket.into())
        };
        let stream = connect().map_err(|error: io::Error| format!("connect: {error}"))?;
        Ok(Self { stream, address, number, received: Vec::new(), at: 0 })
    }

    /// Connects and performs the opening handshake, without extensions.
    pub fn upgraded(address: SocketAddr, path: &str) -> Outcome<Self> {
        let mut peer = Self::connect(address)?;
        peer.upgrade(path)?;
        Ok(peer)
    }

    /// Connects and performs the opening handshake with compression. Returns whether each of our messages must be
    /// compressed by itself.
    pub fn upgraded_with_compression(address: SocketAddr, path: &str) -> Outcome<(Self, bool)> {
        let mut peer = Self::connect(address)?;
        let mut request = peer.handshake(path).request().to_vec();
        request.truncate(request.len() - 2);
        request.extend(format!("Sec-WebSocket-Extensions: {OFFER}\r\n\r\n").as_bytes());
        peer.send(&request)?;
        let head = peer.head()?.ok_or("the server closed during the opening handshake")?;
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains("permessage-deflate") {
            return Err(format!("the opening handshake was answered with {head:?}"));
        }
        let is_reset_each_time = head.contains("client_no_context_takeover");
        Ok((peer, is_reset_each_time))
    }

    /// Returns the opening handshake of this connection.
    pub fn handshake(&self, path: &str) -> Upgrade {
        Upgrade::new(&self.address.to_string(), path, self.number)
    }

    pub fn upgrade(&mut self, path: &str) -> Outcome {
        let handshake = self.handshake(path);
        self.send(handshake.request())?;
        self.finish_upgrade(&handshake)
    }

    /// Reads and checks the response to the handshake.
    pub fn finish_upgrade(&mut self, handshake: &Upgrade) -> Outcome {
        loop {
            let pending = &self.received[self.at..];
            if let Some(length) = handshake.read(pending).map_err(|error| error.to_string())? {
                self.at += length;
                return Ok(());
            }
            if !self.receive()? {
                return Err("the server closed during the opening handshake".into());
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.stream.write_all(bytes).map_err(|error| format!("send: {error}"))
    }

    pub fn send_frame(&mut self, first: u8, payload: &[u8], random: &mut Random) -> Outcome {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        frame::write(&mut bytes, first, payload, random.key());
        self.send(&bytes)
    }

    /// Reads one frame, or `None` at the end of the stream between two frames.
    pub fn frame(&mut self) -> Outcome<Option<Frame>> {
        loop {
            if let Some((frame, length)) = frame::read(&self.received[self.at..])? {
                self.at += length;
                return Ok(Some(frame));
            }
            if !self.receive()? {
                let rest = self.received.len() - self.at;
                return if rest == 0 { Ok(None) } else { Err(format!("the stream ended {rest} bytes into a frame")) };
            }
        }
    }

    /// Reads one frame.
    pub fn expect_frame(&mut self) -> Outcome<Frame> {
        self.frame()?.ok_or_else(|| "the server closed, and a frame was due".to_owned())
    }

    /// Reads the head of a response, up to its empty line, or `None` at the end of the stream before its first byte.
    pub fn head(&mut self) -> Outcome<Option<String>> {
        loop {
            let pending = &self.received[self.at..];
            if let Some(end) = pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(pending[..end + 2].to_vec()).map_err(|error| error.to_string())?;
                self.at += end + 4;
                return Ok(Some(head));
            }
            if !self.receive()? {
                let rest = self.received.len() - self.at;
                return if rest == 0 { Ok(None) } else { Err(format!("the stream ended {rest} bytes into a head")) };
            }
        }
    }

    /// Reads a response with a Content-Length, or `None` at the end of the stream before its first byte.
    pub fn response(&mut self) -> Outcome<Option<(String, Vec<u8>)>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let length = field(&head, "content-length").and_then(|value| value.parse::<usize>().ok());
        let length = length.ok_or_else(|| format!("a response without Content-Length: {head:?}"))?;
        while self.received.len() - self.at < length {
            if !self.receive()? {
                return Err(format!("the stream ended {} bytes into content", self.received.len() - self.at));
            }
        }
        let content = self.received[self.at..self.at + length].to_vec();
        self.at += length;
        Ok(Some((head, content)))
    }

    /// Closes the WebSocket as RFC 6455 says: 1000 there and back, then the server ends the connection.
    pub fn close(mut self, random: &mut Random) -> Outcome {
        self.send_frame(frame::CLOSE, &1000_u16.to_be_bytes(), random)?;
        while let Some(frame) = self.frame()? {
            if frame.first == frame::CLOSE {
                return match (frame.close_code(), self.read_to_end()?) {
                    (Some(1000), End::Fin) => Ok(()),
                    (code, end) => Err(format!("close 1000 was answered with {code:?} and {end:?}")),
                };
            }
        }
        Err("close 1000 was not answered".into())
    }

    /// Reads and drops everything until the server ends the connection.
    pub fn read_to_end(&mut self) -> Outcome<End> {
        let mut block = vec![0; RECEIVE_BYTES];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return Ok(End::Fin),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(End::Reset),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the server does not end the connection: {error}")),
            }
        }
    }

    /// Ends this side. The server can have reset the connection already.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Resets the connection.
    pub fn reset(self) {
        // Without this option the drop ends the connection in order, which is a different attack but no fault.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Waits until the server has reset the connection, without reading from it.
    pub fn wait_for_reset(&self) -> Outcome {
        const INTERVAL: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.stream.take_error().map_err(|error| error.to_string())?.is_some() {
                return Ok(());
            }
            std::thread::sleep(INTERVAL);
        }
        Err("the server holds a peer that never reads".into())
    }

    /// Receives more bytes. Returns false at the end of the stream.
    fn receive(&mut self) -> Outcome<bool> {
        self.received.drain(..self.at);
        self.at = 0;
        let before = self.received.len();
        self.received.resize(before + RECEIVE_BYTES, 0);
        let received = self.stream.read(&mut self.received[before..]);
        self.received.truncate(before + *received.as_ref().unwrap_or(&0));
        received.map(|bytes| bytes > 0).map_err(|error| format!("receive: {error}"))
    }
}

/// Returns the value of a field of a head, by its name in lower case.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Ends all peers at once. Those that end in order read until the server has ended too.
///
/// # Errors
/// If the server does not end a connection.
pub fn end_all(peers: Vec<(Peer, Death)>) -> Outcome {
    let mut finished = Vec::new();
    for (peer, death) in peers {
        match death {
            Death::Reset => peer.reset(),
            Death::Fin => {
                peer.finish();
                finished.push(peer);
            }
        }
    }
    finished.iter_mut().try_for_each(|peer| peer.read_to_end().map(drop))
}
