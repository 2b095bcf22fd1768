//! The process that holds idle connections. Connections are spread over separate processes so that one process's limit
//! of open files does not bound their number, and so that no client memory shows in the server's figure.
//!
//! It executes one command per line of its standard input and answers with one line on its standard output:
//!
//! ```text
//! (start)  started
//! open     opened CPU_NANOS WAITED_NANOS
//! echo     answered NANOS NANOS NANOS ...
//! (end)    (sends close frames and exits)
//! ```
//! A failure is answered with `failed` or `stalled` and the reason, and ends the process.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::config::Run;
use crate::cpu;
use crate::echo::say_goodbye;
use crate::error::LoadError;
use crate::measure::nanos;
use crate::payload::Content;
use crate::replies::{Heard, Mismatch};
use crate::script::{Messages, Protocol, Script};
use crate::setup::{self, Greeting};

/// The connections that one process holds.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Address of the server.
    pub address: SocketAddr,
    /// Protocol of the server.
    pub protocol: Protocol,
    /// Request-target of the opening handshake.
    pub path: String,
    /// Number of the first connection, which decides the source address.
    pub first: usize,
    /// Number of connections.
    pub count: usize,
    /// The longest wait for one answer, in seconds.
    pub stall_secs: f64,
    /// Payload bytes per message.
    pub payload_bytes: usize,
}

impl Holding {
    /// Returns the command line arguments that [`parse`](Self::parse) reads back.
    #[must_use]
    pub fn arguments(&self) -> [String; 7] {
        [
            self.address.to_string(),
            self.protocol.to_string(),
            self.path.clone(),
            self.first.to_string(),
            self.count.to_string(),
            self.stall_secs.to_string(),
            self.payload_bytes.to_string(),
        ]
    }

    /// Parses command line arguments, or returns `None` if they are not from [`arguments`](Self::arguments).
    #[must_use]
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let [address, protocol, path, first, count, stall_secs, payload_bytes] = arguments else { return None };
        Some(Self {
            address: address.parse().ok()?,
            protocol: protocol.parse().ok()?,
            path: path.clone(),
            first: first.parse().ok()?,
            count: count.parse().ok()?,
            stall_secs: stall_secs.parse().ok().filter(|secs| (0.0..1e9).contains(secs))?,
            payload_bytes: payload_bytes.parse().ok()?,
        })
    }
}

/// Holds the connections until standard input ends. Returns whether all commands succeeded.
#[must_use]
pub fn run(holding: &Holding) -> bool {
    let mut held = Held { holding, script: None, connections: Vec::new() };
    println!("started");
    for command in io::stdin().lock().lines() {
        let done = match command.as_deref() {
            Ok("open") => held.open(),
            Ok("echo") => held.echo().map(|times| format!("answered{times}")),
            _ => break,
        };
        match done {
            Ok(line) => println!("{line}"),
            Err(error) => {
                println!("{} {error}", if error.is_stall() { "stalled" } else { "failed" });
                return false;
            }
        }
    }
    say_goodbye(held.connections.into_iter().map(|connection| connection.stream));
    true
}

/// One connection and its position in the script.
struct Connection {
    stream: TcpStream,
    heard: Heard,
    next: usize,
}

struct Held<'a> {
    holding: &'a Holding,
    script: Option<Script>,
    connections: Vec<Connection>,
}

impl Held<'_> {
    /// Opens every connection and waits for one echo on each.
    fn open(&mut self) -> Result<String, LoadError> {
        let Holding { address, protocol, ref path, first, count, stall_secs, payload_bytes } = *self.holding;
        let shape = Messages { protocol, payload_bytes, content: Content::Binary, window_messages_max: 1 };
        let script = Script::new(&shape).ok_or(LoadError::TooLarge)?;
        let stall = Duration::from_secs_f64(stall_secs);
        let (warmup, measured) = (Duration::ZERO, Duration::ZERO);
        let run = Run { address, connections: count, stall, warmup, measured, server_pid: None };
        let greeting = match protocol {
            Protocol::Tcp => Greeting::None,
            Protocol::WebSocket => Greeting::WebSocket(path),
        };
        for (index, (stream, rest)) in setup::open_from(&run, first, count, greeting)?.into_iter().enumerate() {
            let index = first + index;
            stream.set_read_timeout(Some(stall)).map_err(|error| LoadError::Connect { index, error })?;
            let next = index % script.messages();
            let mut heard = Heard::new(&script, next);
            heard.receive(&script, 0, &rest).map_err(|error| LoadError::Wrong { index, error })?;
            self.connections.push(Connection { stream, heard, next });
        }
        self.script = Some(script);
        self.echo()?;
        let times = cpu::thread_times()?;
        Ok(format!("opened {} {}", times.busy.as_nanos(), times.waited.as_nanos()))
    }

    /// Exchanges one message and its echo on each connection in turn. Returns the round trips in nanoseconds, each
    /// after a space.
    fn echo(&mut self) -> Result<String, LoadError> {
        let Some(script) = &self.script else { return Ok(String::new()) };
        let mut block = vec![0; 65_536.min(script.reply_bytes())];
        let mut times = String::new();
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let begun = Instant::now();
            exchange(connection, script, &mut block).map_err(|error| error.on(self.holding.first + index))?;
            times += &format!(" {}", nanos(begun.elapsed()));
        }
        Ok(times)
    }
}

/// Why an exchange failed, without its connection.
enum Failure {
    Io(&'static str, io::Error),
    Wrong(Mismatch),
    Closed,
}

impl Failure {
    fn on(self, index: usize) -> LoadError {
        match self {
            Self::Wrong(error) => LoadError::Wrong { index, error },
            Self::Closed => LoadError::Closed { index, outstanding: 1 },
            Self::Io(_, error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                LoadError::Stalled { connections: 1, messages: 1 }
            }
            Self::Io(operation, error) => LoadError::Failed { index, operation, error },
        }
    }
}

fn exchange(connection: &mut Connection, script: &Script, block: &mut [u8]) -> Result<(), Failure> {
    let request = script.requests().window(connection.next, 1);
    connection.next = (connection.next + 1) % script.messages();
    connection.stream.write_all(request).map_err(|error| Failure::Io("send", error))?;
    let mut completed = 0;
    while completed == 0 {
        let length = connection.stream.read(block).map_err(|error| Failure::Io("receive", error))?;
        if length == 0 {
            return Err(Failure::Closed);
        }
        completed = connection.heard.receive(script, 1, &block[..length]).map_err(Failure::Wrong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_round_trip() {
        let holding = Holding {
            address: ([127, 0, 0, 1], 80).into(),
            protocol: Protocol::WebSocket,
            path: "/ws".into(),
            first: 3,
            count: 4,
            stall_secs: 0.25,
            payload_bytes: 64,
        };
        let arguments = holding.arguments();
        assert_eq!(Holding::parse(&arguments).unwrap().arguments(), arguments);
        assert!(Holding::parse(&arguments[1..]).is_none());
    }
}
