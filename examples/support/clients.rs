//! WebSocket clients in child processes, with plain sockets and literal frames.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use socket2::{Domain, Socket, Type};

/// Clients per process, each of which has one address. Connecting gets slow with more.
pub const CLIENTS_PER_PROCESS: usize = 8_000;
const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// A masked ping with the payload `tide`, and the pong to it.
const PING: &[u8] = &[0x89, 0x84, 0, 0, 0, 0, b't', b'i', b'd', b'e'];
const PONG: &[u8] = &[0x8a, 0x04, b't', b'i', b'd', b'e'];

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

    pub fn end(mut self) -> Outcome<()> {
        self.ask("end")?;
        self.child.wait()?;
        Ok(())
    }
}

/// Runs the child process: opens the connections, then follows the commands on standard input.
pub fn client(server: SocketAddr, number: u8, count: usize) -> Outcome<()> {
    let source = SocketAddr::from((Ipv4Addr::new(127, 1, number, 1), 0));
    let mut streams = (0..count).map(|_| open(server, source)).collect::<Outcome<Vec<_>>>()?;
    println!("connected");
    for command in std::io::stdin().lines() {
        if command? != "ping" {
            break;
        }
        for stream in &mut streams {
            stream.write_all(PING)?;
        }
        for stream in &mut streams {
            let mut pong = [0; PONG.len()];
            stream.read_exact(&mut pong)?;
            if pong != PONG {
                return Err("expected a pong".into());
            }
        }
        println!("answered");
    }
    Ok(())
}

fn open(server: SocketAddr, source: SocketAddr) -> Outcome<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&source.into())?;
    socket.connect(&server.into())?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
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
