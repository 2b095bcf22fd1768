//! The engine: timers, the mailbox, the two bounded buffers of a connection, a fan-out, and an echo over both buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tidegate_engine::bench_support::{InboundBuffer, Mailbox, OutboundQueue, TimerWheel, WheelTimer, batch};
use tidegate_engine::{Chunk, Config};
use tidegate_websocket::protocol::{Event, Frame, MaskingKey, Protocol, ProtocolConfig, Role};

use super::Subject;

/// Moves the deadline of one timer in a wheel with many others.
pub struct RenewTimer {
    wheel: TimerWheel,
    timer: Option<WheelTimer>,
    now: u64,
}

impl RenewTimer {
    /// Returns the subject with `others` other timers; 10,000 are spread over about three hours.
    pub fn among(others: u32) -> Self {
        let mut wheel = TimerWheel::new(0);
        for other in 0..others {
            wheel.insert(1000 + u64::from(other) * 131, other);
        }
        let timer = Some(wheel.insert(500, u32::MAX));
        Self { wheel, timer, now: 0 }
    }
}

impl Subject for RenewTimer {
    fn run(&mut self) -> usize {
        self.now += 1;
        let removed = self.timer.take().and_then(|timer| self.wheel.remove(timer));
        self.timer = Some(self.wheel.insert(500 + self.now % 64, u32::MAX));
        usize::from(removed.is_some())
    }

    fn expected(&self) -> usize {
        1
    }
}

/// Arms timers for different ticks and advances time, tick by tick, until all have fired.
pub struct ExpireTimers {
    wheel: TimerWheel,
    now: u64,
    timers: u32,
    fired: Vec<u32>,
}

impl ExpireTimers {
    pub fn new(timers: u32) -> Self {
        Self { wheel: TimerWheel::new(0), now: 0, timers, fired: Vec::new() }
    }
}

impl Subject for ExpireTimers {
    fn run(&mut self) -> usize {
        self.fired.clear();
        for timer in 0..self.timers {
            self.wheel.insert(self.now + 1 + u64::from(timer) * 7, timer);
        }
        while let Some(tick) = self.wheel.next_tick() {
            self.now = tick;
            self.wheel.expire(tick, &mut self.fired);
        }
        self.fired.len()
    }

    fn expected(&self) -> usize {
        self.timers as usize
    }
}

/// Hands items to a consumer, which takes them together.
pub struct HandOver {
    mailbox: Mailbox<u64>,
    items: u64,
    asleep: bool,
    wakes: Arc<AtomicUsize>,
    taken: Vec<u64>,
}

impl HandOver {
    /// Returns the subject with a running consumer, which needs no wake.
    pub fn to_running(items: u64) -> Self {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wakes);
        let mailbox = Mailbox::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        Self { mailbox, items, asleep: false, wakes, taken: Vec::new() }
    }

    /// Returns the subject with a consumer that has announced its sleep and needs one wake, which is only counted.
    pub fn to_sleeping(items: u64) -> Self {
        Self { asleep: true, ..Self::to_running(items) }
    }
}

impl Subject for HandOver {
    fn run(&mut self) -> usize {
        if self.asleep {
            self.mailbox.announce_sleep();
        }
        batch(|| (0..self.items).for_each(|item| self.mailbox.post(item)));
        self.mailbox.awake();
        self.taken.clear();
        self.mailbox.take(&mut self.taken);
        self.taken.len() + self.wakes.swap(0, Ordering::Relaxed)
    }

    fn expected(&self) -> usize {
        self.items as usize + usize::from(self.asleep)
    }
}

/// Passes received bytes through the inbound buffer.
pub struct PassInbound {
    buffer: InboundBuffer,
    received: Vec<u8>,
    times: usize,
}

impl PassInbound {
    /// Returns the subject with `times` receives, each of `receive_bytes`, before the handler reads.
    pub fn new(receive_bytes: usize, times: usize) -> Self {
        let buffer = InboundBuffer::new(Config::default()).expect("the default configuration is valid");
        Self { buffer, received: vec![0x5A; receive_bytes], times }
    }
}

impl Subject for PassInbound {
    fn run(&mut self) -> usize {
        for _ in 0..self.times {
            self.buffer.receive(&self.received);
        }
        let mut bytes = 0;
        while let (Some(chunk), _) = self.buffer.take() {
            bytes += chunk.len();
        }
        bytes
    }

    fn expected(&self) -> usize {
        self.received.len() * self.times
    }
}

/// Fills the inbound buffer to its high mark with chunks that are moved, not copied, and empties it.
pub struct PauseInbound {
    buffer: InboundBuffer,
    chunk: Vec<u8>,
}

