//! TLS of connections: the worker encrypts what it sends and decrypts what it receives.
//!
//! A connection of a listener with TLS is marked with a bit, and its session is in a table beside the connections, so
//! that others pay nothing. Its handler starts once the handshake is complete (`handshake`) and sees an ordinary
//! connection. This file holds the sessions and the way of the bytes.
//!
//! Records are numbered, so they leave in the order in which they were written. A batch is encrypted when its send
//! begins, and the plaintext is freed. What rustls wants to send by itself (handshake messages, tickets, alerts) is
//! *control*: it goes in front of the next batch, or alone if no send is in flight. A batch that the queue hands over
//! while control is in flight is *held* until it has left.
//!
//! Encryption by the kernel (kTLS) would fit here: `send_encrypted` and `on_received_encrypted` are the only places
//! that touch data of an established session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::peer_end::note_peer_end;
use super::{COUNTED_PAUSED, Phase, Receive, SENDING, Worker};
use crate::clock::{Clock, NEVER, RecentTick};
use crate::driver::{Driver, Received};
use crate::error::CloseCause;
use crate::shared::chunk::{COALESCE_BYTES_MAX, Chunk};
use crate::shared::file_part::FilePart;
use crate::shared::inbound::End;
use crate::shared::key::ConnKey;
use crate::shared::outbound::Fin;
use crate::shared::send_batch::SendBatch;
use crate::tls::client_handshake::ClientHandshake;
use crate::tls::pump::{Failure, Output, Pump, encrypted_len_max};
use crate::tls::server::CurrentConfig;
use crate::util::buffer_pool::Buffer;
use crate::util::pieces::Pieces;
use crate::worker::progress::first_check;

mod files;
mod handshake;

/// The TLS of a worker.
#[derive(Default)]
pub(super) struct Sessions {
    /// The sessions by the numbers of their connections.
    all: Pieces<Box<Session>>,
    /// The configuration of each listener; `None` for one without TLS.
    listeners: Vec<Option<CurrentConfig>>,
    /// Handshakes in progress.
    handshakes: usize,
    /// Connections whose handshake has not begun, because there are too many.
    waiting: VecDeque<ConnKey>,
    /// Connections whose handshake can go on.
    ready: VecDeque<ConnKey>,
}

/// The TLS of one connection.
struct Session {
    pump: Pump,
    /// Records other than data that wait for the send in flight.
    control: Vec<u8>,
    /// A batch that waits for control in flight.
    held: Option<SendBatch>,
    /// The rest of a part of a file whose pieces are being sent.
    file: Option<FilePart>,
    /// What is in flight is control alone.
    control_in_flight: bool,
    /// A FIN that waits for close_notify in flight.
    fin: Option<Fin>,
    /// It has failed: nothing is decrypted or encrypted any more.
    failed: bool,
    /// The peer's end was reported.
    peer_closed: bool,
    /// The peer's FIN came during the handshake.
    eof: bool,
    /// Is in the list of those whose handshake can go on.
    ready: bool,
    /// Counted among the handshakes in progress.
    counted: bool,
    /// Counts towards the limit of handshakes.
    limited: bool,
    /// What a client gets that does not speak TLS.
    plaintext_answer: &'static [u8],
    /// What waits for the handshake of an outbound connection.
    outbound: Option<Arc<ClientHandshake>>,
}

impl Session {
    fn new(pump: Pump) -> Box<Self> {
        Box::new(Self {
            pump,
            control: Vec::new(),
            held: None,
            file: None,
            control_in_flight: false,
            fin: None,
            failed: false,
            peer_closed: false,
            eof: false,
            ready: false,
            counted: false,
            limited: false,
            plaintext_answer: &[],
            outbound: None,
        })
    }

    /// Encrypts the bytes of slices, behind the control that waits. With `last` close_notify follows in the same send.
    fn encrypt<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]> + Clone, last: bool) -> Result<Buffer, Failure> {
        let len = slices.clone().map(<[u8]>::len).sum();
        let before = self.control.len();
        let mut buffer = match before {
            0 => Buffer::with_room(encrypted_len_max(len)),
            _ => std::mem::take(&mut self.control).into(),
        };
        self.pump.encrypt_slices(slices, &mut Output::behind(before, buffer.vec_mut()))?;
        if last {
            self.pump.close(buffer.vec_mut())?;
        }
        Ok(buffer)
    }
}

/// Returns the send of encrypted bytes, which the FIN follows at once if `fin_follows`.
fn batch_of(bytes: Buffer, more_follows: bool, fin_follows: bool) -> SendBatch {
    SendBatch { more_follows, fin_follows, ..SendBatch::single(bytes.into()) }
}

impl Sessions {
    pub(super) fn new(listeners: &[Option<crate::tls::Tls>]) -> Self {
        let listeners = listeners.iter().map(|tls| tls.clone().map(CurrentConfig::new)).collect();
        Self { listeners, ..Self::default() }
    }

