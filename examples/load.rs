//! Loads a WebSocket server: opens connections, sends messages on all of them, expects an echo of each, and prints
//! messages per second, latencies and errors.
//!
//! ```text
//! cargo run --release --example echo -- --addr 127.0.0.1:9001 &
//! cargo run --release --example load -- ws://127.0.0.1:9001/ws --connections 64 --seconds 5 --size 64 --depth 1
//! ```
//! `--depth` messages are under way on each connection; with 0 the connections only stay open. One address has about
//! 28,000 ports for connections to one server, so against a loopback address the connections come from many of them.
//! On io_uring they are direct descriptors, and the limit of open files bounds those of each worker: by default there
//! are as many workers as the connections need.

mod support {
    pub mod gate;
    pub mod latencies;
    pub mod options;
    pub mod trust;
}

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use support::gate::Gate;
use support::latencies::Latencies;
use support::options::Options;
use support::trust;
use tidegate::bytes::Bytes;
use tidegate::engine::{Engine, LocalTask, block_on, spawn_local};
use tidegate::prelude::*;
use tidegate::websocket::{Connect, Error, connect};

/// Connections that each worker opens at a time.
const OPENING_PER_WORKER: usize = 64;
/// Minimum connections that all workers together open at a time.
const OPENING_MIN: usize = 256;
/// Maximum wait for the server's close frame, when all connections are closed at once.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections from one loopback address: those for which Linux finds a port quickly.
const PORTS_PER_ADDRESS: usize = 14_000;

/// What all connections share.
struct Load {
    connect: Connect,
    is_loopback: bool,
    connections: usize,
    depth: usize,
    payload: Bytes,
    /// Number of tasks that open connections.
    opening: usize,
    opened: AtomicUsize,
    /// Open once all connections are.
    start: Gate,
    /// Open at the end of the measurement.
    stop: Gate,
    is_measuring: AtomicBool,
    messages: AtomicU64,
    latencies: Latencies,
    errors: Mutex<BTreeMap<String, usize>>,
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    let own = [
        ("URL", "", "the server, such as ws://127.0.0.1:9001/ws"),
        ("--connections N", "64", "connections to open"),
        ("--seconds S", "5", "time to measure, once all are open"),
        ("--size BYTES", "64", "payload of a message"),
        ("--depth N", "1", "messages under way on each connection; 0 holds it open"),
        ("--workers N", "0", "worker threads; 0 is one per core, and more if their file tables are too small"),
        ("--engine auto|uring|portable", "auto", "auto takes io_uring if it is available, else portable"),
    ];
    let about = "Opens WebSockets, and measures echoes on all of them.";
    let options = Options::parse(about, &[&own[..], &trust::ROWS].concat());
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether there were no errors.
fn run(options: &Options) -> tidegate::Result<bool> {
    let (url, connections): (String, usize) = (options.value("URL"), options.value("--connections"));
    let workers = match options.value("--workers") {
        0 => connections.div_ceil(table_room()).max(std::thread::available_parallelism().map_or(1, usize::from)),
        given => given,
    };
    // The same number for each worker, so that their tables fill evenly.
    let opening = (workers * OPENING_PER_WORKER).max(OPENING_MIN.next_multiple_of(workers));
    // What is measured is what is sent, so no pings; and closing very many takes a while.
    let config = WebSocketConfig::client().keepalive(None).close_timeout(CLOSE_TIMEOUT);
    let load = Arc::new(Load {
        connect: trust::apply(connect(&*url).config(config), options)?,
        is_loopback: url.contains("://127."),
        connections,
        depth: options.value("--depth"),
        payload: vec![b'x'; options.value("--size")].into(),
        opening,
        opened: AtomicUsize::new(0),
        start: Gate::default(),
        stop: Gate::default(),
        is_measuring: AtomicBool::new(false),
        messages: AtomicU64::new(0),
        latencies: Latencies::default(),
        errors: Mutex::default(),
    });
    // The tasks do little between two waits, so they run on the threads of the workers.
    let config =
        Config::default().engine(options.value("--engine")).workers(workers).placement(HandlerPlacement::Inline);
    let running = Engine::client(config.connections_max(connections.max(1)))?;
    let begin = Instant::now();
    let opening: Vec<_> = (0..opening)
        .map(|first| {
            let load = Arc::clone(&load);
            running.spawn(move || open(load, first))
        })
        .collect();
    let held: Vec<_> = opening.into_iter().filter_map(block_on).collect();
    let (opened, opening_time) = (load.opened.load(Ordering::Relaxed), begin.elapsed());
    println!("opened: {opened} of {connections} in {:.2} s", opening_time.as_secs_f64());

    let seconds = Duration::from_secs_f64(options.value("--seconds"));
    load.is_measuring.store(true, Ordering::Relaxed);
    load.start.open();
    std::thread::sleep(seconds);
    load.is_measuring.store(false, Ordering::Relaxed);
    let messages = load.messages.load(Ordering::Relaxed);
    load.stop.open();
    for task in held.into_iter().flatten() {
        block_on(task);
    }
    running.shutdown(Shutdown::default());

    println!("messages: {messages}, {:.0}/s", messages as f64 / seconds.as_secs_f64());
    println!("latency: {}", load.latencies);
    let errors = load.errors.lock().expect("no task panics with it");
    println!("errors: {}", errors.values().sum::<usize>());
    errors.iter().for_each(|(error, count)| println!("  {count} times: {error}"));
    Ok(errors.is_empty())
}

impl Load {
    fn note(&self, error: &dyn std::fmt::Display) {
        *self.errors.lock().expect("no task panics with it").entry(error.to_string()).or_default() += 1;
    }