impl PauseInbound {
    /// Returns the subject with chunks of `chunk_bytes`.
    pub fn new(chunk_bytes: usize) -> Self {
        let buffer = InboundBuffer::new(Config::default()).expect("the default configuration is valid");
        Self { buffer, chunk: vec![0x5A; chunk_bytes] }
    }
}

impl Subject for PauseInbound {
    fn run(&mut self) -> usize {
        while !self.buffer.receive_chunk(Chunk::from(self.chunk.clone())) {}
        let mut resumed = 0;
        while let (Some(_), resume) = self.buffer.take() {
            resumed += usize::from(resume);
        }
        resumed
    }

    fn expected(&self) -> usize {
        1
    }
}

/// Queues payloads and sends them.
pub struct PassOutbound {
    queue: OutboundQueue,
    payload: Bytes,
    times: usize,
    shared: bool,
}

impl PassOutbound {
    /// Returns the subject that copies `times` payloads into one send.
    pub fn copied(payload_bytes: usize, times: usize) -> Self {
        let queue = OutboundQueue::new(Config::default()).expect("the default configuration is valid");
        Self { queue, payload: Bytes::from(vec![0x5A; payload_bytes]), times, shared: false }
    }

    /// Returns the subject that sends payloads by reference, each after a copied head.
    pub fn shared(payload_bytes: usize, times: usize) -> Self {
        Self { shared: true, ..Self::copied(payload_bytes, times) }
    }
}

impl Subject for PassOutbound {
    fn run(&mut self) -> usize {
        for _ in 0..self.times {
            let queued = match self.shared {
                true => self.queue.append_shared(b"head", self.payload.clone()),
                false => self.queue.append(self.payload.len(), |tail| tail.extend_from_slice(&self.payload)),
            };
            if queued.is_err() {
                return 0;
            }
        }
        let mut seen = 0;
        let sent = self.queue.send(|segment| seen += segment.len());
        if seen == sent { sent } else { 0 }
    }

    fn expected(&self) -> usize {
        (self.payload.len() + if self.shared { 4 } else { 0 }) * self.times
    }
}

/// Offers one encoded message to many connections with nothing queued, as a worker does for each member of a hub.
pub struct FanOut {
    queues: Vec<OutboundQueue>,
    message: Bytes,
}

impl FanOut {
    pub fn to(members: usize, message_bytes: usize) -> Self {
        let queue = || OutboundQueue::new(Config::default()).expect("the default configuration is valid");
        Self {
            queues: std::iter::repeat_with(queue).take(members).collect(),
            message: Bytes::from(vec![0x5A; message_bytes]),
        }
    }
}

impl Subject for FanOut {
    fn run(&mut self) -> usize {
        self.queues.iter_mut().map(|queue| queue.offer(&self.message).unwrap_or(0)).sum()
    }

    fn expected(&self) -> usize {
        self.queues.len() * self.message.len()
    }
}

/// A WebSocket echo without system calls and futures: bytes pass through the inbound buffer, messages are decoded, and
/// their frames pass through the outbound queue.
pub struct Echo {
    inbound: InboundBuffer,
    protocol: Protocol,
    outbound: OutboundQueue,
    received: Vec<u8>,
    sent_bytes: usize,
}

impl Echo {
    /// Returns the subject with `messages` messages in one receive.
    pub fn new(payload_bytes: usize, messages: usize) -> Self {
        let (payload, mut received) = (vec![0x5A; payload_bytes], Vec::new());
        for _ in 0..messages {
            Frame::binary(&payload).encode(Some(MaskingKey::new([1, 2, 3, 4])), &mut received);
        }
        let mut sent = Vec::new();
        Frame::binary(&payload).encode(None, &mut sent);
        Self {
            inbound: InboundBuffer::new(Config::default()).expect("the default configuration is valid"),
            protocol: Protocol::new(ProtocolConfig::new(Role::Server)),
            outbound: OutboundQueue::new(Config::default()).expect("the default configuration is valid"),
            received,
            sent_bytes: sent.len() * messages,
        }
    }

    fn answer(&mut self, mut chunk: &mut [u8]) -> Option<()> {
        while !chunk.is_empty() {
            let progress = self.protocol.receive(chunk).ok()?;
            if let Some(Event::InPlace { range, .. }) = progress.event {
                let payload = &chunk[range];
                self.outbound.append(payload.len() + 14, |tail| Frame::binary(payload).encode(None, tail)).ok()?;
            }
            chunk = &mut chunk[progress.consumed..];
        }
        Some(())
    }
}

impl Subject for Echo {
    fn run(&mut self) -> usize {
        self.inbound.receive(&self.received);
        while let (Some(mut chunk), _) = self.inbound.take() {
            if self.answer(&mut chunk).is_none() {
                return 0;
            }
        }
        self.outbound.send(|_| {})
    }

    fn expected(&self) -> usize {
        self.sent_bytes
    }
}
