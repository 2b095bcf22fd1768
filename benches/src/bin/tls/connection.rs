//! One connection of the load: a socket, and a session of rustls unless it is plain.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, Stream};
use tidegate_benches::error::LoadError;
use tidegate_benches::handshake::{self, Upgrade};
use tidegate_benches::replies::Mismatch;
use tidegate_benches::script::{BINARY, append_frame};
use tidegate_benches::socket;

/// The TLS of the connections; `None` for plain ones.
pub type Security = Option<Arc<ClientConfig>>;

/// The memory of reads, shared by all connections.
pub struct Buffers {
    received: Box<[u8]>,
    plain: Box<[u8]>,
}

impl Default for Buffers {
    fn default() -> Self {
        let buffer = || vec![0; 64 * 1024].into_boxed_slice();
        Self { received: buffer(), plain: buffer() }
    }
}

pub struct Connection {
    socket: TcpStream,
    session: Option<ClientConnection>,
    /// Bytes of a plain connection that the socket has not taken yet.
    unsent: Vec<u8>,
}

impl Connection {
    /// Opens WebSocket `index`. The connection blocks.
    pub fn open(address: SocketAddr, index: usize, security: &Security) -> Result<Self, LoadError> {
        let mut socket = socket::connect(address, index).map_err(|error| LoadError::Connect { index, error })?;
        let mut session = security.as_ref().map(session).transpose()?;
        let upgrade = Upgrade::new("localhost", "/ws", index as u64);
        let opened = match &mut session {
            Some(session) => handshake::open(&mut Stream::new(session, &mut socket), &upgrade),
            None => handshake::open(&mut socket, &upgrade),
        };
        match opened.map_err(|error| LoadError::Handshake { index, error })?.len() {
            0 => Ok(Self { socket, session, unsent: Vec::new() }),
            bytes => Err(LoadError::Wrong { index, error: Mismatch::Unsolicited { bytes } }),
        }
    }

    /// Begins a handshake with TLS on connection number `cycle`, which still blocks.
    pub fn begin(address: SocketAddr, cycle: u64, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let socket = socket::unconnected(address, cycle)?;
        socket.connect(&address.into())?;
        socket.set_tcp_nodelay(true)?;
        let mut connection = Self { socket: socket.into(), session: Some(session(config)?), unsent: Vec::new() };
        connection.flush()?;
        Ok(connection)
    }

    /// Makes the connection non-blocking and registers it.
    pub fn register(&self, poll: &Poll, index: usize) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut SourceFd(&self.socket.as_raw_fd()), Token(index), both)
    }

    /// Sends a message and checks its answer, blocking.
    pub fn exchange(&mut self, message: &[u8], answer: &[u8]) -> io::Result<()> {
        let mut received = vec![0; answer.len()];
        match &mut self.session {
            Some(session) => exchange(&mut Stream::new(session, &mut self.socket), message, &mut received),
            None => exchange(&mut self.socket, message, &mut received),
        }?;
        if received == answer { Ok(()) } else { Err(wrong()) }
    }

    /// Sends as much as the socket takes, and the rest with the next [`flush`](Self::flush).
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.session {
            Some(session) => session.writer().write_all(bytes)?,
            None => self.unsent.extend_from_slice(bytes),
        }
        self.flush()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        loop {
            let written = match &mut self.session {
                Some(session) if session.wants_write() => session.write_tls(&mut self.socket),
                Some(_) => return Ok(()),
                None if self.unsent.is_empty() => return Ok(()),
                None => self.socket.write(&self.unsent).inspect(|len| drop(self.unsent.drain(..*len))),
            };
            match written {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Passes what has arrived to `take` until that returns true or nothing is left.
    pub fn receive(
        &mut self,
        buffers: &mut Buffers,
        mut take: impl FnMut(&[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let Buffers { received, plain } = buffers;
        loop {
            let len = match self.socket.read(received) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut rest = &received[..len];
            let done = match &mut self.session {
                None => take(rest)?,
                Some(session) => {
                    let mut done = false;
                    while !rest.is_empty() {
                        session.read_tls(&mut rest)?;
                        let mut left =
                            session.process_new_packets().map_err(io::Error::other)?.plaintext_bytes_to_read();
                        while left > 0 {
                            let len = session.reader().read(plain)?;
                            left -= len;
                            done = take(&plain[..len])?;
                        }
                    }
                    self.flush()?;
                    done
                }
            };
            if done {
                return Ok(());
            }
        }
    }

    /// Returns how the handshake went, once it is complete and the server's tickets have arrived, which come after it.
    pub fn shaken(&self) -> Option<HandshakeKind> {
        let session = self.session.as_ref()?;
        if session.is_handshaking() || session.tls13_tickets_received() == 0 { None } else { session.handshake_kind() }
    }

    /// Ends the own side in order.
    pub fn close(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
        self.flush()
    }
}

fn exchange(stream: &mut (impl Read + Write), message: &[u8], answer: &mut [u8]) -> io::Result<()> {
    stream.write_all(message)?;
    stream.read_exact(answer)
}

fn session(config: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)
}

/// Returns the error of bytes that are not the answer.
pub fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server sent something other than the answer")
}

/// Returns a binary message from a client, whose masking key is zero, and the answer to it.
pub fn message(payload_bytes: usize) -> [Vec<u8>; 2] {
    let payload: Vec<u8> = (0..payload_bytes).map(|at| (at % 251) as u8).collect();
    [Some([0; 4]), None].map(|key| {
        let mut frame = Vec::new();
        append_frame(&mut frame, BINARY, key, &payload);
        frame
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_answer_with_a_mask() {
        for (payload_bytes, header_bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let [message, answer] = message(payload_bytes);
            assert_eq!((message.len(), answer.len()), (answer.len() + 4, header_bytes + payload_bytes));
            assert_eq!((message[0], message[1]), (answer[0], answer[1] | 0x80));
            assert!(message[header_bytes + 4..] == answer[header_bytes..]);
        }
    }
}
