//! Single parts of the engine without a system below them: what the micro benches of this repository measure.
//!
//! Compiled with the feature `bench_support` alone and no part of the public API: it changes whenever what it wraps does.
//! Each type wraps one private part and offers the steps that a worker or a handler takes with it, no more.

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

/// A worker's timer wheel. Time is in ticks and is the caller's.
pub struct TimerWheel(Wheel<u32>);

/// Names a timer until it fires or is removed.
#[derive(Clone, Copy, Debug)]
pub struct WheelTimer(TimerId);

impl TimerWheel {
    /// An empty wheel at tick `now`.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self(Wheel::new(now))
    }

    /// Arms a timer; `payload` is what it fires with.
    pub fn insert(&mut self, deadline: u64, payload: u32) -> WheelTimer {
        WheelTimer(self.0.insert(deadline, payload))
    }

    /// Disarms a timer; `None` if it has fired.
    pub fn remove(&mut self, timer: WheelTimer) -> Option<u32> {
        self.0.remove(timer.0)
    }

    /// The tick at which the wheel next has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<u64> {
        self.0.next_tick()
    }

    /// Advances to `now` and moves the payloads of what is due into `fired`.
    pub fn expire(&mut self, now: u64, fired: &mut Vec<u32>) {
        self.0.expire(now, fired);
    }
}

/// The queue between threads with the announced sleep of its one consumer.
pub struct Mailbox<T>(mailbox::Mailbox<T>);

impl<T> Mailbox<T> {
    /// An empty mailbox; `wake` ends the consumer's sleep.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(mailbox::Mailbox::new(Signal::new(wake)))
    }

    /// Queues `item` and wakes the consumer if it announced a sleep, within [`batch`] at its end.
    pub fn post(&self, item: T) {
        self.0.post(item);
    }

    /// Moves everything queued into `into`, which must be empty.
    pub fn take(&self, into: &mut Vec<T>) {
        self.0.take(into);
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The consumer is about to block; it must look at the queue once more before it does.
    pub fn announce_sleep(&self) {
        self.0.signal().announce_sleep();
    }

    /// The consumer runs again.
    pub fn awake(&self) {
        self.0.signal().awake();
    }
}

/// Does `work` with its wakes put off to the end, each consumer woken once, as a worker does with its harvest.
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
    /// An empty buffer with the marks of `config`.
    ///
    /// # Errors
    /// A bound is out of its range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { inbound: Inbound::new(), marks: config.check()?.inbound })
    }

    /// What the worker does with bytes that are copied out of their receive buffer; whether it has to pause.
    pub fn receive(&mut self, bytes: &[u8]) -> bool {
        if !self.inbound.try_extend_last(bytes) {
            self.inbound.push(Chunk::copied(bytes));
        }
        self.look_at_high_mark()
    }

    /// The same with a chunk that moves by ownership.
    pub fn receive_chunk(&mut self, chunk: Chunk) -> bool {
        self.inbound.push(chunk);
        self.look_at_high_mark()
    }

    /// What the handler takes, and whether the worker is to be told to resume.
    pub fn take(&mut self) -> (Option<Chunk>, bool) {
        let chunk = self.inbound.pop();
        (chunk, self.inbound.take_resume(&self.marks))
    }

    fn look_at_high_mark(&mut self) -> bool {
        let pause = self.inbound.is_over_high(&self.marks) && !self.inbound.is_paused();
        if pause {
            self.inbound.pause();
        }
        pause
    }
}

/// The bounded queue between a connection's senders and the one send in flight, without its lock.
pub struct OutboundQueue {
    outbound: Outbound,
    marks: OutboundMarks,
}

impl OutboundQueue {
    /// An empty queue with the marks of `config`.
    ///
    /// # Errors
    /// A bound is out of its range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { outbound: Outbound::new(), marks: config.check()?.outbound })
    }

    /// Queues what `encode` appends, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// There is no space.
    pub fn append(&mut self, bytes_max: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        self.outbound.check_space(bytes_max, &self.marks)?;
        let _schedule = self.outbound.append(encode);
        Ok(())
    }

    /// Queues a copied head and a payload by reference.
    ///
    /// # Errors
    /// There is no space.
    pub fn append_shared(&mut self, head: &[u8], payload: Bytes) -> Result<(), SendError> {
        self.outbound.check_space(head.len() + payload.len(), &self.marks)?;
        let _schedule = self.outbound.append_shared(head, payload);
        Ok(())
    }

    /// One member's part of a fan-out, and the completion of its send if one began: the bytes sent.
    ///
    /// # Errors
    /// There is no space.
    pub fn offer(&mut self, shared: &Bytes) -> Result<usize, SendError> {
        match self.outbound.offer(shared, usize::MAX, &self.marks)? {
            Offered::Batch(batch) => {
                let bytes = batch.remaining();
                drop(batch);
                self.complete();
                Ok(bytes + self.send(|_| {}))
            }
            Offered::Queued(_) => Ok(0),
        }
    }

    /// Sends everything queued, a batch at a time; `send` stands for the driver. The bytes sent.
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