    fn get(&mut self, key: ConnKey) -> Option<&mut Session> {
        Some(&mut **self.all.get_mut(key.index)?)
    }

    /// Returns whether no handshake can go on.
    pub(super) fn is_resting(&self) -> bool {
        self.ready.is_empty()
    }
}

/// # Receiving
impl<D: Driver> Worker<D> {
    /// Decrypts received bytes into the inbound buffer.
    pub(super) fn on_received_encrypted(&mut self, key: ConnKey, mut data: Received, more: bool) {
        let now = self.worker_shared.clock.now();
        let Some(session) = self.tls.get(key) else { return self.driver.recycle(data) };
        let Some(conn) = self.conns.get_mut(key.index) else {
            return self.driver.recycle(data);
        };
        let bytes = self.driver.view(&mut data);
        let len = bytes.len();
        self.worker_shared.counters.received_bytes_total.add(len as u64);
        self.worker_shared.counters.chunks_total.add(1);
        conn.received_at = RecentTick::new(now);
        if session.pump.is_handshaking() && !session.failed {
            session.pump.feed(bytes);
            self.driver.recycle(data);
            return self.on_received_in_handshake(key, more);
        }
        if session.failed || session.peer_closed || conn.phase != Phase::Open {
            // Nobody reads it.
            self.driver.recycle(data);
            if !more {
                self.arm_receive(key);
            }
            return;
        }
        let mut plain = Buffer::with_room(session.pump.plain_len_max(bytes));
        plain.vec_mut().clear();
        let received = session.pump.receive(bytes, plain.vec_mut(), &mut session.control);
        self.driver.recycle(data);
        let (waker, paused) = self.push_plain(key, plain, len);
        match received {
            Ok(()) => {
                if !more {
                    self.after_receive(key, paused);
                } else if paused {
                    self.cancel_receive_if_armed(key);
                }
                self.after_decrypting(key);
            }
            Err(failure) => self.fail_session(key, &failure, !more),
        }
        waker.into_iter().for_each(Waker::wake);
    }

    /// Queues the plaintext that these bytes of records have completed for the handler, and pauses receiving at the
    /// high mark. Returns the waker of a waiting reader, and whether receiving is paused.
    fn push_plain(&mut self, key: ConnKey, plain: Buffer, record_bytes: usize) -> (Option<Waker>, bool) {
        let marks = self.worker_shared.inbound;
        let Some(conn) = self.conns.get_mut(key.index) else { return (None, false) };
        let mut inbound = conn.shared.lock_inbound();
        // A slow peer shows that it lives long before its record is complete.
        inbound.count_records(record_bytes, plain.len());
        let reader = if plain.is_empty() { None } else { conn.shared.take_reader(&mut inbound) };
        if !plain.is_empty() && (plain.len() >= COALESCE_BYTES_MAX || !inbound.try_extend_last(&plain)) {
            inbound.push(Chunk::from(plain));
        }
        let newly = inbound.is_over_high(&marks) && !inbound.is_paused();
        if newly {
            inbound.pause();
        }
        let paused = inbound.is_paused();
        drop(inbound);
        if newly {
            self.worker_shared.counters.pauses_total.add(1);
            if !conn.flags.replace(COUNTED_PAUSED) {
                self.worker_shared.counters.paused.add(1);
            }
        }
        (reader, paused)
    }

    fn cancel_receive_if_armed(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key)
            && conn.receive == Receive::Armed
        {
            conn.receive = Receive::Cancelling;
            self.driver.cancel_receive(key);
        }
    }

    /// Reports the peer's end, and sends what rustls wants to send by itself.
    fn after_decrypting(&mut self, key: ConnKey) {
        let Some(session) = self.tls.get(key) else { return };
        if session.pump.has_peer_closed() && !std::mem::replace(&mut session.peer_closed, true) {
            let Some(conn) = self.conn(key) else { return };
            conn.shared.lock_inbound().finish(End::Eof);
            note_peer_end(&conn.shared);
        }
        self.send_control(key);
    }

    /// The peer's FIN. Without close_notify before it the stream is cut short, by whomever.
    pub(super) fn encrypted_end(&mut self, key: ConnKey) -> End {
        let Some(session) = self.tls.get(key) else { return End::Eof };
        match session.peer_closed || session.failed {
            true => End::Eof,
            false => End::Failed(CloseCause::Truncated),
        }
    }
}

