//! Sending: one batch in flight for each connection, and the next as soon as it has left.

use super::{Phase, Worker};
use crate::error::CloseCause;
use crate::link::{ConnKey, NEVER};
use crate::sys::Driver;

impl<D: Driver> Worker<D> {
    /// Something was queued: sends it, unless a send is in flight (whose completion looks again).
    pub(super) fn flush(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key.index as usize).and_then(Option::as_mut) else { return };
        if conn.link.key != key || conn.sending || conn.phase == Phase::Closing {
            return;
        }
        let (batch, fin) = {
            let mut outbound = conn.link.outbound.lock();
            let batch = outbound.take_batch();
            let fin = batch.is_none() && outbound.take_fin();
            (batch, fin)
        };
        match batch {
            Some(batch) => {
                conn.sending = true;
                let due = conn.begin_stall_timeout(self.shared.clock.now());
                self.shared.counters.sent_bytes_total.add(batch.remaining() as u64);
                self.driver.send(key, batch);
                if due {
                    self.look_at_deadlines(key);
                }
            }
            None => self.after_flush(key, fin),
        }
    }

    pub(super) fn on_sent(&mut self, key: ConnKey, result: Result<(), i32>) {
        let marks = self.shared.outbound;
        let Some(conn) = self.conn(key) else { return };
        conn.sending = false;
        if conn.phase == Phase::Open {
            conn.close_at = NEVER;
        }
        if let Err(errno) = result {
            return self.fail_sending(key, CloseCause::from_errno(errno));
        }
        let wakers = conn.link.outbound.lock().complete_batch(&marks);
        self.shared.counters.sends_total.add(1);
        for waker in wakers {
            waker.wake();
        }
        self.renew_close_deadline(key);
        self.flush(key);
    }

    /// The queue is empty: sends the FIN if it was asked for, and goes on closing.
    fn after_flush(&mut self, key: ConnKey, fin: bool) {
        if fin {
            self.finish_sending(key);
        }
        self.advance_close(key);
    }

    /// The peer takes no more bytes. What it sent before may still be on its way to the handler, so receiving goes on
    /// to its own end.
    fn fail_sending(&mut self, key: ConnKey, cause: CloseCause) {
        let Some(conn) = self.conn(key) else { return };
        let closing = conn.phase != Phase::Open;
        let wakers = conn.link.outbound.lock().close(cause);
        for waker in wakers {
            waker.wake();
        }
        if closing {
            self.fail(key, cause);
        }
    }
}
