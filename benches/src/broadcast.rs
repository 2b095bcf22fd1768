//! The broadcast mode: one connection publishes, and every connection receives every message.
//!
//! One thread, one ring. A burst of messages leaves in one send. The next burst leaves when every connection, including
//! the publisher, has received every byte of the last one. The latency of a burst runs to its last receipt.

use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;

use io_uring::squeue::Flags;
use io_uring::{opcode, types};

use crate::buffers::BufferRing;
use crate::config::Run;
use crate::echo::say_goodbye;
use crate::error::LoadError;
use crate::measure::{ENTER_TIMEOUT_MAX, Measured, Meter};
use crate::payload::Content;
use crate::replies::{Heard, Mismatch, hexadecimal};
use crate::report::Report;
use crate::ring::{Completion, Ring, user_data};
use crate::script::{self, Messages, Protocol, Script};
use crate::setup::{self, Greeting, Opened};

/// Completions to wait for in one enter. Each connection that is behind completes at least once, so waiting for up to
/// that many never blocks needlessly, and it saves both sides a wake per delivery. The bound is small enough not to
/// delay the last receipt.
const AWAITED_MAX: usize = 32;

const GROUP: u16 = 1;
const RECEIVE: u8 = 1;
const SEND: u8 = 2;

/// Settings of a broadcast run.
#[derive(Debug, Clone)]
pub struct Broadcast {
    /// Address, number of subscribers in addition to the publisher, durations.
    pub run: Run,
    /// Request-target of the opening handshakes.
    pub path: String,
    /// Payload bytes per message.
    pub payload_bytes: usize,
    /// What the payloads consist of.
    pub content: Content,
    /// Messages published in one send, at least 1.
    pub burst: u32,
}

/// Runs the load and returns its report.
///
/// # Errors
/// The first failure. The numbers of a failed run are meaningless and are dropped.
pub fn run(broadcast: &Broadcast) -> Result<Report, LoadError> {
    let Broadcast { run, burst, .. } = broadcast;
    let script = Script::new(&Messages {
        protocol: Protocol::WebSocket,
        payload_bytes: broadcast.payload_bytes,
        content: broadcast.content,
        window_messages_max: *burst as usize,
    })
    .ok_or(LoadError::TooLarge)?;
    // Leaked: a send still in flight when a run fails must not read memory given to something else.
    let script: &'static Script = Box::leak(Box::new(script));
    let mut streams = setup::open(run, run.connections + 1, Greeting::WebSocket(&broadcast.path))?;
    wait_for_pongs(&mut streams)?;
    let mut generator = Generator::new(script, *burst, &streams)?;
    let (measured, bursts) = generator.run(run)?;
    say_goodbye(streams.into_iter().map(|(stream, _)| stream));

    let published_per_s = (bursts * u64::from(*burst)) as f64 / measured.wall.as_secs_f64();
    let title = format!("broadcast {} x {} B burst {burst}", run.connections, broadcast.payload_bytes);
    let mut report = Report::new("broadcast", "delivery", title, run.connections, measured);
    report.detail("size", broadcast.payload_bytes);
    report.detail("text", broadcast.content.is_text());
    report.detail("burst", burst);
    report.detail("deliveries", report.measured.units);
    report.detail("published_per_s", format!("{published_per_s:.1}"));
    Ok(report)
}

/// Exchanges a ping and a pong on each connection. A server that answers the ping has finished accepting the
/// connection, including any work after the handshake response.
fn wait_for_pongs(streams: &mut [Opened]) -> Result<(), LoadError> {
    const PONG: u8 = 0x8a;
    let payload = *b"tide";
    let ping = script::ping_frame(&payload);
    let pong = [&[PONG, payload.len() as u8], &payload[..]].concat();
    for (index, (stream, _)) in streams.iter_mut().enumerate() {
        stream.write_all(&ping).map_err(|error| LoadError::Failed { index, operation: "ping", error })?;
    }
    for (index, (stream, rest)) in streams.iter_mut().enumerate() {
        let mut got = vec![0; pong.len().saturating_sub(rest.len())];
        stream.read_exact(&mut got).map_err(|error| LoadError::Failed { index, operation: "pong", error })?;
        rest.append(&mut got);
        if *rest != pong {
            let why = format!("expected the pong {}, got {}", hexadecimal(&pong), hexadecimal(rest));
            return Err(LoadError::Wrong { index, error: Mismatch::Violation { reply: 0, why } });
        }
    }
    Ok(())
}

/// Progress of one connection.
struct Receiver {
    heard: Heard,
    /// Messages of the current burst that have not arrived.
    awaited: u32,
}

struct Generator {
    script: &'static Script,
    burst: u32,
    ring: Ring,
    buffers: BufferRing,
    receivers: Vec<Receiver>,
    /// Receivers that do not have the whole burst yet.
    behind: usize,
    /// Deliveries of the burst that have not arrived.
    missing: u64,
    /// First message of the next burst.
    next: usize,
    published_at: u64,
    /// Bursts that every connection received while measuring.
    bursts: u64,
}

