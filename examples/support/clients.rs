//! WebSocket clients in child processes, with plain sockets and literal frames.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// Clients per process, each of which has one address. Connecting gets slow with more.
pub const CLIENTS_PER_PROCESS: usize = 8_000;
const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A masked ping with the payload `tide`, and the pong to it.
const PING: &[u8] = &[0x89, 0x84, 0, 0, 0, 0, b't', b'i', b'd', b'e'];
const PONG: &[u8] = &[0x8a, 0x04, b't', b'i', b'd', b'e'];

/// The message of a broadcast, and its frame.
pub const NEWS: &[u8] = b"news";
const NEWS_FRAME: &[u8] = b"\x82\x04news";
/// The payload bytes of the messages that active clients exchange, and the rounds in which they do.
const ACTIVE_BYTES: usize = 64;
const ACTIVE_ROUNDS: usize = 200;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One child process and the pipes to it.
pub struct Clients {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Clients {
    pub fn start(address: SocketAddr, number: usize, count: usize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["client", &address.to_string(), &number.to_string(), &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take().ok_or("no pipe")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        Ok(Self { child, commands, answers })
    }

    pub fn ask(&mut self, command: &str) -> Outcome<()> {
        Ok(writeln!(self.commands, "{command}")?)
    }

    pub fn expect(&mut self, answer: &str) -> Outcome<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.trim() == answer {
            Ok(())
        } else {
            Err(format!("a client process answered {line:?}, not {answer:?}").into())
        }
    }

    /// Lets some of the clients exchange messages. Returns their round trips, as text.
    pub fn active(&mut self, count: usize) -> Outcome<String> {
        self.ask(&format!("active {count}"))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    pub fn end(mut self) -> Outcome<()> {
        self.ask("end")?;
        self.child.wait()?;
        Ok(())
    }
}

/// Runs the child process: opens the connections, then follows the commands on standard input.
pub fn client(server: SocketAddr, number: u16, count: usize) -> Outcome<()> {
    let [high, low] = number.to_be_bytes();
    let source = SocketAddr::from((Ipv4Addr::new(127, 1 + high, low, 1), 0));
    let mut streams = (0..count).map(|_| open(server, source)).collect::<Outcome<Vec<_>>>()?;
    println!("connected");
    for command in std::io::stdin().lines() {
        let command = command?;
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("ping", _) => {
                exchange(&mut streams, PING, PONG)?;
                println!("answered");
            }
            ("active", count) => println!("{}", round_trips(&mut streams[..count.parse()?])?),
            ("news", _) => {
                exchange(&mut streams, &[], NEWS_FRAME)?;
                println!("received");
            }
            _ => break,
        }
    }
    Ok(())
}

/// Sends `frame` on each connection, then expects `answer` on each.
fn exchange(streams: &mut [TcpStream], frame: &[u8], answer: &[u8]) -> Outcome<()> {
    for stream in &mut *streams {
        stream.write_all(frame)?;
    }
    for stream in &mut *streams {
        expect(stream, answer)?;
    }
    Ok(())
}

fn expect(stream: &mut TcpStream, answer: &[u8]) -> Outcome<()> {
    let mut bytes = vec![0; answer.len()];
    stream.read_exact(&mut bytes)?;
    if bytes == answer { Ok(()) } else { Err(format!("got {bytes:?}, expected {answer:?}").into()) }
}

/// Exchanges messages on all connections, one outstanding on each. Returns percentiles of the times.
fn round_trips(streams: &mut [TcpStream]) -> Outcome<String> {
    let message = [&[0x82, 0x80 | ACTIVE_BYTES as u8, 0, 0, 0, 0], &[7; ACTIVE_BYTES][..]].concat();
    let echo = [&[0x82, ACTIVE_BYTES as u8], &[7; ACTIVE_BYTES][..]].concat();
    let mut times = Vec::new();
    for _ in 0..ACTIVE_ROUNDS {
        let mut sent = Vec::with_capacity(streams.len());
        for stream in &mut *streams {
            sent.push(Instant::now());
            stream.write_all(&message)?;
        }
        for (stream, sent) in streams.iter_mut().zip(sent) {
            expect(stream, &echo)?;
            times.push(sent.elapsed());
        }
    }
    times.sort_unstable();
    let percentile = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(Duration::ZERO);
    let (half, most, last) = (percentile(0.5), percentile(0.99), times.last().copied().unwrap_or_default());
    Ok(format!("{} of them, p50 {half:.1?}, p99 {most:.1?}, longest {last:.1?}", times.len()))
}

fn open(server: SocketAddr, source: SocketAddr) -> Outcome<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&source.into())?;
    socket.connect(&server.into())?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(HANDSHAKE)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0; 1];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if head.starts_with(b"HTTP/1.1 101 ") { Ok(stream) } else { Err("the handshake was refused".into()) }
}