/// # Sending
impl<D: Driver> Worker<D> {
    /// Encrypts a batch and starts its send, or holds it while control is in flight.
    pub(super) fn send_encrypted(&mut self, key: ConnKey, mut batch: SendBatch) {
        let Some(conn) = self.conns.get_mut(key.index) else { return };
        let sending = conn.flags.has(SENDING);
        let Some(session) = self.tls.get(key) else { return };
        if session.failed {
            return;
        }
        if sending {
            session.held = Some(batch);
            return;
        }
        if let Some(part) = batch.file() {
            let part = part.clone();
            return self.send_file(key, part);
        }
        let more_follows = batch.more_follows;
        match session.encrypt(batch.slices(), batch.fin_follows) {
            Ok(encrypted) => {
                drop(batch);
                self.start_encrypted_send(key, batch_of(encrypted, more_follows, false));
            }
            Err(failure) => self.fail_session(key, &failure, false),
        }
    }

    /// Sends control, unless a send is in flight, which is then followed by it.
    pub(super) fn send_control(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key.index) else { return };
        if conn.flags.has(SENDING) || conn.phase == Phase::Closing {
            return;
        }
        let Some(session) = self.tls.get(key) else { return };
        if session.control.is_empty() {
            return;
        }
        let control = std::mem::take(&mut session.control);
        session.control_in_flight = true;
        let fin_follows = session.fin.is_some();
        self.start_encrypted_send(key, batch_of(control.into(), fin_follows, fin_follows));
    }

    fn start_encrypted_send(&mut self, key: ConnKey, batch: SendBatch) {
        let now = self.worker_shared.clock.now();
        let Some(conn) = self.conn(key) else { return };
        let due = conn.begin_send(now);
        self.start_send(key, batch, due);
    }

    /// Goes on after a send that has left.
    pub(super) fn on_encrypted_sent(&mut self, key: ConnKey, closing: bool) {
        if self.on_control_sent(key) || self.continue_file(key) {
            return;
        }
        let Some(conn) = self.conn(key) else { return };
        let shared = Arc::clone(&conn.shared);
        self.complete_send(&shared, closing);
        self.send_control(key);
    }

    /// Goes on after a send of control, which the queue knows nothing of. Returns whether it was one.
    fn on_control_sent(&mut self, key: ConnKey) -> bool {
        let Some(session) = self.tls.get(key) else { return false };
        if !std::mem::take(&mut session.control_in_flight) && !session.failed {
            return false;
        }
        if session.failed {
            if session.control.is_empty() {
                self.finish_sending(key, Fin::Send);
                self.advance_close(key);
            } else {
                self.send_control(key);
            }
            return true;
        }
        if let Some(batch) = session.held.take() {
            self.send_encrypted(key, batch);
        } else if let Some(fin) = session.fin.take() {
            self.finish_sending(key, fin);
            self.advance_close(key);
        } else {
            self.flush(key);
            self.send_control(key);
        }
        true
    }

    /// Sends close_notify before a FIN. Returns whether it has left, so that the FIN can follow now.
    pub(super) fn close_session(&mut self, key: ConnKey, fin: Fin) -> bool {
        let Some(session) = self.tls.get(key) else { return true };
        if session.failed || (session.pump.is_close_sent() && session.control.is_empty()) {
            return true;
        }
        if session.pump.close(&mut session.control).is_err() {
            return true;
        }
        session.fin = Some(fin);
        self.send_control(key);
        false
    }

    /// Ends a session that cannot go on: reports the failure, sends the alert or the answer that waits, and closes in
    /// order, so that the peer receives it. With `ended` the receive must be armed again.
    fn fail_session(&mut self, key: ConnKey, failure: &Failure, ended: bool) {
        let Some(conn) = self.conn(key).filter(|conn| conn.phase != Phase::Closing) else { return };
        let shared = Arc::clone(&conn.shared);
        log::debug!("TLS with {} failed: {failure}", shared.peer());
        if conn.phase == Phase::Open {
            conn.phase = Phase::Flushing;
        }
        self.uncount_pause(key);
        self.forget_progress(key);
        let mut wakers = shared.end_outbound(|outbound| outbound.close(CloseCause::Tls));
        {
            let mut inbound = shared.lock_inbound();
            inbound.finish(End::Failed(CloseCause::Tls));
            wakers.extend(shared.take_reader(&mut inbound));
        }
        shared.set_lifetime_deadline(NEVER);
        let Some(session) = self.tls.get(key) else { return };
        session.failed = true;
        session.held = None;
        session.file = None;
        session.fin = None;
        if matches!(failure, Failure::NotTls) {
            session.control.extend_from_slice(session.plaintext_answer);
        }
        if let Some(handshake) = session.outbound.take() {
            handshake.finish(Err(failure.to_string()));
        }
        let silent = session.control.is_empty();
        self.end_handshake(key);
        self.set_close_deadline(key, Clock::since_epoch(first_check(Clock::ticks_in(self.config.flush_timeout))));
        let Some(conn) = self.conn(key) else { return };
        let sending = conn.flags.has(SENDING);
        if ended || conn.receive == Receive::Paused {
            self.arm_receive(key);
        }
        if silent && !sending {
            self.finish_sending(key, Fin::Send);
            self.advance_close(key);
        } else {
            self.send_control(key);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}
