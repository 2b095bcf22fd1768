//! Notices the peer's end whatever the handler is waiting for, even while nothing is being received.
//!
//! An armed receive reports the end by itself. While receiving is paused at the high mark, and after the peer's FIN,
//! the driver watches for it.

use std::task::Waker;

use super::{Phase, Receive, WATCHING, Worker};
use crate::driver::Driver;
use crate::error::CloseCause;
use crate::shared::ConnShared;
use crate::shared::key::ConnKey;

impl<D: Driver> Worker<D> {
    /// Watches for the peer's end, unless a receive would report it.
    pub(super) fn watch_end(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key).filter(|conn| conn.phase == Phase::Open && !conn.flags.has(WATCHING)) else {
            return;
        };
        if !matches!(conn.receive, Receive::Paused | Receive::Ended) {
            return;
        }
        conn.flags.set(WATCHING);
        let fin = !conn.shared.lock_inbound().has_peer_ended();
        self.driver.watch_end(key, fin);
    }

    pub(super) fn on_peer_ended(&mut self, key: ConnKey, error: Option<i32>) {
        let Some(conn) = self.conn(key) else { return };
        conn.flags.clear(WATCHING);
        // An armed receive reports the end after the bytes before it.
        if conn.phase != Phase::Open || !matches!(conn.receive, Receive::Paused | Receive::Ended) {
            return;
        }
        match error {
            Some(errno) => self.fail(key, CloseCause::from_errno(errno)),
            None => note_peer_end(&conn.shared),
        }
    }
}

/// Records the peer's FIN and wakes everything that waits for it.
pub(super) fn note_peer_end(shared: &ConnShared) {
    let reader = {
        let mut inbound = shared.lock_inbound();
        inbound.note_peer_end();
        shared.take_reader(&mut inbound)
    };
    let watchers = shared.lock_outbound().note_peer_end();
    watchers.into_iter().chain(reader).for_each(Waker::wake);
}
