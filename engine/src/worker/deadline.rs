//! Deadlines of connections, with at most one timer each, armed for the earliest and moved lazily.
//!
//! Renewing a deadline per message only stores a number. The timer that fires for the old deadline finds the new one
//! and is armed again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::progress::first_check;
use super::{Conn, Phase, QUIET, Receive, SENDING, Worker};
use crate::clock::near_tick::RENEWAL_TICKS;
use crate::clock::wheel::{Entries, Links, Lists};
use crate::clock::{NEVER, RecentTick};
use crate::driver::{Driver, LIST_ENTRIES_KEPT};
use crate::error::CloseCause;
use crate::shared::key::ConnKey;
use crate::util::pieces::Pieces;

impl<D: Driver> Worker<D> {
    /// Sets the idle timeout, 0 for none. It counts from now, no matter when bytes last arrived.
    pub(super) fn set_idle(&mut self, key: ConnKey, ticks: u32) {
        let now = self.worker_shared.clock.now();
        let Some(conn) = self.conn(key) else { return };
        conn.shared.deadlines.idle.store(ticks, Ordering::SeqCst);
        conn.received_at = RecentTick::new(now);
        if ticks != 0 {
            self.check_deadlines(key);
        }
    }

    /// Acts on passed deadlines and arms the timer for the next one.
    pub(super) fn check_deadlines(&mut self, key: ConnKey) {
        let now = self.worker_shared.clock.settled();
        let Some(conn) = self.conn(key) else { return };
        if conn.phase == Phase::Closing {
            return;
        }
        if conn.phase == Phase::Lingering && conn.close_at <= now {
            if conn.flags.has(QUIET) {
                return self.end_quiet(key);
            }
            // The peer keeps its side open. The last bytes sent can still be in transit, so the socket is closed, not
            // reset, and the kernel continues to deliver them.
            return self.shut_in_order(key);
        }
        if conn.close_at == NEVER {
            self.forget_progress(key);
        }
        let Some(conn) = self.conn(key) else { return };
        conn.follow_stall_timeout(now);
        if self.check_progress(key, now) {
            return;
        }
        let Some(conn) = self.conn(key) else { return };
        match conn.overdue(now) {
            Some(CloseCause::IdleTimeout) if conn.shared.lock_outbound().farewell_timeout().is_some() => {
                // The protocol sends its farewell first. The connection then has the farewell timeout to end, whatever
                // its handler is waiting for.
                conn.received_at = RecentTick::new(now);
                let shared = Arc::clone(&conn.shared);
                return self.queue_farewell(&shared);
            }
            Some(cause) => return self.fail(key, cause),
            None => {}
        }
        conn.wake_reader_if_overdue(now);
        let next = conn.next_deadline(now);
        conn.shared.deadlines.arm(next, now);
        // A handler that stored an earlier deadline before it saw what is armed now has not notified the worker, so
        // check once more.
        let next = next.min(conn.next_deadline(now));
        let armed = conn.shared.deadlines.arm(next, now);
        self.disarm(key);
        if armed != NEVER {
            let (timers, mut entries) = self.timers(now);
            timers.insert(&mut entries, key.index, armed);
        }
    }

    /// Brings the ticks that connections store in 32 bits into range: see [`near_tick`](crate::clock::near_tick).
    #[cold]
    #[inline(never)]
    pub(super) fn renew_deadlines(&mut self, now: u64) {
        self.renew_at = now + RENEWAL_TICKS;
        let clock = &self.worker_shared.clock;
        let before = clock.settled();
        // First, so that a handler that stores a tick behind this walk finds the new time.
        clock.settle(now);
        for conn in self.conns.iter() {
            conn.shared.deadlines.renew(before, now);
        }
    }

    /// Checks the deadlines of the connections whose timers are due.
    pub(super) fn expire_deadlines(&mut self, now: u64) {
        let (timers, mut entries) = self.timers(now);
        timers.expire(&mut entries, now);
        // Nearly always.
        if self.overdue.is_empty() {
            return;
        }
        if self.overdue.len() > LIST_ENTRIES_KEPT {
            self.trim_later();
        }
        let mut overdue = std::mem::take(&mut self.overdue);
        for key in overdue.drain(..) {
            self.check_deadlines(key);
        }
        self.overdue = overdue;
    }

