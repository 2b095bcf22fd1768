//! Closing a connection: in order (flush, FIN, drain the peer's input, close) or at once.
//!
//! Closing a socket with unread input sends RST, which can overtake and destroy the last bytes sent. So a connection
//! that ends in order first reads the peer's input to its end and drops it.
//!
//! The peer's FIN answers ours, and a worker that is woken for each of them pays a wake and a tick for nothing but a
//! close. So where receives decide what wakes the worker, a connection is quiet after its FIN: its receive is
//! cancelled, and armed again a moment later, for all connections that are quiet at that time together.

use std::task::Waker;
use std::time::Duration;

use super::progress::first_check;
use super::{Phase, QUIET, Receive, Worker};
use crate::clock::{Clock, NEVER, TICK};
use crate::driver::Driver;
use crate::error::CloseCause;
use crate::shared::command::CloseMode;
use crate::shared::inbound::End;
use crate::shared::key::ConnKey;
use crate::shared::outbound::Fin;

/// Minimum time between our FIN and the look for that of the peer; as every deadline it ends up to a tick late. Nearly
/// all peers have answered by then, and few connections are quiet at a time.
const QUIET_TIME: Duration = TICK;

/// Minimum linger timeout with which connections are quiet.
const QUIET_LINGER_MIN: Duration = Duration::from_secs(1);

impl<D: Driver> Worker<D> {
    pub(super) fn close(&mut self, key: ConnKey, mode: CloseMode) {
        match mode {
            CloseMode::Abort(cause) => self.fail(key, cause),
            CloseMode::Orderly => self.begin_close(key),
        }
    }

    /// Begins an orderly close: the handler is gone, so nothing more will be queued or read.
    fn begin_close(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        if conn.phase != Phase::Open {
            return;
        }
        conn.phase = Phase::Flushing;
        self.forget_progress(key);
        let Some(conn) = self.conn(key) else { return };
        let waiting = conn.shared.end_outbound(|outbound| {
            let _ = outbound.finish(true);
            outbound.take_wakers()
        });
        let paused = conn.receive == Receive::Paused;
        waiting.into_iter().for_each(Waker::wake);
        self.uncount_pause(key);
        if paused {
            self.arm_receive(key);
        }
        self.set_close_deadline(key, Clock::since_epoch(first_check(Clock::ticks_in(self.config.flush_timeout))));
        self.flush(key);
    }

    /// Sends FIN after the last queued bytes, unless the peer's FIN came first and the close follows at once.
    pub(super) fn finish_sending(&mut self, key: ConnKey, fin: Fin) {
        let Some(conn) = self.conn(key) else { return };
        if fin == Fin::Send && (conn.phase == Phase::Open || conn.receive != Receive::Ended) {
            self.driver.shutdown_write(key);
        }
        if let Some(conn) = self.conn(key)
            && conn.phase == Phase::Flushing
        {
            conn.phase = Phase::Lingering;
            let lingers = if self.begin_quiet(key) { QUIET_TIME } else { self.config.linger_timeout };
            self.set_close_deadline(key, lingers);
        }
    }

    /// Makes a lingering connection quiet, if that spares the worker a wake and delays nothing. Returns whether it is.
    fn begin_quiet(&mut self, key: ConnKey) -> bool {
        let pays = self.driver.capabilities().unarmed_is_quiet
            && self.config.linger_timeout >= QUIET_LINGER_MIN
            && self.drain.is_none()
            && !self.is_waiting_for_slots();
        let Some(conn) = self.conn(key).filter(|conn| pays && conn.receive == Receive::Armed) else { return false };
        conn.receive = Receive::Cancelling;
        conn.flags.set(QUIET);
        self.driver.cancel_receive(key);
        true
    }

    /// Receives again, for what is left of the linger timeout.
    pub(super) fn end_quiet(&mut self, key: ConnKey) {
        let left = Clock::ticks_in(self.config.linger_timeout).saturating_sub(Clock::ticks_in(QUIET_TIME));
        let Some(conn) = self.conn(key) else { return };
        conn.flags.clear(QUIET);
        conn.close_at = conn.close_at.saturating_add(left);
        if conn.receive == Receive::Paused {
            self.arm_receive(key);
        }
        self.check_deadlines(key);
    }

    /// Closes a connection that has nothing left to send or drain.
    pub(super) fn advance_close(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        if conn.phase == Phase::Lingering && conn.receive == Receive::Ended {
            self.shut_in_order(key);
        }
    }

    /// Closes a connection whose handler has ended, without a reset. It has failed if bytes could not be sent.
    pub(super) fn shut_in_order(&mut self, key: ConnKey) {
        let Some(conn) = self.conn(key) else { return };
        let failed = conn.shared.lock_outbound().is_closed();
        let counters = &self.worker_shared.counters;
        if failed { &counters.failed_total } else { &counters.closed_total }.add(1);
        self.shut(key, false);
    }

    /// Ends a connection at once: drops queued bytes and wakes all waiters with the cause.
    pub(super) fn fail(&mut self, key: ConnKey, cause: CloseCause) {
        let Some(conn) = self.conn(key) else { return };
        if conn.phase == Phase::Closing {
            return;
        }
        self.uncount_pause(key);
        self.worker_shared.counters.failed_total.add(1);
        self.shut_with(key, true, cause);
    }

    pub(super) fn shut(&mut self, key: ConnKey, reset: bool) {
        self.shut_with(key, reset, CloseCause::Dropped);
    }

    fn shut_with(&mut self, key: ConnKey, reset: bool, cause: CloseCause) {
        let Some(conn) = self.conn(key) else { return };
        conn.phase = Phase::Closing;
        let mut wakers = conn.shared.end_outbound(|outbound| outbound.close(cause));
        {
            let mut inbound = conn.shared.lock_inbound();
            inbound.finish(End::Failed(cause));
            wakers.extend(conn.shared.take_reader(&mut inbound));
        }
        self.disarm(key);
        for waker in wakers {
            waker.wake();
        }
        self.driver.close(key, reset);
    }

    pub(super) fn on_closed(&mut self, key: ConnKey) {
        if self.conn(key).is_none() {
            return;
        }
        #[cfg(feature = "tls")]
        self.remove_session(key);
        self.disarm(key);
        drop(self.conns.take(key.index));
        if !self.backlogs.is_empty() {
            self.backlogs.remove(&key);
        }
        self.forget_progress(key);
        self.open -= 1;
        self.worker_shared.counters.connections.sub(1);
        self.resume_accept();
    }

    pub(super) fn set_close_deadline(&mut self, key: ConnKey, timeout: Duration) {
        let (at, now) = (self.worker_shared.clock.after(timeout), self.worker_shared.clock.settled());
        let Some(conn) = self.conn(key) else { return };
        conn.close_at = at;
        // A timer that fires earlier finds the new time.
        if at < conn.shared.deadlines.armed_at(now) {
            self.check_deadlines(key);
        }
    }

    /// Renews the deadline of a closing connection that made progress in sending.
    pub(super) fn renew_close_deadline(&mut self, key: ConnKey) {
        let at = self.worker_shared.clock.now() + 1 + first_check(Clock::ticks_in(self.config.flush_timeout));
        if let Some(conn) = self.conn(key)
            && conn.phase == Phase::Flushing
            && conn.close_at != NEVER
        {
            // The armed timer finds the later time when it fires.
            conn.close_at = at;
        }
    }
}
