//! Receiving large messages into the memory in which they stay.
//!
//! A reader that finds the start of a large message asks for a *hold*. The receive then ends, and from then on receives
//! end after a few bytes: the reader sees the start of each message before the rest is received. It answers with its
//! memory for the rest, a *fill*, or lets the receive go on. So bytes keep their order without a cancellation.
//!
//! ```text
//!        asked for                 filled
//!   No ────────────▶ Waiting ◀──────────────▶ Filled
//!   ▲                   │    released (ends)
//!   └── released twice ─┘
//! ```

use std::task::Waker;

use super::{Phase, Receive, Worker};
use crate::clock::RecentTick;
use crate::driver::Driver;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;

/// Whether the receives of a connection end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    No,
    /// They do, and no fill has followed since the reader last let the receive go on.
    Waiting,
    /// They do.
    Filled,
}

impl<D: Driver> Worker<D> {
    /// Ends the receive of a connection whose reader waits for the rest of a large message.
    pub(super) fn begin_holding(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key).filter(|conn| conn.phase == Phase::Open) else { return };
        #[cfg(feature = "tls")]
        if conn.flags.has(super::ENCRYPTED) {
            return;
        }
        if conn.holds != Holds::No {
            return;
        }
        conn.holds = Holds::Waiting;
        if conn.receive == Receive::Armed {
            conn.receive = Receive::Cancelling;
            self.driver.cancel_receive(key);
        }
    }

    /// Leaves it to the reader how the next bytes are received. No receive is armed.
    pub(super) fn hold_back(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        conn.receive = Receive::Paused;
        let reader = {
            let mut inbound = conn.shared.lock_inbound();
            inbound.hold_back();
            // A reader with something to read was woken for that.
            if inbound.is_empty() { conn.shared.take_reader(&mut inbound) } else { None }
        };
        self.watch_end(key);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Lets the receive go on as usual.
    pub(super) fn release(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key).filter(|conn| conn.receive == Receive::Paused) else { return };
        conn.holds = if conn.holds == Holds::Filled { Holds::Waiting } else { Holds::No };
        conn.received_at = RecentTick::new(conn.shared.worker().clock.now());
        self.arm_receive(key);
    }

    /// Receives the next bytes into memory of the reader.
    pub(super) fn fill(&mut self, key: ConnKey, fill: Box<MemoryFill>) {
        let Some(conn) = self.conn(key).filter(|conn| conn.receive == Receive::Paused && conn.phase == Phase::Open)
        else {
            return;
        };
        conn.receive = Receive::Filling;
        conn.holds = Holds::Filled;
        conn.received_at = RecentTick::new(conn.shared.worker().clock.now());
        self.driver.fill(key, fill);
    }

    pub(super) fn on_filled(&mut self, key: ConnKey, fill: MemoryFill) {
        let now = self.worker_shared.clock.now();
        let Some(conn) = self.conn(key) else { return };
        conn.received_at = RecentTick::new(now);
        conn.receive = Receive::Paused;
        let (len, chunk) = (fill.filled_bytes(), fill.into_chunk());
        let reader = {
            let mut inbound = conn.shared.lock_inbound();
            inbound.hold_back();
            let reader = conn.shared.take_reader(&mut inbound);
            inbound.push(chunk);
            reader
        };
        let open = conn.phase == Phase::Open;
        self.worker_shared.counters.received_bytes_total.add(len as u64);
        self.worker_shared.counters.chunks_total.add(1);
        if open {
            self.watch_end(key);
        } else {
            // The input of a closing connection is dropped.
            self.arm_receive(key);
        }
        reader.into_iter().for_each(Waker::wake);
    }
}
