//! The echo mode: one message outstanding on each connection.

use std::io;

use mio::{Events, Poll};
use tidegate_benches::error::LoadError;
use tidegate_benches::measure::{ENTER_TIMEOUT_MAX, Meter};
use tidegate_benches::report::Report;

use crate::Load;
use crate::connection::{Buffers, Connection, message, wrong};

/// A connection that waits for an answer.
struct Echoing {
    connection: Connection,
    /// Bytes of the answer that have arrived.
    received: usize,
    sent_at: u64,
}

pub fn run(load: &Load) -> Result<Report, LoadError> {
    let [message, answer] = message(load.payload_bytes);
    let mut poll = Poll::new()?;
    let mut all = Vec::new();
    for index in 0..load.run.connections {
        let connection = Connection::open(load.run.address, index, &load.security)?;
        connection.register(&poll, index)?;
        all.push(Echoing { connection, received: 0, sent_at: 0 });
    }
    let mut events = Events::with_capacity(1024);
    let mut buffers = Buffers::default();
    let mut meter = Meter::start(&load.run);
    for (index, echoing) in all.iter_mut().enumerate() {
        echoing.sent_at = meter.now();
        echoing.connection.send(&message).map_err(|error| failed(index, error))?;
    }
    let mut outstanding = all.len();
    while outstanding > 0 || !meter.is_draining() {
        wait(&mut poll, &mut events, &mut meter)?;
        for event in &events {
            let index = event.token().0;
            let echoing = &mut all[index];
            if event.is_writable() {
                echoing.connection.flush().map_err(|error| failed(index, error))?;
            }
            if !echoing.receive(&answer, &mut buffers).map_err(|error| failed(index, error))? {
                continue;
            }
            let now = meter.now();
            meter.count(now, 1);
            meter.time(now, echoing.sent_at, 1);
            echoing.received = 0;
            if meter.is_draining() {
                outstanding -= 1;
            } else {
                echoing.sent_at = now;
                echoing.connection.send(&message).map_err(|error| failed(index, error))?;
            }
        }
        if meter.is_stalled(meter.now(), outstanding > 0) {
            return Err(LoadError::Stalled { connections: outstanding, messages: outstanding as u64 });
        }
    }
    let protocol = if load.security.is_some() { "wss" } else { "ws" };
    let title = format!("echo {protocol} {} x {} B", load.run.connections, load.payload_bytes);
    let mut report = Report::new("echo", "message", title, load.run.connections, meter.finish()?);
    report.detail("protocol", format!("\"{protocol}\""));
    report.detail("size", load.payload_bytes);
    Ok(report)
}

impl Echoing {
    /// Receives what has arrived. Returns whether the answer is complete.
    fn receive(&mut self, answer: &[u8], buffers: &mut Buffers) -> io::Result<bool> {
        let received = &mut self.received;
        self.connection.receive(buffers, |bytes| {
            let end = *received + bytes.len();
            if answer.get(*received..end) != Some(bytes) {
                return Err(wrong());
            }
            *received = end;
            Ok(end == answer.len())
        })?;
        Ok(self.received == answer.len())
    }
}

/// Waits for events, for a while at most, and advances the meter to the time after it.
pub fn wait(poll: &mut Poll, events: &mut Events, meter: &mut Meter) -> io::Result<()> {
    match poll.poll(events, Some(ENTER_TIMEOUT_MAX)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        waited => waited?,
    }
    meter.advance(meter.now())
}

pub fn failed(index: usize, error: io::Error) -> LoadError {
    LoadError::Failed { index, operation: "exchange", error }
}
