//! Handshakes: their beginning at the accept, their turns, their end.
//!
//! A handshake costs a worker a fraction of a millisecond, so a tick advances a few of them and then serves its other
//! connections. Received bytes wait in the session until then.

use std::sync::Arc;
use std::task::Waker;

use super::{Session, Worker};
use crate::clock::NEVER;
use crate::driver::Driver;
use crate::error::CloseCause;
use crate::shared::key::ConnKey;
use crate::tls::client_handshake::{ClientHandshake, SPEAKS_FIRST};
use crate::tls::pump::Pump;
use crate::worker::peer_end::note_peer_end;
use crate::worker::{ENCRYPTED, Phase, Receive};

/// Maximum handshakes that advance in a tick. A signature takes 20 µs (ECDSA) to 1 ms (RSA).
const TICK_HANDSHAKES_MAX: usize = 8;

/// The reason of a handshake that ended with its connection.
const ENDED: &str = "the connection ended during the handshake";

/// Received bytes above which a receive without a budget stops until the handshake has had its turn.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// # Beginning
impl<D: Driver> Worker<D> {
    /// Returns whether the connections of a listener have TLS.
    pub(in crate::worker) fn is_listener_encrypted(&self, listener: usize) -> bool {
        self.tls.listeners.get(listener).is_some_and(Option::is_some)
    }

    /// Prepares the handshake of an accepted connection.
    pub(in crate::worker) fn begin_handshake(&mut self, key: ConnKey, listener: usize) {
        let Some(Some(current)) = self.tls.listeners.get_mut(listener) else { return };
        let (timeout, handshakes_max) = (current.handshake_timeout(), current.handshakes_max());
        let pump = match Pump::server(current.config()) {
            Ok(pump) => pump,
            Err(failure) => {
                log::error!("TLS cannot be used: {failure}");
                return self.fail(key, CloseCause::Tls);
            }
        };
        let mut session = Session::new(pump);
        session.plaintext_answer = self.worker_shared.engine.plaintext_answer;
        self.insert_session(key, session);
        let at = self.worker_shared.clock.after(timeout);
        if let Some(conn) = self.conn(key) {
            conn.shared.lock_outbound().set_deadlines(|deadlines| deadlines.lifetime = at);
        }
        self.check_deadlines(key);
        if self.tls.handshakes >= handshakes_max {
            self.tls.waiting.push_back(key);
        } else {
            self.start_handshake(key);
        }
    }

    /// Begins the handshake of an outbound connection.
    pub(in crate::worker) fn begin_client_handshake(&mut self, key: ConnKey, handshake: Arc<ClientHandshake>) {
        let refused = match self.conn(key) {
            Some(conn) if conn.flags.has(ENCRYPTED) => Some("the connection speaks TLS already"),
            // Nothing that came in the clear may pass for what comes later.
            Some(conn) if !conn.shared.lock_inbound().is_empty() => Some(SPEAKS_FIRST),
            Some(conn) if conn.phase == Phase::Open => None,
            _ => Some(ENDED),
        };
        if let Some(reason) = refused {
            return handshake.finish(Err(reason.to_owned()));
        }
        let pump = match handshake.pump() {
            Ok(pump) => pump,
            Err(failure) => return handshake.finish(Err(failure.to_string())),
        };
        let mut session = Session::new(pump);
        session.outbound = Some(handshake);
        session.counted = true;
        self.insert_session(key, session);
        self.worker_shared.counters.handshakes.add(1);
        if self.conn(key).is_some_and(|conn| conn.receive == Receive::Ended) {
            self.note_end_in_handshake(key);
        }
        self.advance_handshake(key);
    }

    pub(super) fn insert_session(&mut self, key: ConnKey, session: Box<Session>) {
        drop(self.tls.all.put(key.index, session));
        if let Some(conn) = self.conn(key) {
            conn.flags.set(ENCRYPTED);
        }
    }

    fn start_handshake(&mut self, key: ConnKey) {
        let Some(session) = self.tls.get(key) else { return };
        (session.counted, session.limited) = (true, true);
        self.tls.handshakes += 1;
        self.worker_shared.counters.handshakes.add(1);
        self.arm_receive(key);
    }

