//! WebSocket clients side by side: messages a second and processor time of each against one echo server.
//!
//! The server, `examples/echo` with an inline handler, runs on core 0. Each client is a process with one thread on core
//! 1, written as the documentation of its crate writes one, and runs once a round. The best round counts: other work on
//! the machine only makes a run slower.

mod fastwebsockets;
mod tidegate_client;
mod tokio_client;
mod tungstenite;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use tidegate_benches::args::{Args, ArgsError, Opt};

type Outcome<T> = Result<T, Box<dyn Error>>;

const OPTIONS: &[Opt] = &[
    Opt::list("client", "NAME", "client to measure; can be repeated (default all)"),
    Opt::value("connections", "N", "connections (default 64)"),
    Opt::value("size", "BYTES", "payload of a message (default 64)"),
    Opt::value("depth", "N", "messages under way on each connection (default 1)"),
    Opt::value("seconds", "S", "seconds of a run (default 2)"),
    Opt::value("rounds", "N", "runs of each client (default 3)"),
    Opt::value("run", "NAME", "run one client against --addr and print its numbers; for this program itself"),
    Opt::value("addr", "HOST:PORT", "the server of --run"),
];

/// One load.
#[derive(Clone)]
pub struct Load {
    address: SocketAddr,
    connections: usize,
    size: usize,
    depth: usize,
    /// The time before the measurement, and that of the measurement.
    warm_up: Duration,
    time: Duration,
}

/// What a client did during the measurement.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    messages: u64,
    busy: Duration,
}

type Client = fn(&Load) -> Outcome<Done>;

const CLIENTS: &[(&str, Client)] = &[
    ("tidegate", tidegate_client::run),
    ("tokio-tungstenite", tungstenite::run),
    ("fastwebsockets", fastwebsockets::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clients: {error}");
            ExitCode::from(if error.is::<ArgsError>() { 64 } else { 1 })
        }
    }
}

fn run() -> Outcome<()> {
    let args = Args::parse(std::env::args().skip(1), OPTIONS)?;
    let time = args.seconds("seconds", 2.0)?;
    let load = Load {
        address: args.optional("addr")?.unwrap_or(([127, 0, 0, 1], 0).into()),
        connections: args.within("connections", 64, [1, 16_000])?,
        size: args.within("size", 64, [0, 64 << 20])?,
        depth: args.within("depth", 1, [1, 100_000])?,
        warm_up: time / 4,
        time,
    };
    if let Some(name) = args.optional::<String>("run")? {
        let done = client_named("run", &name)?(&load)?;
        println!("{} {}", done.messages, done.busy.as_nanos());
        return Ok(());
    }
    let rounds = args.within("rounds", 3, [1, 100])?;
    let chosen: Vec<&str> = args.all("client").collect();
    chosen.iter().try_for_each(|name| client_named("client", name).map(drop))?;
    let mut best: Vec<(&str, Option<Done>)> = CLIENTS.iter().map(|(name, _)| (*name, None)).collect();
    best.retain(|(name, _)| chosen.is_empty() || chosen.contains(name));
    for _ in 0..rounds {
        for (name, best) in &mut best {
            let server = Server::start()?;
            let done = measure(name, server.address, &load)?;
            if best.is_none_or(|best| done.messages > best.messages) {
                *best = Some(done);
            }
        }
    }
    println!("{:20} {:>14} {:>20}", "client", "messages/s", "client ns/message");
    for (name, done) in best {
        let Some(done) = done else { continue };
        let rate = done.messages as f64 / load.time.as_secs_f64();
        println!("{name:20} {rate:>14.0} {:>20.0}", done.busy.as_nanos() as f64 / done.messages.max(1) as f64);
    }
    Ok(())
}

/// Returns the client that an option names.
fn client_named(option: &'static str, name: &str) -> Result<Client, ArgsError> {
    let found = CLIENTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, client)| *client).ok_or_else(|| {
        let names: Vec<&str> = CLIENTS.iter().map(|(name, _)| *name).collect();
        let why = format!("must be one of {}", names.join(", "));
        ArgsError::Invalid { name: option, value: name.to_owned(), why }
    })
}

/// Runs one client in a process on core 1.
fn measure(name: &str, address: SocketAddr, load: &Load) -> Outcome<Done> {
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(std::env::current_exe()?).args(["--run", name, "--addr", &address.to_string()]);
    for (option, number) in [("connections", load.connections), ("size", load.size), ("depth", load.depth)] {
        command.arg(format!("--{option}={number}"));
    }
    command.arg(format!("--seconds={}", load.time.as_secs_f64()));
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers = text.trim().split_once(' ').ok_or_else(|| format!("{name} failed: {}", output.status))?;
    Ok(Done { messages: numbers.0.parse()?, busy: Duration::from_nanos(numbers.1.parse()?) })
}

/// The echo server, on core 0.
struct Server {
    address: SocketAddr,
    child: Child,
}

impl Server {
    fn start() -> Outcome<Self> {
        let program = std::env::current_exe()?.with_file_name("examples").join("echo");
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).arg(program);
        command.args(["--addr", "127.0.0.1:0", "--workers", "1", "--handlers", "inline"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let address = line.split_whitespace().find_map(|word| word.parse().ok());
        let address = address.ok_or("build it first: cargo build --release --example echo")?;
        Ok(Self { address, child })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
