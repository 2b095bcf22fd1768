//! The load: WebSockets on rustls in one thread, one message outstanding on each.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::Failure;

/// The TLS of the connections; `None` for plain ones.
pub type Security = Option<Arc<ClientConfig>>;

#[derive(Clone, Copy)]
pub enum Load {
    Echo { connections: usize, size: usize },
    Handshakes { connections: usize },
}

pub struct Outcome {
    count: u64,
    time: Duration,
    server_time: Duration,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64()
    }

    /// Returns the processor time of the server for each message, in microseconds.
    pub fn server_time_each(&self) -> f64 {
        self.server_time.as_secs_f64() * 1e6 / self.count.max(1) as f64
    }
}

const WARMUP: Duration = Duration::from_millis(500);

const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A connection and what it waits for.
pub struct Connection {
    socket: TcpStream,
    session: Option<ClientConnection>,
    /// Bytes written by no send yet.
    unsent: Vec<u8>,
}

impl Connection {
    fn new(address: SocketAddr, security: &Security) -> Result<Self, Failure> {
        let socket = std::net::TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let session = match security {
            Some(config) => Some(ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?),
            None => None,
        };
        Ok(Self { socket: TcpStream::from_std(socket), session, unsent: Vec::new() })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.session {
            Some(session) => session.writer().write_all(bytes)?,
            None => self.unsent.extend_from_slice(bytes),
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
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

    /// Reads what has arrived. Returns the bytes of plaintext, or an error at the end.
    fn receive(&mut self, plain: &mut [u8]) -> io::Result<usize> {
        let mut received = 0;
        loop {
            let read = match &mut self.session {
                None => self.socket.read(plain).inspect(|len| received += *len),
                Some(session) => session.read_tls(&mut self.socket).and_then(|len| {
                    session.process_new_packets().map_err(io::Error::other)?;
                    loop {
                        match session.reader().read(plain) {
                            Ok(0) => break,
                            Ok(len) => received += len,
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                            Err(error) => return Err(error),
                        }
                    }
                    Ok(len)
                }),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush()?;
        Ok(received)
    }

    fn is_shaken(&self) -> bool {
        self.session.as_ref().is_none_or(|session| !session.is_handshaking())
    }
}

/// Opens WebSockets that are at rest when this returns.
pub fn open(address: SocketAddr, connections: usize, security: &Security) -> Result<Vec<Connection>, Failure> {
    let mut plain = vec![0; 64 * 1024];
    let mut opened = Vec::new();
    for _ in 0..connections {
        let mut connection = Connection::new(address, security)?;
        connection.send(REQUEST)?;
        let mut received = 0;
        // The answer of each server has more than 100 bytes.
        while received < 100 {
            received += connection.receive(&mut plain)?;
        }
        opened.push(connection);
    }
    Ok(opened)
}

/// Returns a masked binary message whose key is zero.
fn message(size: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match size {
        ..=125 => frame.push(0x80 | size as u8),
        126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(size as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.resize(frame.len() + size, b'x');
    frame
}

/// Runs a load. `server_time` returns the processor time that the server has used.
pub fn run(
    address: SocketAddr,
    load: Load,
    security: &Security,
    time: Duration,
    server_time: impl Fn() -> Result<Duration, Failure>,
) -> Result<Outcome, Failure> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut plain = vec![0; 64 * 1024];
    let both = Interest::READABLE | Interest::WRITABLE;
    let (connections, size) = match load {
        Load::Echo { connections, size } => (connections, size),
        Load::Handshakes { connections } => (connections, 0),
    };
    let frame = message(size);
    // The answer has no masking key.
    let answer = frame.len() - 4;
    let mut all: Vec<(Connection, usize)> = match load {
        Load::Echo { .. } => open(address, connections, security)?.into_iter().map(|one| (one, 0)).collect(),
        Load::Handshakes { .. } => {
            (0..connections).map(|_| Ok((Connection::new(address, security)?, 0))).collect::<Result<_, Failure>>()?
        }
    };
    for (number, (connection, _)) in all.iter_mut().enumerate() {
        poll.registry().register(&mut connection.socket, Token(number), both)?;
        match load {
            Load::Echo { .. } => connection.send(&frame)?,
            Load::Handshakes { .. } => connection.flush()?,
        }
    }
    let mut count = 0;
    let mut measured: Option<(Instant, u64, Duration)> = None;
    let began = Instant::now();
    loop {
        poll.poll(&mut events, Some(Duration::from_secs(5)))?;
        if events.is_empty() {
            return Err("no answer for 5 s".into());
        }
        for event in &events {
            let number = event.token().0;
            let (connection, received) = &mut all[number];
            *received += connection.receive(&mut plain)?;
            match load {
                Load::Echo { .. } => {
                    if *received >= answer {
                        *received -= answer;
                        count += 1;
                        connection.send(&frame)?;
                    }
                }
                Load::Handshakes { .. } => {
                    if connection.is_shaken() && has_tickets(connection) {
                        count += 1;
                        if let Some(session) = &mut connection.session {
                            session.send_close_notify();
                        }
                        connection.flush()?;
                        let mut next = Connection::new(address, security)?;
                        poll.registry().register(&mut next.socket, Token(number), both)?;
                        next.flush()?;
                        all[number] = (next, 0);
                    }
                }
            }
        }
        let now = Instant::now();
        match measured {
            None if now - began >= WARMUP => measured = Some((now, count, server_time()?)),
            Some((from, before, server)) if now - from >= time => {
                let server_time = server_time()?.saturating_sub(server);
                return Ok(Outcome { count: count - before, time: now - from, server_time });
            }
            _ => {}
        }
    }
}

/// Returns whether the server's tickets have arrived, which come after its handshake.
fn has_tickets(connection: &Connection) -> bool {
    connection.session.as_ref().is_some_and(|session| session.tls13_tickets_received() > 0)
}