    /// Takes a handshake off those in progress. The next connection that waits begins its own.
    pub(super) fn end_handshake(&mut self, key: ConnKey) {
        let Some(session) = self.tls.get(key) else { return };
        let failed = session.pump.is_handshaking() || session.failed;
        if !std::mem::take(&mut session.counted) {
            return;
        }
        if let Some(handshake) = session.outbound.take() {
            handshake.finish(if failed { Err(ENDED.to_owned()) } else { Ok(()) });
        }
        self.tls.handshakes -= usize::from(session.limited);
        let counters = &self.worker_shared.counters;
        counters.handshakes.sub(1);
        if failed { &counters.handshake_failures_total } else { &counters.handshakes_total }.add(1);
        while let Some(next) = self.tls.waiting.pop_front() {
            let waits = self.conn(next).is_some_and(|conn| conn.phase == Phase::Open);
            if waits {
                return self.start_handshake(next);
            }
        }
    }

    /// Forgets the session of a closed connection.
    pub(in crate::worker) fn remove_session(&mut self, key: ConnKey) {
        self.end_handshake(key);
        drop(self.tls.all.take(key.index));
    }
}

/// # Turns
impl<D: Driver> Worker<D> {
    pub(super) fn on_received_in_handshake(&mut self, key: ConnKey, more: bool) {
        let Some(session) = self.tls.get(key) else { return };
        let over = session.pump.partial_bytes() > WAITING_BYTES_MAX;
        self.make_ready(key);
        if !more {
            // Armed again when the handshake has had its turn.
            if let Some(conn) = self.conn(key) {
                conn.receive = Receive::Paused;
            }
        } else if over {
            self.cancel_receive_if_armed(key);
        }
    }

    fn make_ready(&mut self, key: ConnKey) {
        if let Some(session) = self.tls.get(key)
            && !std::mem::replace(&mut session.ready, true)
        {
            self.tls.ready.push_back(key);
        }
    }

    /// Notes the peer's FIN during the handshake. Returns whether there is one.
    pub(in crate::worker) fn note_end_in_handshake(&mut self, key: ConnKey) -> bool {
        let Some(session) = self.tls.get(key) else { return false };
        if !session.pump.is_handshaking() || session.failed {
            return false;
        }
        session.eof = true;
        self.make_ready(key);
        true
    }

    /// Advances some handshakes.
    pub(in crate::worker) fn step_handshakes(&mut self) {
        for _ in 0..TICK_HANDSHAKES_MAX {
            let Some(key) = self.tls.ready.pop_front() else { return };
            if self.conn(key).is_some_and(|conn| conn.phase != Phase::Closing) {
                self.advance_handshake(key);
            }
        }
    }

    pub(super) fn advance_handshake(&mut self, key: ConnKey) {
        let Some(session) = self.tls.get(key) else { return };
        session.ready = false;
        if session.failed || !session.pump.is_handshaking() {
            return;
        }
        let mut plain = Vec::new();
        let processed = session.pump.process(&mut plain, &mut session.control);
        let eof = session.eof;
        let complete = !session.pump.is_handshaking();
        if complete {
            self.complete_handshake(key, plain);
        }
        match processed {
            // What came before the failure is the handler's.
            Err(failure) => self.fail_session(key, &failure, false),
            Ok(()) if complete => {}
            Ok(()) if eof => self.fail(key, CloseCause::Truncated),
            Ok(()) => {
                self.send_control(key);
                self.arm_if_paused(key);
            }
        }
    }

    fn arm_if_paused(&mut self, key: ConnKey) {
        if self.conn(key).is_some_and(|conn| conn.receive == Receive::Paused) {
            self.arm_receive(key);
        }
    }

    /// Starts the handler: what it needs to know is known now.
    fn complete_handshake(&mut self, key: ConnKey, plain: Vec<u8>) {
        let Some(session) = self.tls.get(key) else { return };
        let (info, eof, is_inbound) = (session.pump.take_info(), session.eof, session.outbound.is_none());
        let Some(conn) = self.conn(key) else { return };
        let shared = Arc::clone(&conn.shared);
        shared.set_lifetime_deadline(NEVER);
        shared.set_tls(info);
        let plain_bytes = plain.len();
        let (waker, paused) = self.push_plain(key, plain.into(), plain_bytes);
        if is_inbound {
            self.start_handler(shared);
        }
        if paused {
            self.cancel_receive_if_armed(key);
            self.watch_end(key);
        } else {
            self.arm_if_paused(key);
        }
        self.after_decrypting(key);
        if eof {
            self.end_of_encrypted(key);
        }
        // Last, because a client that waits for this can use the connection at once.
        self.end_handshake(key);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Reports the end of the stream that came during the handshake.
    fn end_of_encrypted(&mut self, key: ConnKey) {
        let end = self.encrypted_end(key);
        let Some(conn) = self.conn(key) else { return };
        conn.shared.lock_inbound().finish(end);
        note_peer_end(&conn.shared);
        self.advance_close(key);
    }
}
