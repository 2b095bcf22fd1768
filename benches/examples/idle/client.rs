//! The client: one process that holds all connections, and the pipes to it.
//!
//! It executes one command per line of its standard input and answers on its standard output. A line of `progress` is
//! followed by others; any other line ends the answer:
//!
//! ```text
//! (start)                    done
//! open CONNECTIONS           progress OPEN ... done
//! ping, receive              done
//! warm CONNECTIONS           done
//! active CONNECTIONS MILLIS  done COUNT TIME P50 P99 MAX, times in nanoseconds
//! (end)                      (closes all connections and exits)
//! ```
//! Any failure is answered with `failed` and the reason.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockAddr;
use tidegate_benches::error::LoadError;
use tidegate_benches::fleet::{Exchange, Fleet, Lines, Plan};
use tidegate_benches::handshake::Upgrade;
use tidegate_benches::outln;

use crate::Outcome;
use crate::round_trips::Window;

/// A masked ping with the payload `tide`, and the pong to it.
const PING: Lines = (&[0x89, 0x84, 0, 0, 0, 0, b't', b'i', b'd', b'e'], &[0x8a, 0x04, b't', b'i', b'd', b'e']);

/// The message of a broadcast, and its frame.
pub const NEWS: &[u8] = b"news";
const NEWS_FRAME: Lines = (&[], b"\x82\x04news");

/// The payload bytes of the messages that active clients exchange, and the number of messages on each connection that
/// are not timed at first.
const ACTIVE_BYTES: usize = 64;
const WARMUP_ROUNDS: u32 = 20;

/// A masked message of [`ACTIVE_BYTES`] and its echo. The masking key is zero.
const MESSAGE: Lines = (&message::<{ ACTIVE_BYTES + 6 }>(0x80), &message::<{ ACTIVE_BYTES + 2 }>(0));

/// Connections that wait for the broadcast at a time, of all threads together. It reaches them in about the order in
/// which they were opened. What arrives outside of this window waits in the kernel, in a kilobyte for each connection.
const RECEIVING_MAX: usize = 65_536;

/// The longest wait for anything to happen.
const STALL: Duration = Duration::from_secs(60);

const fn message<const BYTES: usize>(masked: u8) -> [u8; BYTES] {
    let mut frame = [0; BYTES];
    (frame[0], frame[1]) = (0x82, masked | ACTIVE_BYTES as u8);
    let mut at = BYTES - ACTIVE_BYTES;
    while at < BYTES {
        frame[at] = 7;
        at += 1;
    }
    frame
}

