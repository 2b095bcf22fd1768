//! The idle mode: connections that are used once and then say nothing, and the memory that each costs.
//!
//! Separate processes hold the connections, so there can be more of them than one process can open files. Memory is
//! read when those processes have started and nothing is connected, and again when every connection has answered one
//! message and freed memory has settled. Then the connections rest, and at the end each answers once more.

pub mod holder;
pub mod memory;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Run;
use crate::cpu::{self, Times};
use crate::error::LoadError;
use crate::histogram::Histogram;
use crate::measure::Measured;
use crate::report::Report;
use crate::script::Protocol;
use crate::setup;

use holder::Holding;
use memory::Kernel;

/// The first argument that makes the program a holder. [`Holding::arguments`] follow.
pub const HOLDER: &str = "hold-idle-connections";

/// The most connections per process: below the usual limits of open files, from two source addresses.
const CONNECTIONS_PER_PROCESS_MAX: usize = 16_000;

/// The most readings of memory until it settles, and the time between them.
const READINGS_MAX: u32 = 20;
const READING_INTERVAL: Duration = Duration::from_millis(100);

/// Memory has settled when two readings differ by less than this share.
const SETTLED: f64 = 0.001;

/// Settings of an idle run.
#[derive(Debug, Clone)]
pub struct Idle {
    /// Address, number of connections, and how long they rest (`measured`).
    pub run: Run,
    /// Protocol of the server.
    pub protocol: Protocol,
    /// Request-target of the opening handshakes.
    pub path: String,
    /// Payload bytes per message.
    pub payload_bytes: usize,
    /// Path of the load generator, which is started again to hold the connections.
    pub program: PathBuf,
}

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(idle: &Idle) -> Result<Report, LoadError> {
    let mut holders = start(idle)?;
    let before = Reading::now(idle)?;
    let server_before = idle.run.server_pid.map(cpu::process_times).transpose()?;
    let begun = Instant::now();
    for holder in &mut holders {
        holder.ask("open")?;
    }
    let mut client = Times::default();
    for holder in &mut holders {
        let [busy, waited] = holder.expect("opened")?[..] else { return Err(holder.nonsense()) };
        client.busy += Duration::from_nanos(busy);
        client.waited = client.waited.max(Duration::from_nanos(waited));
    }
    let wall = begun.elapsed();
    let server = idle.run.server_pid.map(cpu::process_times).transpose()?;
    let server = server.zip(server_before).map(|(after, before)| after.since(before));
    let after = Reading::settled(idle)?;
    thread::sleep(idle.run.measured);

    let mut latency = Histogram::default();
    for holder in &mut holders {
        holder.ask("echo")?;
        let times = holder.expect("answered")?;
        if times.len() != holder.count {
            return Err(holder.nonsense());
        }
        times.iter().for_each(|nanos| latency.record(*nanos, 1));
    }
    let processes = holders.len();
    holders.into_iter().try_for_each(Holder::end)?;
    let measured = Measured { wall, units: idle.run.connections as u64, client, server, latency };
    Ok(report(idle, measured, processes, before, after))
}

/// One reading of user and kernel memory.
#[derive(Debug, Clone, Copy)]
struct Reading {
    user: Option<u64>,
    kernel: Kernel,
}

impl Reading {
    fn now(idle: &Idle) -> Result<Self, LoadError> {
        Ok(Self { user: idle.run.server_pid.map(memory::user).transpose()?, kernel: Kernel::now()? })
    }

    /// Returns the first reading that is nearly the same as the one before, or the last of [`READINGS_MAX`].
    fn settled(idle: &Idle) -> Result<Self, LoadError> {
        let mut last = Self::now(idle)?;
        for _ in 1..READINGS_MAX {
            thread::sleep(READING_INTERVAL);
            let now = Self::now(idle)?;
            let difference = now.total().abs_diff(last.total());
            last = now;
            if (difference as f64) < last.total() as f64 * SETTLED {
                break;
            }
        }
        Ok(last)
    }

    fn total(&self) -> u64 {
        self.kernel.total() + self.user.unwrap_or(0)
    }
}

