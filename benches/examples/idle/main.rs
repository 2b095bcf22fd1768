//! Holds many idle WebSockets, checks that each answers, and prints what they cost: memory by part, the time to open
//! them, the round trips of active ones beside them, and the time of a broadcast to all.
//!
//! ```text
//! cargo run --release --example idle -- --connections 100000 --style events --active 1000 --broadcast
//! ```
//! The server runs in this process and all clients in another one, so the memory of the server is measured without
//! theirs. Both processes hold their connections as direct descriptors: the limit of open files bounds the file table
//! of each ring, and each process starts as many rings as it needs.

mod client;
mod report;
mod round_trips;
mod server;

#[path = "../../../examples/support/options.rs"]
mod options;

use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tidegate::engine::{EngineKind, Running};
use tidegate::prelude::*;
use tidegate_benches::cpu::Shares;
use tidegate_benches::heap::Heap;
use tidegate_benches::idle::memory;
use tidegate_benches::socket::raise_file_limit;
use tidegate_benches::{errln, outln};

use client::{Client, NEWS};
use options::{Options, refuse};
use report::Reading;
use round_trips::Windows;

#[global_allocator]
static HEAP: Heap = Heap::new();

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Opening ends with an error when less memory than this is left: before the system has to end processes.
const MEMORY_LEFT_MIN: u64 = 256 << 20;

/// The most handshakes that wait in the queue of a listener, unless a few workers have to take all of them.
const BACKLOG_MIN: usize = 256;
const BACKLOG_MAX: usize = 4096;

/// Open files of the process that are not connections of the server, and some room.
const OTHER_FILES: usize = 64;

/// The most handshakes in progress over a Unix-domain socket: fewer than its queue holds. A full one refuses clients.
const UNIX_OPENING_MAX: usize = 1024;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, arguments @ ..] = &arguments[..]
        && mode == "client"
    {
        return client::serve(arguments);
    }
    let options = Options::parse(
        "Holds many idle WebSockets and prints what they cost.",
        &[
            ("--connections N", "10000", "WebSockets to hold"),
            ("--engine auto|uring|portable", "uring", "auto takes io_uring if it is available, else portable"),
            ("--handlers same-core|inline|threads:N", "same-core", "where handlers run"),
            ("--style async|boxed|events", "async", "how the handler is written; boxed is async and boxes its work"),
            ("--future-bytes 0|1024|4096|16384", "0", "memory that the handler needs for a message"),
            ("--active N", "0", "WebSockets that exchange messages, before and while the others are idle"),
            ("--windows N", "5", "windows of time in which the active ones are measured, each before and while"),
            ("--window-seconds S", "2", "time of such a window"),
            ("--broadcast", "", "send one message to all of them"),
            ("--workers N", "0", "workers of the server; 0 is as many as the file tables require"),
            ("--client-threads N", "0", "threads of the client; 0 is one per core"),
            ("--opening N", "4096", "handshakes in progress at a time"),
            ("--unix", "", "connect over a Unix-domain socket, whose ends take less memory of the kernel"),
        ],
    );
    let layout = Layout::of(&options)?;
    let before_start = Reading::now()?;
    let begin = Instant::now();
    let unix = options.given("--unix").map(|_| format!("@tidegate-idle-{}", std::process::id()));
    let (running, hub) = server::start(&options, layout.workers, layout.backlog, unix.as_deref())?;
    outln!("serving on {}", running.summary());
    report::workers(&running, begin.elapsed(), &before_start, &Reading::now()?);
    let address = match unix {
        Some(name) => name,
        None => running.local_addr().ok_or("no address")?.to_string(),
    };
    let mut client = Client::start(&address, layout.connections, layout.client_threads, layout.opening)?;
    measure(&running, &mut client, &layout, hub.as_ref())?;
    client.end()?;
    let ended = running.shutdown(Shutdown::default());
    outln!("shut down: {} drained, {} reset", ended.drained, ended.forced);
    Ok(())
}

/// How many of everything there are.
struct Layout {
    connections: usize,
    active: usize,
    windows: Windows,
    workers: usize,
    backlog: usize,
    client_threads: usize,
    opening: usize,
}

