//! The progress of slow peers: a slow reader is not a dead one.
//!
//! A send in flight is a batch of up to 512 KiB, and a slow peer can need longer than the timeout to take it. So before
//! a send timeout ends a connection, the worker asks the kernel, every quarter of the timeout, how much the peer has
//! acknowledged: the connection is reset when nothing was acknowledged, and no batch handed over, for a whole timeout.
//! Where the kernel cannot report this (Unix-domain sockets, systems other than Linux), only batches count.

use std::sync::Arc;

use super::{Conn, Phase, SENDING, Worker};
use crate::clock::{Clock, NEVER};
use crate::driver::Driver;
use crate::error::CloseCause;
use crate::shared::command::Command;
use crate::shared::key::ConnKey;

/// The last check of a peer's progress.
pub(super) struct ProgressCheck {
    acknowledged: Option<u64>,
    /// Tick of the check that found progress.
    progress_at: u64,
    /// Tick of the last check.
    asked_at: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The answer is awaited.
    Asked,
    Answered,
    /// The kernel cannot report it.
    Unknown,
}

/// Returns the ticks of a timeout after which its first check is due.
pub(super) fn first_check(timeout: u64) -> u64 {
    timeout.div_ceil(4)
}

impl Conn {
    /// Returns the timeout of the send in flight, in ticks.
    fn send_timeout(&self, flush_timeout: u64) -> Option<u64> {
        match self.phase {
            Phase::Open if self.flags.has(SENDING) => {
                let stall = self.shared.deadlines.stall.load(std::sync::atomic::Ordering::SeqCst);
                (stall != 0).then_some(u64::from(stall))
            }
            Phase::Flushing => Some(flush_timeout),
            _ => None,
        }
    }
}

impl<D: Driver> Worker<D> {
    /// Asks for the peer's progress if its send is due for a check. The answer continues with the other deadlines.
    pub(super) fn check_progress(&mut self, key: ConnKey, now: u64) -> bool {
        let flush_timeout = Clock::ticks_in(self.config.flush_timeout);
        let Some(conn) = self.conn(key).filter(|conn| conn.close_at <= now) else { return false };
        let Some(timeout) = conn.send_timeout(flush_timeout) else { return false };
        // The time by which an answer must come; it comes within a few ticks.
        conn.close_at = now + timeout;
        let shared = Arc::clone(&conn.shared);
        let check = self.progress_checks.entry(key).or_insert(ProgressCheck {
            acknowledged: None,
            progress_at: now,
            asked_at: now,
            state: State::Answered,
        });
        if check.state != State::Answered {
            if let Some(conn) = self.conn(key) {
                conn.close_at = now;
            }
            return false;
        }
        (check.asked_at, check.state) = (now, State::Asked);
        self.driver.ask_acknowledged(key, Box::new(move |bytes| shared.post(Command::Acknowledged(key, bytes))));
        self.check_deadlines(key);
        true
    }

    /// Forgets the checks of a send that has completed, or whose timeout has changed.
    pub(super) fn forget_progress(&mut self, key: ConnKey) {
        if !self.progress_checks.is_empty() {
            self.progress_checks.remove(&key);
        }
    }

    pub(super) fn on_acknowledged(&mut self, key: ConnKey, bytes: Option<u64>) {
        let flush_timeout = Clock::ticks_in(self.config.flush_timeout);
        // The send can have completed meanwhile, and its timeout can have been removed.
        let Some(check) = self.progress_checks.get_mut(&key).filter(|check| check.state == State::Asked) else {
            return;
        };
        let conn = self.conns.get_mut(key.index);
        let Some(conn) = conn.filter(|conn| conn.shared.key == key && conn.close_at != NEVER) else { return };
        let Some(timeout) = conn.send_timeout(flush_timeout) else { return };
        if bytes.is_none() {
            check.state = State::Unknown;
            conn.close_at = check.asked_at + timeout - first_check(timeout);
            return self.check_deadlines(key);
        }
        check.state = State::Answered;
        if check.acknowledged != bytes {
            (check.acknowledged, check.progress_at) = (bytes, check.asked_at);
        }
        let end = check.progress_at + timeout;
        if check.asked_at >= end {
            let cause = if conn.phase == Phase::Open { CloseCause::WriteTimeout } else { CloseCause::Dropped };
            return self.fail(key, cause);
        }
        conn.close_at = end.min(check.asked_at + first_check(timeout));
        self.check_deadlines(key);
    }
}
