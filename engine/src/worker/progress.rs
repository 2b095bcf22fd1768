//! The progress of slow peers: a slow reader is not a dead one.
//!
//! A send in flight is a batch of up to 512 KiB, which a slow peer takes longer for than its timeout allows. So before
//! a timeout of sending ends a connection, the kernel is asked how much the peer has acknowledged, every quarter of the
//! timeout: the connection is reset when nothing was acknowledged, and no batch handed over, for a whole timeout. Where
//! the kernel does not tell (Unix-domain sockets, systems other than Linux), only batches count.

use std::sync::Arc;

use super::{Conn, Phase, Worker};
use crate::clock::{Clock, NEVER};
use crate::driver::Driver;
use crate::error::CloseCause;
use crate::shared::command::Command;
use crate::shared::key::ConnKey;

/// The last look at a peer's progress.
pub(super) struct Look {
    acknowledged: Option<u64>,
    /// Tick of the look that found progress.
    progress_at: u64,
    /// Tick of the last look.
    asked_at: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The answer is awaited.
    Asked,
    Answered,
    /// The kernel does not tell.
    Unknown,
}

/// Returns the ticks of a timeout after which its first look is taken.
pub(super) fn first_look(timeout: u64) -> u64 {
    timeout.div_ceil(4)
}

impl Conn {
    /// Returns the timeout of the send in flight, in ticks.
    fn send_timeout(&self, flush_timeout: u64) -> Option<u64> {
        match self.phase {
            Phase::Open if self.sending => {
                let stall = self.shared.deadlines.stall.load(std::sync::atomic::Ordering::SeqCst);
                (stall != 0).then_some(u64::from(stall))
            }
            Phase::Flushing => Some(flush_timeout),
            _ => None,
        }
    }
}

impl<D: Driver> Worker<D> {
    /// Asks for the peer's progress if its send is due for a look. The answer continues with the other deadlines.
    pub(super) fn look_at_progress(&mut self, key: ConnKey, now: u64) -> bool {
        let flush_timeout = Clock::ticks_in(self.config.flush_timeout);
        let Some(conn) = self.conn(key).filter(|conn| conn.close_at <= now) else { return false };
        let Some(timeout) = conn.send_timeout(flush_timeout) else { return false };
        // The time by which an answer must come; it comes within a few ticks.
        conn.close_at = now + timeout;
        let shared = Arc::clone(&conn.shared);
        let look = self.looks.entry(key).or_insert(Look {
            acknowledged: None,
            progress_at: now,
            asked_at: now,
            state: State::Answered,
        });
        if look.state != State::Answered {
            if let Some(conn) = self.conn(key) {
                conn.close_at = now;
            }
            return false;
        }
        (look.asked_at, look.state) = (now, State::Asked);
        self.driver.ask_acknowledged(key, Box::new(move |bytes| shared.post(Command::Acknowledged(key, bytes))));
        self.check_deadlines(key);
        true
    }

    /// Forgets the looks at a send that has completed, or whose timeout has changed.
    pub(super) fn forget_progress(&mut self, key: ConnKey) {
        if !self.looks.is_empty() {
            self.looks.remove(&key);
        }
    }

    pub(super) fn on_acknowledged(&mut self, key: ConnKey, bytes: Option<u64>) {
        let flush_timeout = Clock::ticks_in(self.config.flush_timeout);
        // The send can have completed meanwhile, and its timeout can have been removed.
        let Some(look) = self.looks.get_mut(&key).filter(|look| look.state == State::Asked) else { return };
        let conn = self.conns.get_mut(key.index as usize).and_then(Option::as_mut);
        let Some(conn) = conn.filter(|conn| conn.shared.key == key && conn.close_at != NEVER) else { return };
        let Some(timeout) = conn.send_timeout(flush_timeout) else { return };
        if bytes.is_none() {
            look.state = State::Unknown;
            conn.close_at = look.asked_at + timeout - first_look(timeout);
            return self.check_deadlines(key);
        }
        look.state = State::Answered;
        if look.acknowledged != bytes {
            (look.acknowledged, look.progress_at) = (bytes, look.asked_at);
        }
        let end = look.progress_at + timeout;
        if look.asked_at >= end {
            let cause = if conn.phase == Phase::Open { CloseCause::WriteTimeout } else { CloseCause::Dropped };
            return self.fail(key, cause);
        }
        conn.close_at = end.min(look.asked_at + first_look(timeout));
        self.check_deadlines(key);
    }
}