/// The client process. It ends when this is dropped.
pub struct Client {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    /// Starts the process, for up to `connections` connections to `server`: an address, or `@` and the name of a
    /// Unix-domain socket.
    pub fn start(server: &str, connections: usize, threads: usize, opening: usize) -> Outcome<Self> {
        let numbers = [connections, threads, opening].map(|number| number.to_string());
        let mut child = Command::new(std::env::current_exe()?)
            .args(["client", server])
            .args(numbers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = child.stdin.take().ok_or("no pipe")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        let mut client = Self { child, commands, answers };
        client.wait(&mut |_| Ok(()))?;
        Ok(client)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Opens connections until there are `upto`. Reports their number every two seconds; an error ends it.
    pub fn open(&mut self, upto: usize, report: &mut dyn FnMut(usize) -> Outcome<()>) -> Outcome<()> {
        self.ask(&format!("open {upto}"))?;
        self.wait(report).map(drop)
    }

    /// Sends a ping on each connection and waits for its pong.
    pub fn ping(&mut self) -> Outcome<()> {
        self.ask("ping")?;
        self.wait(&mut |_| Ok(())).map(drop)
    }

    /// Exchanges some messages on the first connections.
    pub fn warm_up(&mut self, connections: usize) -> Outcome<()> {
        self.ask(&format!("warm {connections}"))?;
        self.wait(&mut |_| Ok(())).map(drop)
    }

    /// Exchanges messages on the first connections for some time, one outstanding on each.
    pub fn active(&mut self, connections: usize, time: Duration) -> Outcome<Window> {
        self.ask(&format!("active {connections} {}", time.as_millis()))?;
        self.wait(&mut |_| Ok(()))?.parse()
    }

    /// Begins to receive the broadcast.
    pub fn begin_receiving(&mut self) -> Outcome<()> {
        self.ask("receive")
    }

    /// Waits until each connection has received the broadcast.
    pub fn finish_receiving(&mut self) -> Outcome<()> {
        self.wait(&mut |_| Ok(())).map(drop)
    }

    /// Closes all connections and waits for the end of the process.
    pub fn end(mut self) -> Outcome<()> {
        self.ask("end")?;
        self.child.wait()?;
        Ok(())
    }

    fn ask(&mut self, command: &str) -> Outcome<()> {
        Ok(writeln!(self.commands, "{command}")?)
    }

    /// Reads an answer. Returns what follows its first word.
    fn wait(&mut self, report: &mut dyn FnMut(usize) -> Outcome<()>) -> Outcome<String> {
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line)?;
            match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
                ("progress", open) => report(open.parse()?)?,
                ("done", rest) => return Ok(rest.to_owned()),
                ("failed", why) => return Err(why.into()),
                _ => return Err("the client process has ended".into()),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Both fail if it has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the client process.
pub fn serve(arguments: &[String]) -> Outcome<()> {
    let [server, connections, threads, opening] = arguments else { return Err("a client has 4 arguments".into()) };
    let (address, host) = match server.strip_prefix('@') {
        Some(name) => (SockAddr::unix(format!("\0{name}"))?, "localhost"),
        None => (server.parse::<SocketAddr>()?.into(), server.as_str()),
    };
    let plan = Plan {
        server: address,
        upgrade: Some(Upgrade::new(host, "/ws", 0)),
        connections: connections.parse()?,
        threads: threads.parse()?,
        opening_max: opening.parse()?,
        answer_bytes_max: 0,
        stall: STALL,
    };
    let opening_max = plan.opening_max;
    let mut fleet = match Fleet::new(plan) {
        Ok(fleet) => fleet,
        Err(error) => {
            outln!("failed {error}");
            return Ok(());
        }
    };
    outln!("done");
    for command in std::io::stdin().lines() {
        let command = command?;
        let done = match command.split_once(' ').unwrap_or((&command, "")) {
            ("open", upto) => {
                let progress = &mut |open| {
                    outln!("progress {open}");
                    Ok(())
                };
                fleet.open(upto.parse()?, progress).map(|()| String::new())
            }
            ("ping", _) => exchange(&mut fleet, PING, opening_max),
            ("receive", _) => exchange(&mut fleet, NEWS_FRAME, RECEIVING_MAX),
            ("warm", connections) => warm_up(&mut fleet, connections.parse()?),
            ("active", numbers) => match numbers.split_once(' ') {
                Some((connections, millis)) => {
                    active(&mut fleet, connections.parse()?, Duration::from_millis(millis.parse()?))
                }
                None => break,
            },
            _ => break,
        };
        match done {
            Ok(answer) => outln!("done {answer}"),
            Err(error) => {
                outln!("failed {error}");
                break;
            }
        }
    }
    Ok(())
}

fn exchange(fleet: &mut Fleet, lines: Lines, window: usize) -> Result<String, LoadError> {
    let connections = fleet.open_connections();
    let lines = Arc::new(move |_| lines);
    fleet.exchange(&Exchange { lines, connections, rounds: 1, time_max: None, window, timed: false })?;
    Ok(String::new())
}

fn echoes(connections: usize, rounds: u32) -> Exchange {
    let lines = Arc::new(|_| MESSAGE);
    Exchange { lines, connections, rounds, time_max: None, window: usize::MAX, timed: false }
}

fn warm_up(fleet: &mut Fleet, connections: usize) -> Result<String, LoadError> {
    fleet.exchange(&echoes(connections, WARMUP_ROUNDS))?;
    Ok(String::new())
}

fn active(fleet: &mut Fleet, connections: usize, time: Duration) -> Result<String, LoadError> {
    let begun = Instant::now();
    let trips = fleet.exchange(&Exchange { time_max: Some(time), timed: true, ..echoes(connections, u32::MAX) })?;
    let time = begun.elapsed().as_nanos();
    let [p50, p99] = [0.5, 0.99].map(|share| trips.quantile(share));
    Ok(format!("{} {time} {p50} {p99} {}", trips.count(), trips.max()))
}
