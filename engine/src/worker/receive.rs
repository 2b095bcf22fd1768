//! Receiving: chunks into the inbound buffer, and waiting for receive buffers.

#[cfg(feature = "tls")]
use super::ENCRYPTED;
use super::held::Holds;
use super::peer_end::note_peer_end;
use super::{COUNTED_PAUSED, Phase, QUIET, Receive, Worker};
use crate::clock::RecentTick;
use crate::driver::{Driver, HELD_BYTES, ReceiveEnd, Received};
use crate::error::CloseCause;
use crate::shared::chunk::Chunk;
use crate::shared::inbound::End;
use crate::shared::key::ConnKey;

/// Received bytes of at least this size move to handlers by lease. Fewer are copied into a pooled buffer, which costs
/// less than returning a lease (measured: copying is within noise up to 4 KiB).
const LEASE_BYTES_MIN: usize = 4096;

impl<D: Driver> Worker<D> {
    pub(super) fn arm_receive(&mut self, key: ConnKey) {
        let budgets = self.driver.capabilities().receive_budget;
        let marks = self.worker_shared.inbound;
        let Some(conn) = self.conn(key).filter(|conn| conn.phase != Phase::Closing) else { return };
        // A closing connection is drained without a bound, because its input is dropped at once.
        let holds = conn.holds != Holds::No;
        let budget = (conn.phase == Phase::Open && (budgets || holds))
            .then(|| marks.bytes_high.saturating_sub(conn.shared.lock_inbound().bytes()).max(1))
            .map(|budget| if holds { budget.min(HELD_BYTES) } else { budget });
        conn.receive = Receive::Armed;
        self.driver.arm_receive(key, budget);
    }

    pub(super) fn on_received(&mut self, key: ConnKey, mut data: Received, more: bool) {
        let (now, marks) = (self.worker_shared.clock.now(), self.worker_shared.inbound);
        let Some(conn) = self.conns.get_mut(key.index) else {
            return self.driver.recycle(data);
        };
        debug_assert_eq!(conn.shared.key, key);
        #[cfg(feature = "tls")]
        if conn.flags.has(ENCRYPTED) {
            return self.on_received_encrypted(key, data, more);
        }
        let bytes: &[u8] = self.driver.view(&mut data);
        let len = bytes.len();
        self.worker_shared.counters.received_bytes_total.add(len as u64);
        self.worker_shared.counters.chunks_total.add(1);
        conn.received_at = RecentTick::new(now);

        let mut inbound = conn.shared.lock_inbound();
        let wakes_endpoint = conn.shared.take_endpoint();
        let waker = if wakes_endpoint { None } else { conn.shared.take_task(&mut inbound) };
        if len >= LEASE_BYTES_MIN {
            inbound.push(self.driver.lease(data));
        } else {
            if !inbound.try_extend_last(bytes) {
                inbound.push(Chunk::copied(bytes));
            }
            self.driver.recycle(data);
        }
        let newly_paused = inbound.is_over_high(&marks) && !inbound.is_paused();
        if newly_paused {
            inbound.pause();
        }
        let paused = inbound.is_paused();
        drop(inbound);
        if wakes_endpoint {
            conn.shared.wake_endpoint();
        }

        if newly_paused {
            self.worker_shared.counters.pauses_total.add(1);
            // It is still counted if its handler resumed it and that command is still in the mailbox.
            if !conn.flags.replace(COUNTED_PAUSED) {
                self.worker_shared.counters.paused.add(1);
            }
        }
        if !more {
            self.after_receive(key, paused);
        } else if paused && conn.receive == Receive::Armed {
            conn.receive = Receive::Cancelling;
            self.driver.cancel_receive(key);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Arms the next receive, unless paused, after one that ended with the stream still open.
    pub(super) fn after_receive(&mut self, key: ConnKey, paused: bool) {
        let Some(conn) = self.conn(key) else { return };
        if paused {
            conn.receive = Receive::Paused;
            self.watch_end(key);
        } else if conn.holds != Holds::No && conn.phase == Phase::Open {
            self.hold_back(key);
        } else {
            self.arm_receive(key);
        }
    }

    pub(super) fn on_receive_ended(&mut self, key: ConnKey, end: ReceiveEnd) {
        let Some(conn) = self.conn(key) else { return };
        match end {
            ReceiveEnd::Cancelled if conn.flags.has(QUIET) => conn.receive = Receive::Paused,
            ReceiveEnd::Cancelled => {
                let paused = conn.shared.lock_inbound().is_paused();
                self.after_receive(key, paused);
            }
            // A receive that finds no buffer while it is being cancelled has ended and must not be armed again.
            ReceiveEnd::Starved if conn.shared.lock_inbound().is_paused() => self.after_receive(key, true),
            ReceiveEnd::Starved => {
                conn.receive = Receive::Starved;
                self.starved.push_back(key);
                self.worker_shared.counters.starved_total.add(1);
            }
            ReceiveEnd::Eof => {
                conn.receive = Receive::Ended;
                #[cfg(feature = "tls")]
                let encrypted = conn.flags.has(ENCRYPTED);
                #[cfg(feature = "tls")]
                let end = match encrypted {
                    true if self.note_end_in_handshake(key) => return,
                    true => self.encrypted_end(key),
                    false => End::Eof,
                };
                #[cfg(not(feature = "tls"))]
                let end = End::Eof;
                let Some(conn) = self.conn(key) else { return };
                let watches = {
                    let mut inbound = conn.shared.lock_inbound();
                    inbound.finish(end);
                    inbound.is_watched()
                };
                note_peer_end(&conn.shared);
                if watches {
                    self.watch_end(key);
                }
                self.advance_close(key);
            }
            ReceiveEnd::Failed(errno) => {
                conn.receive = Receive::Ended;
                self.fail(key, CloseCause::from_errno(errno));
            }
        }
    }

    /// Arms receives that found no buffer, in order, one per free buffer.
    pub(super) fn rearm_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        let mut free = self.driver.buffers_free_or_notify();
        while free > 0 {
            let Some(key) = self.starved.pop_front() else { return };
            if self.conn(key).is_some_and(|conn| conn.receive == Receive::Starved && conn.phase != Phase::Closing) {
                self.arm_receive(key);
                free -= 1;
            }
        }
    }
}
