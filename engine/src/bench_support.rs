//! Single parts of the engine without I/O, for the micro benches of this repository.
//!
//! Compiled only with the feature `bench_support` and not part of the public API. Each type wraps one private part and
//! offers the steps that a worker or a handler takes with it.

use std::task::Waker;

use bytes::Bytes;

use crate::clock::wheel::{TimerId, Wheel};
use crate::config::{Config, InboundMarks, OutboundMarks};
use crate::error::{ConfigError, SendError};
use crate::shared::chunk::Chunk;
use crate::shared::inbound::Inbound;
use crate::shared::mailbox;
use crate::shared::outbound::{Offered, Outbound};
use crate::shared::signal::Signal;
use crate::shared::wake_scope::WakeScope;

/// A worker's timer wheel. The caller passes the time in, in ticks.
pub struct TimerWheel(Wheel<u32>);

/// Identifies a timer until it fires or is removed.
#[derive(Clone, Copy, Debug)]
pub struct WheelTimer(TimerId);

impl TimerWheel {
    /// Creates an empty wheel at tick `now`.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self(Wheel::new(now))
    }

    /// Arms a timer that fires with `payload`.
    pub fn insert(&mut self, deadline: u64, payload: u32) -> WheelTimer {
        WheelTimer(self.0.insert(deadline, payload))
    }

    /// Disarms a timer. Returns `None` if it has fired.
    pub fn remove(&mut self, timer: WheelTimer) -> Option<u32> {
        self.0.remove(timer.0)
    }

    /// Returns the tick at which the wheel next has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<u64> {
        self.0.next_tick()
    }

    /// Advances to `now` and moves the due payloads into `fired`.
    pub fn expire(&mut self, now: u64, fired: &mut Vec<u32>) {
        self.0.expire(now, fired);
    }
}

/// A queue between threads with the announced sleep of its consumer.
pub struct Mailbox<T>(mailbox::Mailbox<T>);

impl<T> Mailbox<T> {
    /// Creates an empty mailbox. `wake` ends the consumer's sleep.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(mailbox::Mailbox::new(Signal::new(wake)))
    }

    /// Queues `item` and wakes the consumer if it announced a sleep; inside [`batch`], at its end.
    pub fn post(&self, item: T) {
        self.0.post(item);
    }

    /// Moves everything queued into `into`, which must be empty.
    pub fn take(&self, into: &mut Vec<T>) {
        self.0.take(into);
    }

    /// Returns whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Announces that the consumer is about to block. It must check the queue once more before it does.
    pub fn announce_sleep(&self) {
        self.0.signal().announce_sleep();
    }

    /// Withdraws the announcement: the consumer runs again.
    pub fn awake(&self) {
        self.0.signal().awake();
    }
}

/// Runs `work` with its wakes deferred to the end and each consumer woken once, as in a worker's tick.
pub fn batch<R>(work: impl FnOnce() -> R) -> R {
    let _scope = WakeScope::begin();
    work()
}

/// The bounded buffer between a worker and a connection's handler, without its lock.
pub struct InboundBuffer {
    inbound: Inbound,
    marks: InboundMarks,
}

impl InboundBuffer {
    /// Creates an empty buffer with the marks of `config`.
    ///
    /// # Errors
    /// If a setting is out of bounds.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { inbound: Inbound::new(), marks: config.check()?.inbound })
    }

    /// Receives bytes that are copied out of their receive buffer. Returns whether receiving must pause.
    pub fn receive(&mut self, bytes: &[u8]) -> bool {
        if !self.inbound.try_extend_last(bytes) {
            self.inbound.push(Chunk::copied(bytes));
        }
        self.pause_at_high_mark()
    }

    /// Receives a chunk that moves by ownership. Returns whether receiving must pause.
    pub fn receive_chunk(&mut self, chunk: Chunk) -> bool {
        self.inbound.push(chunk);
        self.pause_at_high_mark()
    }

    /// Takes a chunk. Returns it and whether the worker must be notified to resume.
    pub fn take(&mut self) -> (Option<Chunk>, bool) {
        let chunk = self.inbound.pop();
        (chunk, self.inbound.take_resume(&self.marks))
    }

    fn pause_at_high_mark(&mut self) -> bool {
        let pause = self.inbound.is_over_high(&self.marks) && !self.inbound.is_paused();
        if pause {
            self.inbound.pause();
        }
        pause
    }
}