impl Generator {
    fn new(script: &'static Script, burst: u32, streams: &[Opened]) -> Result<Self, LoadError> {
        let ring = Ring::new()?;
        let files: Vec<_> = streams.iter().map(|(stream, _)| stream.as_raw_fd()).collect();
        ring.submitter().register_files(&files)?;
        let (count, buffer_bytes) =
            setup::buffer_plan(streams.len(), (burst as usize).saturating_mul(script.reply_bytes()));
        let buffers = BufferRing::register(&ring, GROUP, count, buffer_bytes)?;
        let receiver = |_| Receiver { heard: Heard::new(script, 0), awaited: 0 };
        let receivers = (0..streams.len()).map(receiver).collect();
        Ok(Self { script, burst, ring, buffers, receivers, behind: 0, missing: 0, next: 0, published_at: 0, bursts: 0 })
    }

    /// Runs until the last burst is received everywhere. Also returns the number of bursts measured.
    fn run(&mut self, run: &Run) -> Result<(Measured, u64), LoadError> {
        let mut completions = Vec::new();
        (0..self.receivers.len()).try_for_each(|index| self.arm(index))?;
        let mut meter = Meter::start(run);
        while !meter.is_draining() || self.behind > 0 {
            let now = meter.now();
            meter.advance(now)?;
            if self.behind == 0 && !meter.is_draining() {
                self.publish(now)?;
            }
            self.ring.enter_for(self.behind.clamp(1, AWAITED_MAX), Some(ENTER_TIMEOUT_MAX))?;
            self.ring.reap(&mut completions);
            let now = meter.now();
            for completion in &completions {
                self.complete(completion, &mut meter, now)?;
            }
            self.buffers.publish();
            if meter.is_stalled(now, self.behind > 0) {
                return Err(LoadError::Stalled { connections: self.behind, messages: self.missing });
            }
        }
        Ok((meter.finish()?, self.bursts))
    }

    /// Sends the next burst on the last connection.
    fn publish(&mut self, now: u64) -> Result<(), LoadError> {
        let bytes = self.script.requests().window(self.next, self.burst as usize);
        self.next = (self.next + self.burst as usize) % self.script.messages();
        self.receivers.iter_mut().for_each(|receiver| receiver.awaited = self.burst);
        self.behind = self.receivers.len();
        self.missing = self.behind as u64 * u64::from(self.burst);
        self.published_at = now;
        let index = self.receivers.len() - 1;
        // The receipts prove that the send completed, so the ring only has to report failures.
        let entry = opcode::Send::new(types::Fixed(index as u32), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(Flags::SKIP_SUCCESS)
            .user_data(user_data(SEND, index));
        // SAFETY: the kernel only reads the bytes, which are never freed or written.
        unsafe { self.ring.push(&entry) }?;
        Ok(())
    }

    fn arm(&mut self, index: usize) -> Result<(), LoadError> {
        let entry =
            opcode::RecvMulti::new(types::Fixed(index as u32), GROUP).build().user_data(user_data(RECEIVE, index));
        // SAFETY: the receive writes only into the provided buffers, which live as long as the ring.
        unsafe { self.ring.push(&entry) }?;
        Ok(())
    }

    #[inline]
    fn complete(&mut self, completion: &Completion, meter: &mut Meter, now: u64) -> Result<(), LoadError> {
        let index = completion.index();
        if completion.operation() == SEND {
            return match completion.error() {
                Some(error) => Err(LoadError::Failed { index, operation: "send", error }),
                None => Ok(()),
            };
        }
        // SAFETY: receives are the only operations that use the group, and each completion is seen once.
        let Some(chunk) = (unsafe { self.buffers.take(completion) }) else {
            return self.received_nothing(completion);
        };
        let receiver = &mut self.receivers[index];
        let got = receiver.heard.receive(self.script, receiver.awaited, self.buffers.bytes(&chunk));
        self.buffers.recycle(chunk);
        let got = got.map_err(|error| LoadError::Wrong { index, error })?;
        if got > 0 {
            receiver.awaited -= got;
            let has_all = receiver.awaited == 0;
            self.missing -= u64::from(got);
            meter.count(now, u64::from(got));
            if has_all {
                self.caught_up(meter, now);
            }
        }
        if completion.more() { Ok(()) } else { self.arm(index) }
    }

    /// Records that one more connection has the whole burst.
    #[inline]
    fn caught_up(&mut self, meter: &mut Meter, now: u64) {
        self.behind -= 1;
        if self.behind == 0 {
            meter.time(now, self.published_at, 1);
            self.bursts += u64::from(meter.is_measuring());
        }
    }

    /// Handles a receive without a buffer: end of stream, an error, or no free buffer.
    #[cold]
    fn received_nothing(&mut self, completion: &Completion) -> Result<(), LoadError> {
        let index = completion.index();
        match completion.error() {
            Some(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                // The buffers compared so far are free again, so the new receive finds some.
                self.buffers.publish();
                self.arm(index)
            }
            Some(error) => Err(LoadError::Failed { index, operation: "receive", error }),
            None => Err(LoadError::Closed { index, outstanding: self.receivers[index].awaited }),
        }
    }
}
