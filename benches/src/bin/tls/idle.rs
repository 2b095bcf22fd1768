//! The idle mode: WebSockets that answered once and then say nothing, and the server's memory for each.

use std::thread;
use std::time::{Duration, Instant};

use tidegate_benches::cpu;
use tidegate_benches::error::LoadError;
use tidegate_benches::histogram::Histogram;
use tidegate_benches::idle::memory;
use tidegate_benches::measure::{Measured, nanos};
use tidegate_benches::report::Report;

use crate::Load;
use crate::connection::{Connection, message};
use crate::echo::failed;

/// Time in which the server frees what the handshakes needed.
const SETTLING_TIME: Duration = Duration::from_millis(500);

pub fn run(load: &Load) -> Result<Report, LoadError> {
    let [message, answer] = message(load.payload_bytes);
    let memory = || load.run.server_pid.map(memory::user).transpose();
    let busy = || load.run.server_pid.map(cpu::process_times).transpose();
    let (memory_before, server_before, client_before) = (memory()?, busy()?, cpu::thread_times()?);
    let begun = Instant::now();
    let mut all = Vec::new();
    for index in 0..load.run.connections {
        let mut connection = Connection::open(load.run.address, index, &load.security)?;
        connection.exchange(&message, &answer).map_err(|error| failed(index, error))?;
        all.push(connection);
    }
    let wall = begun.elapsed();
    let client = cpu::thread_times()?.since(client_before);
    let server = busy()?.zip(server_before).map(|(after, before)| after.since(before));
    thread::sleep(SETTLING_TIME);
    let memory_after = memory()?;
    thread::sleep(load.run.measured);
    let mut latency = Histogram::default();
    for (index, connection) in all.iter_mut().enumerate() {
        let sent = Instant::now();
        connection.exchange(&message, &answer).map_err(|error| failed(index, error))?;
        latency.record(nanos(sent.elapsed()), 1);
    }
    let measured = Measured { wall, units: all.len() as u64, client, server, latency };
    let protocol = if load.security.is_some() { "wss" } else { "ws" };
    let title = format!("idle {protocol} {}", all.len());
    let mut report = Report::new("idle", "connection", title, all.len(), measured);
    report.detail("protocol", format!("\"{protocol}\""));
    if let Some((before, after)) = memory_before.zip(memory_after) {
        let each = (after as f64 - before as f64) / all.len() as f64;
        report.detail("user_bytes_per_connection", format!("{each:.1}"));
        report.note(format!("{each:.0} user bytes each"));
    }
    Ok(report)
}
