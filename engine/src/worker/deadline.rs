//! Deadlines of connections: at most one timer each, armed for the earliest and lazily moved on.
//!
//! Renewing a deadline for each message only stores a number; the timer that fires for the old one finds the new one
//! and is armed again.

use std::sync::atomic::Ordering;

use super::{Conn, Due, Phase, Receive, Worker};
use crate::clock::NEVER;
use crate::driver::Driver;
use crate::error::CloseCause;
use crate::shared::key::ConnKey;

impl<D: Driver> Worker<D> {
    /// Acts on the deadlines that have passed and arms the timer for the next.
    pub(super) fn check_deadlines(&mut self, key: ConnKey) {
        let now = self.worker_shared.clock.now();
        let Some(conn) = self.conn(key) else { return };
        if conn.phase == Phase::Closing {
            return;
        }
        if conn.phase == Phase::Lingering && conn.close_at <= now {
            // The peer keeps its side open. What we sent may still be on its way: closed, and not reset, so that the
            // kernel goes on delivering it.
            self.worker_shared.counters.closed_total.add(1);
            return self.shut(key, false);
        }
        conn.follow_stall_timeout(now);
        if let Some(cause) = conn.overdue(now) {
            return self.fail(key, cause);
        }
        conn.wake_reader_if_overdue(now);
        let timer = conn.timer.take();
        let mut next = conn.next_deadline(now);
        conn.shared.deadlines.armed.store(next, Ordering::SeqCst);
        // A handler that stored an earlier deadline before it saw the new `armed` has not told us: look once more.
        next = next.min(conn.next_deadline(now));
        conn.shared.deadlines.armed.store(next, Ordering::SeqCst);
        if let Some(timer) = timer {
            self.wheel.remove(timer);
        }
        if next != NEVER {
            let timer = self.wheel.insert(next, Due::Connection(key));
            if let Some(conn) = self.conn(key) {
                conn.timer = Some(timer);
            }
        }
    }
}

impl Conn {
    /// Why this connection is to end now, if it is.
    fn overdue(&mut self, now: u64) -> Option<CloseCause> {
        if self.close_at <= now {
            let stalled = self.phase == Phase::Open;
            return Some(if stalled { CloseCause::WriteDeadline } else { CloseCause::Dropped });
        }
        let deadlines = &self.shared.deadlines;
        if deadlines.lifetime.load(Ordering::SeqCst) <= now {
            return Some(CloseCause::Lifetime);
        }
        let write = deadlines.write.load(Ordering::SeqCst);
        if write <= now {
            if self.shared.outbound.lock().bytes() > 0 {
                return Some(CloseCause::WriteDeadline);
            }
            // Everything had left in time: the deadline is done with, unless a new one has just been set.
            let _ = deadlines.write.compare_exchange(write, NEVER, Ordering::SeqCst, Ordering::SeqCst);
        }
        if self.idle_deadline(now) <= now {
            return Some(CloseCause::IdleTimeout);
        }
        None
    }

    /// A send begins: gives it its time, and says whether the armed timer comes too late for that.
    pub(super) fn begin_stall_timeout(&mut self, now: u64) -> bool {
        let stall = self.shared.deadlines.stall.load(Ordering::SeqCst);
        if stall == 0 || self.phase != Phase::Open {
            return false;
        }
        // Some moment within this tick: it counts from the next.
        self.close_at = now + 1 + u64::from(stall);
        self.close_at < self.shared.deadlines.armed.load(Ordering::SeqCst)
    }

    /// The timeout may have been set, or taken back, while a send was in flight.
    fn follow_stall_timeout(&mut self, now: u64) {
        if self.phase != Phase::Open {
            return;
        }
        if self.shared.deadlines.stall.load(Ordering::SeqCst) == 0 {
            self.close_at = NEVER;
        } else if self.sending && self.close_at == NEVER {
            self.begin_stall_timeout(now);
        }
    }

    fn wake_reader_if_overdue(&self, now: u64) {
        if self.shared.deadlines.read.load(Ordering::SeqCst) > now {
            return;
        }
        let waker = self.shared.take_reader(&mut self.shared.inbound.lock());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn idle_deadline(&self, now: u64) -> u64 {
        match self.shared.deadlines.idle.load(Ordering::SeqCst) {
            0 => NEVER,
            // Not receiving is then our doing, not the peer's.
            idle if matches!(self.receive, Receive::Paused | Receive::Starved | Receive::Cancelling) => {
                now + u64::from(idle)
            }
            // After the peer's end of stream there is nothing to wait for: what is left is the handler's. Bytes came
            // within the tick, so that it counts from the next.
            idle if self.phase == Phase::Open && self.receive != Receive::Ended => {
                self.received_at + 1 + u64::from(idle)
            }
            _ => NEVER,
        }
    }

    /// The earliest deadline still to come.
    fn next_deadline(&self, now: u64) -> u64 {
        let deadlines = &self.shared.deadlines;
        let read = match deadlines.read.load(Ordering::SeqCst) {
            // The reader was woken for it and looks by itself from now on.
            passed if passed <= now => NEVER,
            read => read,
        };
        read.min(deadlines.write.load(Ordering::SeqCst))
            .min(deadlines.lifetime.load(Ordering::SeqCst))
            .min(self.idle_deadline(now))
            .min(self.close_at)
    }
}
