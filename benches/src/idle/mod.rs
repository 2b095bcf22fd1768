//! The idle mode: connections that are used once and then say nothing, and the memory that each costs.
//!
//! They are direct descriptors of this process, so there can be more of them than it can open files. Memory is read
//! when the rings are there and nothing is connected, and again when every connection has answered one message and
//! freed memory has settled. Then the connections rest, and at the end each answers once more.

pub mod memory;

use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::config::Run;
use crate::cpu;
use crate::error::LoadError;
use crate::fleet::{Exchange, Fleet, Plan};
use crate::handshake::Upgrade;
use crate::measure::Measured;
use crate::payload::Content;
use crate::report::Report;
use crate::script::{self, Messages, Protocol, Script};

use memory::Kernel;

/// The most connections that are opened, or exchange a message, at a time, and the memory of all their buffers.
const IN_PROGRESS_MAX: usize = 1024;
const BUFFERS_BYTES_MAX: usize = 64 << 20;

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
}

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(idle: &Idle) -> Result<Report, LoadError> {
    let Run { address, connections, stall, server_pid, .. } = idle.run;
    let Idle { protocol, payload_bytes, .. } = *idle;
    let shape = Messages { protocol, payload_bytes, content: Content::Binary, window_messages_max: 1 };
    let script: &'static Script = Box::leak(Box::new(Script::new(&shape).ok_or(LoadError::TooLarge)?));
    let is_websocket = protocol == Protocol::WebSocket;
    let mut fleet = Fleet::new(Plan {
        server: address.into(),
        upgrade: is_websocket.then(|| Upgrade::new(&address.to_string(), &idle.path, 0)),
        connections,
        threads: 1,
        opening_max: IN_PROGRESS_MAX,
        answer_bytes_max: script.reply_bytes(),
        stall,
    })?;
    let before = Reading::now(idle)?;
    let server_before = server_pid.map(cpu::process_times).transpose()?;
    let client_before = cpu::process_times(process::id())?;
    let begun = Instant::now();
    fleet.open(connections, &mut |_| Ok(()))?;
    let window = (BUFFERS_BYTES_MAX / script.reply_bytes()).clamp(1, IN_PROGRESS_MAX);
    fleet.exchange(&echo(script, connections, 0, window))?;
    let wall = begun.elapsed();
    let client = cpu::process_times(process::id())?.since(client_before);
    let server = server_pid.map(cpu::process_times).transpose()?;
    let server = server.zip(server_before).map(|(after, before)| after.since(before));
    let after = memory::settled(|| Reading::now(idle), Reading::total)?;
    thread::sleep(idle.run.measured);

    let latency = fleet.exchange(&Exchange { timed: true, ..echo(script, connections, 1, 1) })?;
    if is_websocket {
        let close: &'static [u8] = script::close_frame().leak();
        fleet.exchange(&Exchange { lines: Arc::new(move |_| (close, &[])), ..echo(script, connections, 0, window) })?;
    }
    let measured = Measured { wall, units: connections as u64, client, server, latency };
    Ok(report(idle, measured, before, after))
}

/// Returns an exchange of one message on each connection, another one for each in turn.
fn echo(script: &'static Script, connections: usize, first: usize, window: usize) -> Exchange {
    let bytes = script.reply_bytes();
    let lines = move |number: usize| {
        let message = (first + number) % script.messages();
        (script.requests().window(message, 1), &script.replies()[message * bytes..][..bytes])
    };
    Exchange { lines: Arc::new(lines), connections, rounds: 1, time_max: None, window, timed: false }
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

    fn total(&self) -> u64 {
        self.kernel.total() + self.user.unwrap_or(0)
    }
}

fn report(idle: &Idle, measured: Measured, before: Reading, after: Reading) -> Report {
    let connections = idle.run.connections;
    let each = |before: u64, after: u64| (after as f64 - before as f64) / connections as f64;
    let user = before.user.zip(after.user).map(|(before, after)| each(before, after));
    let kernel = each(before.kernel.total(), after.kernel.total());
    let title = format!("idle {} {connections}", idle.protocol);
    let mut report = Report::new("idle", "connection", title, connections, measured);
    report.detail("protocol", format!("\"{}\"", idle.protocol));
    report.detail("size", idle.payload_bytes);
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
