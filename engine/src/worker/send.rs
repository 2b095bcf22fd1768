//! Sending: one batch in flight per connection, and the next as soon as it has left.

use std::io;
use std::task::Waker;

#[cfg(feature = "tls")]
use super::ENCRYPTED;
use super::{Conn, Phase, SENDING, Worker};
use crate::clock::NEVER;
use crate::config::OutboundMarks;
use crate::driver::Driver;
use crate::error::CloseCause;
#[cfg(feature = "tls")]
use crate::shared::ConnShared;
use crate::shared::key::ConnKey;
use crate::shared::outbound::{Fin, Outbound};
use crate::shared::send_batch::SendBatch;

/// The next step for a queue whose last batch has left.
pub(super) enum Next {
    Send(SendBatch),
    /// Nothing is queued; more can follow.
    Nothing,
    /// Nothing is queued and nothing can follow, except a requested FIN.
    Finished(Fin),
}

impl Next {
    /// Notes that the batch in flight has left. Returns the wakers to wake, and the next step.
    #[inline(always)]
    fn after_batch(outbound: &mut Outbound, marks: &OutboundMarks) -> (Vec<Waker>, Self) {
        (outbound.complete_batch(marks), Self::of(outbound))
    }

    fn of(outbound: &mut Outbound) -> Self {
        match outbound.take_batch() {
            Some(batch) => Self::Send(batch),
            None if outbound.check_open().is_ok() => Self::Nothing,
            None => Self::Finished(outbound.take_fin()),
        }
    }
}

impl Conn {
    /// Notes that a send is in flight. Returns whether the armed timer would fire too late for it.
    #[inline(always)]
    pub(super) fn begin_send(&mut self, now: u64) -> bool {
        self.flags.set(SENDING);
        self.begin_stall_timeout(now)
    }
}

impl<D: Driver> Worker<D> {
    /// Sends queued bytes. If a send is in flight, its completion sends them.
    pub(super) fn flush(&mut self, key: ConnKey) {
        let now = self.worker_shared.clock.now();
        let Some(conn) = self.conns.get_mut(key.index) else { return };
        if conn.shared.key != key || conn.flags.has(SENDING) || conn.phase == Phase::Closing {
            return;
        }
        let mut outbound = conn.shared.lock_outbound();
        match outbound.take_batch() {
            Some(batch) => {
                drop(outbound);
                // As `send`, without another look at the table.
                #[cfg(feature = "tls")]
                if conn.flags.has(ENCRYPTED) {
                    return self.send_encrypted(key, batch);
                }
                let due = conn.begin_send(now);
                self.start_send(key, batch, due);
            }
            None => {
                let next = Next::of(&mut outbound);
                drop(outbound);
                self.proceed(key, next);
            }
        }
    }

    /// Starts a send, if the connection is still open. No other must be in flight.
    pub(super) fn send(&mut self, key: ConnKey, batch: SendBatch) {
        let now = self.worker_shared.clock.now();
        let Some(conn) = self.conn(key) else { return };
        #[cfg(feature = "tls")]
        if conn.flags.has(ENCRYPTED) {
            return self.send_encrypted(key, batch);
        }
        let due = conn.begin_send(now);
        self.start_send(key, batch, due);
    }

    /// Hands a send to the driver. With `due` the armed timer would fire too late for it.
    #[inline(always)]
    pub(super) fn start_send(&mut self, key: ConnKey, batch: SendBatch, due: bool) {
        self.worker_shared.counters.sent_bytes_total.add(batch.remaining() as u64);
        self.driver.send(key, batch);
        if due {
            self.check_deadlines(key);
        }
    }

    pub(super) fn on_sent(&mut self, key: ConnKey, result: Result<(), i32>) {
        let marks = self.worker_shared.outbound;
        let Some(conn) = self.conns.get_mut(key.index) else { return };
        debug_assert_eq!(conn.shared.key, key);
        conn.flags.clear(SENDING);
        let closing = conn.phase != Phase::Open;
        if !closing {
            conn.close_at = NEVER;
        }
        if let Err(errno) = result {
            return self.fail_sending(key, CloseCause::from_errno(errno));
        }
        #[cfg(feature = "tls")]
        if conn.flags.has(ENCRYPTED) {
            return self.on_encrypted_sent(key, closing);
        }
        let (wakers, next) = Next::after_batch(&mut conn.shared.lock_outbound(), &marks);
        self.after_send(key, closing, wakers, next);
    }

    /// Notes that a batch has left, and starts the next one.
    #[cfg(feature = "tls")]
    pub(super) fn complete_send(&mut self, shared: &ConnShared, closing: bool) {
        let marks = self.worker_shared.outbound;
        let (wakers, next) = Next::after_batch(&mut shared.lock_outbound(), &marks);
        self.after_send(shared.key, closing, wakers, next);
    }

    #[inline(always)]
    fn after_send(&mut self, key: ConnKey, closing: bool, wakers: Vec<Waker>, next: Next) {
        self.worker_shared.counters.sends_total.add(1);
        self.forget_progress(key);
        if closing {
            self.renew_close_deadline(key);
        }
        self.proceed(key, next);
        if !self.backlogs.is_empty() {
            self.hand_over_backlog(key);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Resets the connection: what was announced can no longer be sent, and nothing may stand in its place.
    #[cold]
    pub(super) fn on_file_failed(&mut self, key: ConnKey, error: &io::Error) {
        let Some(conn) = self.conn(key) else { return };
        conn.flags.clear(SENDING);
        let peer = conn.shared.peer();
        if error.kind() == io::ErrorKind::UnexpectedEof {
            log::warn!("a file became shorter while it was sent, connection of {peer} closed");
        } else {
            log::warn!("a file could not be sent, connection of {peer} closed: {error}");
        }
        self.fail(key, CloseCause::Io(error.kind()));
    }

    pub(super) fn proceed(&mut self, key: ConnKey, next: Next) {
        match next {
            Next::Nothing => {}
            Next::Finished(fin) => self.after_flush(key, fin),
            Next::Send(batch) => self.send(key, batch),
        }
    }

    /// Sends the FIN if requested, now that the queue is empty, and continues closing.
    fn after_flush(&mut self, key: ConnKey, fin: Fin) {
        if fin != Fin::Nothing {
            #[cfg(feature = "tls")]
            if self.conn(key).is_some_and(|conn| conn.flags.has(ENCRYPTED)) && !self.close_session(key, fin) {
                return;
            }
            self.finish_sending(key, fin);
        }
        self.advance_close(key);
    }

    /// Fails the sending side: the peer takes no more bytes. Receiving continues, because bytes that the peer sent
    /// earlier can still arrive.
    fn fail_sending(&mut self, key: ConnKey, cause: CloseCause) {
        let Some(conn) = self.conn(key) else { return };
        let closing = conn.phase != Phase::Open;
        let wakers = conn.shared.end_outbound(|outbound| outbound.close(cause));
        let reader = conn.shared.take_reader(&mut conn.shared.lock_inbound());
        wakers.into_iter().chain(reader).for_each(Waker::wake);
        if closing {
            self.fail(key, cause);
        }
    }
}
