//! WebSocket clients, each as the documentation of its crate writes one, in a process with one busy thread.
//!
//! Each sends messages to an echo server and reports as the load generator does, with exchanged roles: the server in
//! the report is the client, which is what is measured, and the client in the report is the echo server, which makes
//! the load.

mod fastwebsockets;
mod load_tester;
mod tidegate_client;
mod tokio_client;
mod tungstenite;

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidegate_benches::args::{Args, ArgsError, Opt};
use tidegate_benches::config;
use tidegate_benches::cpu::{self, Times};
use tidegate_benches::histogram::Histogram;
use tidegate_benches::matrix::results::LOAD_TESTER;
use tidegate_benches::measure::Measured;
use tidegate_benches::report::Report;
use tidegate_benches::{errln, outln};

type Outcome<T> = Result<T, Box<dyn Error>>;

const OPTIONS: &[Opt] = &[
    Opt::value("addr", "HOST:PORT", "address of the echo server, not a name; required"),
    Opt::value("client", "NAME", "inline, same-core, portable, portable-same-core (Tidegate) or a peer; required"),
    Opt::value("connections", "N", "connections (default 64)"),
    Opt::value("size", "BYTES", "payload of a message (default 64)"),
    Opt::value("depth", "N", "messages under way on each connection (default 1)"),
    Opt::value("seconds", "S", "time to measure (default 5)"),
    config::WARMUP,
    Opt::value("stall", "S", "has no effect; for the options of all loads"),
    config::CORE,
    Opt::value("server-pid", "PID", "the process of the echo server; required"),
];

/// One load.
#[derive(Clone)]
pub struct Load {
    address: SocketAddr,
    connections: usize,
    size: usize,
    depth: usize,
    warmup: Duration,
    time: Duration,
    server_pid: u32,
}

/// The measured part of a run, from its beginning on.
pub struct Span {
    begun: Instant,
    messages: u64,
    client_pid: u32,
    server_pid: u32,
    client: Times,
    server: Times,
}

impl Span {
    fn begin(load: &Load, client_pid: u32, messages: u64) -> Outcome<Self> {
        let [client, server] = [client_pid, load.server_pid].map(cpu::process_times);
        Ok(Self {
            begun: Instant::now(),
            messages,
            client_pid,
            server_pid: load.server_pid,
            client: client?,
            server: server?,
        })
    }

    fn end(self, messages: u64) -> Outcome<Measured> {
        let [client, server] = [self.client_pid, self.server_pid].map(cpu::process_times);
        Ok(Measured {
            wall: self.begun.elapsed(),
            units: messages - self.messages,
            client: server?.since(self.server),
            server: Some(client?.since(self.client)),
            latency: Histogram::default(),
        })
    }
}

type Client = fn(&Load) -> Outcome<Measured>;

const CLIENTS: &[(&str, Client)] = &[
    ("inline", tidegate_client::inline),
    ("same-core", tidegate_client::same_core),
    ("portable", tidegate_client::portable),
    ("portable-same-core", tidegate_client::portable_same_core),
    ("tokio-tungstenite", tungstenite::run),
    ("fastwebsockets", fastwebsockets::run),
    (LOAD_TESTER, load_tester::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            outln!("{}", report.json());
            errln!("{}", report.human());
            ExitCode::SUCCESS
        }
        Err(error) => {
            errln!("clients: {error}");
            ExitCode::from(if error.is::<ArgsError>() { 64 } else { 1 })
        }
    }
}

fn run() -> Outcome<Report> {
    let args = Args::parse(std::env::args().skip(1), OPTIONS)?;
    if let Some(core) = args.optional("core")? {
        // The threads that this one starts stay on its core.
        cpu::pin(core)?;
    }
    let load = Load {
        address: args.required("addr")?,
        connections: args.within("connections", 64, [1, 16_000])?,
        size: args.within("size", 64, [0, 64 << 20])?,
        depth: args.within("depth", 1, [1, 100_000])?,
        warmup: args.seconds("warmup", 1.0)?,
        time: args.seconds("seconds", 5.0)?,
        server_pid: args.required("server-pid")?,
    };
    let name: String = args.required("client")?;
    let Some((name, client)) = CLIENTS.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = CLIENTS.iter().map(|(name, _)| *name).collect();
        let why = format!("must be one of {}", names.join(", "));
        return Err(ArgsError::Invalid { name: "client", value: name, why }.into());
    };
    let title = format!("client {name} {} x {} B", load.connections, load.size);
    Ok(Report::new("client", "message", title, load.connections, client(&load)?))
}
