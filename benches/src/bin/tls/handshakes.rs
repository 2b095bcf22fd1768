//! The handshakes mode: connections that shake hands, wait for the server's tickets, and close; some at a time.

use std::sync::Arc;

use mio::{Events, Poll};
use rustls::{ClientConfig, HandshakeKind};
use tidegate_benches::error::LoadError;
use tidegate_benches::measure::Meter;
use tidegate_benches::report::Report;

use crate::Load;
use crate::connection::{Buffers, Connection, wrong};
use crate::echo::{failed, wait};

/// A connection that shakes hands.
struct Shaking {
    connection: Connection,
    begun_at: u64,
}

pub fn run(load: &Load, config: &Arc<ClientConfig>, resumes: bool) -> Result<Report, LoadError> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffers = Buffers::default();
    let mut meter = Meter::start(&load.run);
    let mut cycles = 0;
    let mut begin = |poll: &Poll, index: usize, begun_at: u64| {
        cycles += 1;
        let begun = Connection::begin(load.run.address, cycles, config).and_then(|connection| {
            connection.register(poll, index)?;
            Ok(Shaking { connection, begun_at })
        });
        begun.map_err(|error| LoadError::Connect { index, error })
    };
    let mut all = Vec::new();
    for index in 0..load.run.connections {
        all.push(Some(begin(&poll, index, meter.now())?));
    }
    let mut outstanding = all.len();
    while outstanding > 0 || !meter.is_draining() {
        wait(&mut poll, &mut events, &mut meter)?;
        for event in &events {
            let index = event.token().0;
            let Some(shaking) = &mut all[index] else { continue };
            let kind = shaking
                .connection
                .flush()
                .and_then(|()| shaking.connection.receive(&mut buffers, |_plain| Err(wrong())))
                .map(|()| shaking.connection.shaken())
                .map_err(|error| failed(index, error))?;
            let Some(kind) = kind else { continue };
            if resumes && meter.is_measuring() && kind != HandshakeKind::Resumed {
                return Err(LoadError::Io(std::io::Error::other("the server did not resume a session")));
            }
            let now = meter.now();
            meter.count(now, 1);
            meter.time(now, shaking.begun_at, 1);
            shaking.connection.close().map_err(|error| failed(index, error))?;
            all[index] = None;
            if meter.is_draining() {
                outstanding -= 1;
            } else {
                all[index] = Some(begin(&poll, index, now)?);
            }
        }
        if meter.is_stalled(meter.now(), outstanding > 0) {
            return Err(LoadError::StalledCycles { connections: outstanding, first: "in the handshake" });
        }
    }
    let title = format!("handshakes{} {}", if resumes { ", resumed," } else { "" }, load.run.connections);
    let mut report = Report::new("handshakes", "handshake", title, load.run.connections, meter.finish()?);
    report.detail("resumed", resumes);
    Ok(report)
}