/// The bounded queue between a connection's senders and the send in flight, without its lock.
pub struct OutboundQueue {
    outbound: Outbound,
    marks: OutboundMarks,
}

impl OutboundQueue {
    /// Creates an empty queue with the marks of `config`.
    ///
    /// # Errors
    /// If a setting is out of bounds.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { outbound: Outbound::new(), marks: config.check()?.outbound })
    }

    /// Queues the bytes that `encode` appends, at most `bytes_max`.
    ///
    /// # Errors
    /// If there is no space.
    pub fn append(&mut self, bytes_max: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        self.outbound.check_space(bytes_max, &self.marks)?;
        let _schedule = self.outbound.append(encode);
        Ok(())
    }

    /// Queues a copied head and a payload by reference.
    ///
    /// # Errors
    /// If there is no space.
    pub fn append_shared(&mut self, head: &[u8], payload: Bytes) -> Result<(), SendError> {
        self.outbound.check_space(head.len() + payload.len(), &self.marks)?;
        let _schedule = self.outbound.append_shared(head, payload);
        Ok(())
    }

    /// Queues or sends a fan-out message, and completes its send if one began. Returns the bytes sent.
    ///
    /// # Errors
    /// If there is no space.
    pub fn offer(&mut self, shared: &Bytes) -> Result<usize, SendError> {
        match self.outbound.offer(shared, usize::MAX, &self.marks)? {
            Offered::Send(batch) => {
                let bytes = batch.remaining();
                drop(batch);
                self.complete();
                Ok(bytes + self.send(|_| {}))
            }
            Offered::Queued(_) => Ok(0),
        }
    }

    /// Sends everything queued, a batch at a time; `send` stands for the driver. Returns the bytes sent.
    pub fn send(&mut self, mut send: impl FnMut(&[u8])) -> usize {
        let mut sent = 0;
        while let Some(mut batch) = self.outbound.take_batch() {
            let bytes = batch.remaining();
            batch.slices().for_each(&mut send);
            batch.advance(bytes);
            drop(batch);
            self.complete();
            sent += bytes;
        }
        sent
    }

    fn complete(&mut self) {
        self.outbound.complete_batch(&self.marks).into_iter().for_each(Waker::wake);
    }
}

/// One TLS session without I/O.
#[cfg(feature = "tls")]
pub struct TlsPump(crate::tls::pump::Pump);

/// # Panics
/// All of it panics where the caller's configuration cannot be used.
#[cfg(feature = "tls")]
impl TlsPump {
    /// Creates a server's session.
    pub fn server(tls: &crate::tls::Tls) -> Self {
        let config = crate::tls::server::CurrentConfig::new(tls.clone()).config();
        Self(crate::tls::pump::Pump::server(config).expect("a configuration that can be used"))
    }

    /// Creates the session of a client of `server`. [`receive`](Self::receive) of no bytes begins its handshake.
    pub fn client(tls: &crate::tls::TlsClient, server: &str) -> Self {
        let name = crate::tls::client::server_name(server).expect("a name");
        Self(crate::tls::pump::Pump::client(tls.config(), name).expect("a configuration that can be used"))
    }

    /// Decrypts received bytes in place.
    ///
    /// # Errors
    /// The text of the failure.
    pub fn receive(&mut self, input: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
        self.0.receive(input, plain, out).map_err(|failure| failure.to_string())
    }

    /// Appends the records of `plain`.
    ///
    /// # Errors
    /// The text of the failure.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.0.encrypt(plain, &mut crate::tls::pump::Output::of(out)).map_err(|failure| failure.to_string())
    }

    /// Appends close_notify.
    ///
    /// # Errors
    /// The text of the failure.
    pub fn close(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.0.close(out).map_err(|failure| failure.to_string())
    }

    /// Changes the keys of both sides.
    ///
    /// # Errors
    /// The text of the failure.
    pub fn refresh_keys(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.0.refresh_keys(out).map_err(|failure| failure.to_string())
    }

    /// Returns whether the handshake is in progress.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Returns whether the peer has ended its side.
    pub fn has_peer_closed(&self) -> bool {
        self.0.has_peer_closed()
    }

    /// Returns the number of received bytes that are kept.
    pub fn partial_bytes(&self) -> usize {
        self.0.partial_bytes()
    }
}