    /// Returns the local address of a connection: against a loopback address one of many.
    fn source(&self, number: usize) -> Option<SocketAddr> {
        self.is_loopback.then(|| {
            let host = u16::try_from(1 + number / PORTS_PER_ADDRESS).unwrap_or(u16::MAX).to_be_bytes();
            SocketAddr::from((Ipv4Addr::new(127, 0, host[0], host[1]), 0))
        })
    }
}

/// Returns how many connections a worker's file table has room for: the limit of open files, less a few other files.
fn table_room() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let files: usize = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024);
    files.max(128) - 64
}

/// Opens every `opening`th connection from number `first` on, one after the other. Returns their tasks.
async fn open(load: Arc<Load>, first: usize) -> Vec<LocalTask<()>> {
    let mut tasks = Vec::new();
    for number in (first..load.connections).step_by(load.opening) {
        let mut connect = load.connect.clone();
        if let Some(address) = load.source(number) {
            connect = connect.local_address(address);
        }
        match connect.await {
            Ok((ws, _response)) => {
                load.opened.fetch_add(1, Ordering::Relaxed);
                let load = Arc::clone(&load);
                tasks.push(spawn_local(async move {
                    let ended = if load.depth == 0 { hold(ws, &load).await } else { drive(ws, &load).await };
                    if let Err(error) = ended {
                        load.note(&error);
                    }
                }));
            }
            Err(error) => load.note(&error),
        }
    }
    tasks
}

/// Sends messages and takes their echoes until the measurement ends.
async fn drive(mut ws: WebSocket, load: &Load) -> Result<(), Error> {
    load.start.passed().await;
    let mut under_way = VecDeque::with_capacity(load.depth);
    for _ in 0..load.depth {
        under_way.push_back(Instant::now());
        ws.send(load.payload.clone()).await?;
    }
    while let Some(sent) = under_way.pop_front() {
        if ws.recv().await?.is_none() {
            return Err(Error::Lost);
        }
        if load.is_measuring.load(Ordering::Relaxed) {
            load.messages.fetch_add(1, Ordering::Relaxed);
            load.latencies.add(sent.elapsed());
            under_way.push_back(Instant::now());
            ws.send(load.payload.clone()).await?;
        }
    }
    ws.close(CloseCode::NORMAL, "").await
}

/// Keeps the connection open, and answers pings, until the measurement ends.
async fn hold(mut ws: WebSocket, load: &Load) -> Result<(), Error> {
    let mut stop = pin!(load.stop.passed());
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while let Poll::Ready(received) = pin!(ws.recv()).poll(cx) {
            if received?.is_none() {
                return Poll::Ready(Err(Error::Lost));
            }
        }
        Poll::Pending
    })
    .await?;
    ws.close(CloseCode::NORMAL, "").await
}