    /// Disarms the timer of a connection, if it is armed.
    pub(super) fn disarm(&mut self, key: ConnKey) {
        if self.conn(key).is_some() {
            let (timers, mut entries) = self.timers(self.worker_shared.clock.settled());
            timers.remove(&mut entries, key.index);
        }
    }

    fn timers(&mut self, now: u64) -> (&mut Lists, Timers<'_>) {
        (&mut self.timers, Timers { conns: &mut self.conns, overdue: &mut self.overdue, now })
    }
}

/// The timers of connections, by the number of their slot.
struct Timers<'a> {
    conns: &'a mut Pieces<Conn>,
    overdue: &'a mut Vec<ConnKey>,
    now: u64,
}

impl Timers<'_> {
    fn conn(&mut self, index: u32) -> &mut Conn {
        self.conns.get_mut(index).expect("a connection is removed after its timer")
    }
}

impl Entries for Timers<'_> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.conn(index).timer
    }

    fn deadline(&self, index: u32) -> u64 {
        let conn = self.conns.get(index);
        conn.map_or(NEVER, |conn| conn.shared.deadlines.armed_at(self.now))
    }

    fn fire(&mut self, index: u32) {
        let key = self.conn(index).shared.key;
        self.overdue.push(key);
    }
}

impl Conn {
    /// Returns the cause if this connection must end now.
    fn overdue(&mut self, now: u64) -> Option<CloseCause> {
        if self.close_at <= now {
            let stalled = self.phase == Phase::Open;
            return Some(if stalled { CloseCause::WriteTimeout } else { CloseCause::Dropped });
        }
        let mut outbound = self.shared.lock_outbound();
        let deadlines = outbound.deadlines();
        if deadlines.lifetime <= now {
            return Some(CloseCause::LifetimeDeadline);
        }
        if deadlines.write <= now {
            if outbound.bytes() > 0 {
                return Some(CloseCause::WriteDeadline);
            }
            // Everything left in time.
            outbound.set_deadlines(|deadlines| deadlines.write = NEVER);
        }
        drop(outbound);
        if self.idle_deadline(now) <= now {
            return Some(CloseCause::IdleTimeout);
        }
        None
    }

    /// Starts the stall timeout of a send. Returns whether the armed timer would fire too late for it.
    #[inline(always)]
    pub(super) fn begin_stall_timeout(&mut self, now: u64) -> bool {
        let stall = self.shared.deadlines.stall.load(Ordering::SeqCst);
        if stall == 0 || self.phase != Phase::Open {
            return false;
        }
        // The send begins within this tick, so the timeout counts from the next.
        self.close_at = now + 1 + first_check(u64::from(stall));
        self.shared.deadlines.is_armed_after(self.close_at)
    }

    /// Applies a stall timeout that was set or removed while a send was in flight.
    fn follow_stall_timeout(&mut self, now: u64) {
        if self.phase != Phase::Open {
            return;
        }
        if self.shared.deadlines.stall.load(Ordering::SeqCst) == 0 {
            self.close_at = NEVER;
        } else if self.flags.has(SENDING) && self.close_at == NEVER {
            self.begin_stall_timeout(now);
        }
    }

    fn wake_reader_if_overdue(&self, now: u64) {
        if !self.shared.review_read_deadline(now) {
            return;
        }
        let waker = self.shared.take_reader(&mut self.shared.lock_inbound());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn idle_deadline(&self, now: u64) -> u64 {
        match self.shared.deadlines.idle.load(Ordering::SeqCst) {
            0 => NEVER,
            // Receiving is then paused by the worker, not by the peer.
            idle if matches!(self.receive, Receive::Paused | Receive::Starved | Receive::Cancelling) => {
                now + u64::from(idle)
            }
            // Ends at the peer's end of stream: the rest is up to the handler. The bytes came within a tick, so the
            // timeout counts from the next.
            idle if self.phase == Phase::Open && self.receive != Receive::Ended => {
                self.received_at.at(now) + 1 + u64::from(idle)
            }
            _ => NEVER,
        }
    }

    /// Returns the earliest future deadline.
    fn next_deadline(&self, now: u64) -> u64 {
        let others = self.shared.lock_outbound().deadlines();
        let read = self.shared.next_read_deadline(others.far_read, now);
        read.min(others.write).min(others.lifetime).min(self.idle_deadline(now)).min(self.close_at)
    }
}
