//! Backpressure: receiving pauses for a connection whose handler does not keep up.
//!
//! The push that reaches the high mark pauses the inbound buffer; the pop that reaches the low mark posts one `Resume`.
//! In between the peer's TCP window closes.

use super::{COUNTED_PAUSED, Receive, Worker};
use crate::clock::RecentTick;
use crate::driver::Driver;
use crate::shared::key::ConnKey;

impl<D: Driver> Worker<D> {
    /// Resumes receiving: the handler has read down to the low mark.
    pub(super) fn resume(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        if conn.shared.lock_inbound().is_paused() {
            // Paused again before this command was taken. Another one follows.
            return;
        }
        self.uncount_pause(key);
        let Some(conn) = self.conn(key) else { return };
        conn.received_at = RecentTick::new(conn.shared.worker().clock.now());
        match conn.receive {
            Receive::Paused => self.after_receive(key, false),
            // The receive goes on, or its end arms the next one.
            Receive::Cancelling => conn.receive = Receive::Armed,
            Receive::Armed | Receive::Starved | Receive::Filling | Receive::Ended => {}
        }
    }

    pub(super) fn uncount_pause(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key)
            && conn.flags.take(COUNTED_PAUSED)
        {
            self.worker_shared.counters.paused.sub(1);
        }
    }
}