impl Layout {
    fn of(options: &Options) -> Outcome<Self> {
        let connections: usize = options.value("--connections");
        let is_unix = options.given("--unix").is_some();
        let opening = options.value::<usize>("--opening").clamp(1, if is_unix { UNIX_OPENING_MAX } else { usize::MAX });
        let cores = std::thread::available_parallelism()?.get();
        let files = raise_file_limit()?;
        let is_portable = options.value::<EngineKind>("--engine") == EngineKind::Portable;
        if is_portable && connections.saturating_add(OTHER_FILES) > files {
            refuse(&format!(
                "--connections {connections} does not fit {files} open files, of which the portable engine takes one for each: \
                 raise ulimit -n, or use io_uring"
            ));
        }
        // All workers share the queue of a Unix-domain socket.
        let least = if is_unix { 1 } else { connections.div_ceil(files).max(cores) };
        let backlog = (opening * 2 / least).clamp(BACKLOG_MIN, BACKLOG_MAX);
        let workers = match options.value("--workers") {
            // Other engines share one table among all workers.
            0 if is_portable => cores,
            0 => connections.div_ceil(room(files, backlog)).max(cores),
            given => given,
        };
        let client_threads = match options.value("--client-threads") {
            0 => cores,
            given => given,
        };
        let active = options.value("--active");
        let windows = Windows {
            count: options.value_with("--windows", |text| within(text, [1, 100])),
            time: Duration::from_secs_f64(options.value_with("--window-seconds", |text| within(text, [0.01, 60.0]))),
        };
        Ok(Self { connections, active, windows, workers, backlog, client_threads, opening })
    }
}

/// Parses a number from `least` to `most`.
fn within<T: FromStr<Err: Display> + PartialOrd + Display>(text: &str, [least, most]: [T; 2]) -> Result<T, String> {
    let value: T = text.parse().map_err(|error: T::Err| error.to_string())?;
    if least <= value && value <= most { Ok(value) } else { Err(format!("must be {least} to {most}")) }
}

/// Returns how many connections can be planned for the file table of a worker. The system spreads clients over the
/// workers by hash, so some get more than their share: five standard deviations are left for that. Near the end of its
/// table a worker accepts one by one: as many slots as its listener's queue can fill, and a quarter more.
fn room(files: usize, backlog: usize) -> usize {
    let spread = 5.0 * (files as f64).sqrt();
    files.saturating_sub(backlog * 5 / 4 + spread as usize).max(files / 2).max(1)
}

/// Opens the connections and measures them.
fn measure(running: &Running, client: &mut Client, layout: &Layout, hub: Option<&Hub>) -> Outcome<()> {
    let before = Reading::now()?;
    let active = layout.active.min(layout.connections);
    let alone = if active == 0 {
        None
    } else {
        client.open(active, &mut |_| Ok(()))?;
        Some(layout.windows.measure(client, active, "alone")?)
    };
    open(client, layout.connections, active)?;
    let open: u64 = running.stats().iter().map(|stats| stats.connections).sum();
    report::memory("when open", open, &before, &Reading::settled()?);
    let begin = Instant::now();
    client.ping()?;
    outln!("each answered a ping, all within {:.2} s", begin.elapsed().as_secs_f64());
    let settled = Reading::settled()?;
    report::memory("after each answered a ping", open, &before, &settled);
    report::parts(running, open, &before, &settled);
    outln!("  the client process takes {} bytes each", memory::user(client.pid())? / open.max(1));
    if let Some(alone) = alone {
        let beside = layout.windows.measure(client, active, "beside the idle ones")?;
        let p99 = beside.p99.as_secs_f64() / alone.p99.as_secs_f64();
        outln!("  their median p99 is {p99:.2} of that alone, their rate {:.2}", beside.per_s / alone.per_s);
    }
    if let Some(hub) = hub {
        client.begin_receiving()?;
        let begin = Instant::now();
        hub.broadcast(NEWS).try_queue()?;
        client.finish_receiving()?;
        let time = begin.elapsed().as_secs_f64();
        outln!("broadcast to {} WebSockets received in {time:.3} s, {:.0} per second", hub.len(), open as f64 / time);
    }
    Ok(())
}

/// Opens all connections that are not open yet.
fn open(client: &mut Client, connections: usize, already: usize) -> Outcome<()> {
    let (server_before, client_before) = (Shares::of(std::process::id())?, Shares::of(client.pid())?);
    let begin = Instant::now();
    client.open(connections, &mut |open| {
        let left = memory::available()?;
        let rate = (open.saturating_sub(already)) as f64 / begin.elapsed().as_secs_f64();
        let time = begin.elapsed().as_secs_f64();
        errln!("{open} open after {time:.1} s, {rate:.0} per second, {} MiB of memory left", left >> 20);
        if left < MEMORY_LEFT_MIN {
            return Err(format!("{open} are open, and only {} MiB of memory are left", left >> 20).into());
        }
        Ok(())
    })?;
    let time = begin.elapsed();
    let opened = connections - already;
    outln!("opened {opened} in {:.2} s, {:.0} per second", time.as_secs_f64(), opened as f64 / time.as_secs_f64());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / opened.max(1) as f64;
    let server = Shares::of(std::process::id())?.since(server_before);
    let client = Shares::of(client.pid())?.since(client_before);
    outln!(
        "  processor time each: server {:.1} µs and {:.1} µs in the kernel, client {:.1} µs and {:.1} µs in the kernel",
        each(server.user),
        each(server.kernel),
        each(client.user),
        each(client.kernel)
    );
    Ok(())
}