fn report(idle: &Idle, measured: Measured, processes: usize, before: Reading, after: Reading) -> Report {
    let connections = idle.run.connections;
    let each = |before: u64, after: u64| (after as f64 - before as f64) / connections as f64;
    let user = before.user.zip(after.user).map(|(before, after)| each(before, after));
    let kernel = each(before.kernel.total(), after.kernel.total());
    let title = format!("idle {} {connections}", idle.protocol);
    let mut report = Report::new("idle", "connection", title, connections, measured);
    report.detail("protocol", format!("\"{}\"", idle.protocol));
    report.detail("size", idle.payload_bytes);
    report.detail("processes", processes);
    let user_text = user.map_or("null".to_owned(), |user| format!("{user:.1}"));
    report.detail("user_bytes_per_connection", user_text);
    report.detail("kernel_bytes_per_connection_both_ends", format!("{kernel:.1}"));
    let parts = [
        ("slab_bytes_per_connection", each(before.kernel.slab, after.kernel.slab)),
        ("percpu_bytes_per_connection", each(before.kernel.percpu, after.kernel.percpu)),
        ("socket_bytes_per_connection", each(before.kernel.sockets, after.kernel.sockets)),
        ("stack_bytes_per_connection", each(before.kernel.stacks, after.kernel.stacks)),
        ("page_table_bytes_per_connection", each(before.kernel.page_tables, after.kernel.page_tables)),
    ];
    for (name, bytes) in parts {
        report.detail(name, format!("{bytes:.1}"));
    }
    report.note(match user {
        Some(user) => format!("{user:.0} user bytes each, {kernel:.0} kernel bytes each, both ends"),
        None => format!("{kernel:.0} kernel bytes each, both ends"),
    });
    report
}

/// Starts the processes. They do not connect yet.
fn start(idle: &Idle) -> Result<Vec<Holder>, LoadError> {
    let connections = idle.run.connections;
    let processes = connections.div_ceil(CONNECTIONS_PER_PROCESS_MAX);
    let most = connections.div_ceil(processes);
    setup::require_files(most)?;
    let mut holders = Vec::with_capacity(processes);
    for first in (0..connections).step_by(most) {
        let holding = Holding {
            address: idle.run.address,
            protocol: idle.protocol,
            path: idle.path.clone(),
            first,
            count: most.min(connections - first),
            stall_secs: idle.run.stall.as_secs_f64(),
            payload_bytes: idle.payload_bytes,
        };
        holders.push(Holder::start(idle, &holding)?);
    }
    for holder in &mut holders {
        holder.expect("started")?;
    }
    Ok(holders)
}

/// One process that holds connections. It exits when its input ends, so it never outlives this process.
struct Holder {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    count: usize,
}

impl Holder {
    fn start(idle: &Idle, holding: &Holding) -> Result<Self, LoadError> {
        let mut command = Command::new(&idle.program);
        command.arg(HOLDER).args(holding.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let commands = child.stdin.take();
        let answers = child.stdout.take().ok_or_else(|| std::io::Error::other("no pipe from the holder process"))?;
        Ok(Self { child, commands, answers: BufReader::new(answers), count: holding.count })
    }

    fn ask(&mut self, command: &str) -> Result<(), LoadError> {
        match &mut self.commands {
            Some(commands) => Ok(writeln!(commands, "{command}")?),
            None => Err(self.nonsense()),
        }
    }

    /// Reads an answer and returns the numbers after `word`.
    fn expect(&mut self, word: &str) -> Result<Vec<u64>, LoadError> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (first, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match first {
            "failed" => Err(LoadError::Holder { why: rest.to_owned(), stalled: false }),
            "stalled" => Err(LoadError::Holder { why: rest.to_owned(), stalled: true }),
            _ if first == word => {
                rest.split_whitespace().map(|word| word.parse().map_err(|_| self.nonsense())).collect()
            }
            _ => Err(self.nonsense()),
        }
    }

    fn nonsense(&self) -> LoadError {
        LoadError::Holder { why: format!("invalid answer of holder process {}", self.child.id()), stalled: false }
    }

    fn end(mut self) -> Result<(), LoadError> {
        drop(self.commands.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
