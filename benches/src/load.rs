//! The load generator: one thread, one ring, many connections.
//!
//! Owns the connections and the clock. Each turn stages the connections that may send, sends for all of them with one
//! enter, reaps every completion into a list, and then compares what came with the script. It never allocates in a turn
//! once its lists have grown, never copies a message, and never waits for ever: without a reply for
//! as long as a run may stall it names how many connections are stuck.
//!
//! Closed loop: a connection has `depth` messages outstanding; the next window leaves when the last one is answered, or,
//! sliding, each answer lets one more message go. Open loop: messages leave on a schedule whatever comes back, and are
//! timed from the schedule, so a stall of the server counts against every message it delayed.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};
use std::{io, mem};

use io_uring::squeue::Flags;
use io_uring::{opcode, types};

use crate::buffers::BufferRing;
use crate::config::Config;
use crate::connection::Connection;
use crate::cpu::{self, Times};
use crate::error::LoadError;
use crate::histogram::Histogram;
use crate::pacing::{Pacing, due};
use crate::report::Report;
use crate::ring::{Completion, Ring, user_data};
use crate::script::{self, Messages, Protocol, Script};
use crate::setup::{self, Opened};

/// The longest sleep in one enter: how late the ends of warm-up and measuring can be noticed.
const ENTER_TIMEOUT_MAX: Duration = Duration::from_millis(50);

/// Scheduled messages staged in one turn, so that a backlog can't keep the turn from reading replies.
const SCHEDULED_PER_TURN_MAX: u32 = 16_384;

const GROUP: u16 = 1;
const RECEIVE: u8 = 1;
const SEND: u8 = 2;

/// Runs the load and reports on it.
///
/// # Errors
/// The first thing that went wrong; the numbers of a failed run are worth nothing and are dropped.
pub fn run(config: &Config) -> Result<Report, LoadError> {
    let script = Script::new(&Messages {
        protocol: config.protocol,
        payload_bytes: config.payload_bytes,
        text: config.text,
        window_messages_max: config.window_messages_max() as usize,
    })
    .ok_or(LoadError::TooLarge)?;
    // Leaked so that a send still in flight when a run fails never reads memory given to something else.
    let script: &'static Script = Box::leak(Box::new(script));
    let streams = setup::open(config)?;
    let mut generator = Generator::new(config, script, streams)?;
    let report = generator.run()?;
    generator.close();
    Ok(report)
}

/// Where the run stands; times are nanoseconds since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Warmup { until: u64 },
    Measuring { since: Mark, until: u64 },
    Draining,
}

/// The clocks at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    at: u64,
    client: Times,
    server: Option<Times>,
}

/// One connection and what it may send.
struct Client {
    connection: Connection,
    stream: TcpStream,
    /// Messages it may send now.
    ready: u32,
    /// Whether it is in the list of those that may send.
    staged: bool,
}

struct Generator<'a> {
    config: &'a Config,
    script: &'static Script,
    ring: Ring,
    buffers: BufferRing,
    clients: Vec<Client>,
    pacing: Pacing,
    start: Instant,
    staged: Vec<u32>,
    /// Connections whose receive must be armed, again or for the first time.
    unarmed: Vec<u32>,
    outstanding: u64,
    progress_at: u64,
    measuring: bool,
    answered: u64,
    latency: Histogram,
    lag: Histogram,
}

impl<'a> Generator<'a> {
    fn new(config: &'a Config, script: &'static Script, streams: Vec<Opened>) -> Result<Self, LoadError> {
        let ring = Ring::new()?;
        let files: Vec<_> = streams.iter().map(|(stream, _)| stream.as_raw_fd()).collect();
        ring.submitter().register_files(&files)?;
        let (count, buffer_bytes) =
            setup::buffer_plan(streams.len(), config.window_messages_max() as usize * script.reply_bytes());
        let buffers = BufferRing::register(&ring, GROUP, count, buffer_bytes)?;
        let mut clients = Vec::with_capacity(streams.len());
        for (index, (stream, rest)) in streams.into_iter().enumerate() {
            let mut connection = Connection::new(script, index);
            connection.receive(script, &rest).map_err(|error| LoadError::Wrong { index, error })?;
            clients.push(Client { connection, stream, ready: 0, staged: false });
        }
        Ok(Self {
            config,
            script,
            ring,
            buffers,
            unarmed: (0..clients.len() as u32).collect(),
            clients,
            pacing: Pacing::new(config),
            start: Instant::now(),
            staged: Vec::new(),
            outstanding: 0,
            progress_at: 0,
            measuring: false,
            answered: 0,
            latency: Histogram::default(),
            lag: Histogram::default(),
        })
    }

    fn run(&mut self) -> Result<Report, LoadError> {
        let mut completions = Vec::new();
        let mut report = None;
        self.start = Instant::now();
        let mut phase = Phase::Warmup { until: nanos(self.config.warmup) };
        if let Pacing::Windows { depth } | Pacing::Sliding { depth } = self.pacing {
            (0..self.clients.len()).for_each(|index| self.stage(index, depth));
        }
        while phase != Phase::Draining || self.outstanding > 0 {
            let now = self.now();
            phase = self.advance(phase, now, &mut report)?;
            if phase != Phase::Draining {
                self.schedule(now);
                self.send_staged(now)?;
            }
            self.arm()?;
            self.ring.enter(Some(self.wait(now)))?;
            self.ring.reap(&mut completions);
            let now = self.now();
            for completion in &completions {
                self.complete(completion, now)?;
            }
            self.buffers.publish();
            self.check_progress(now)?;
        }
        let mut report = report.ok_or_else(|| io::Error::other("the run ended before it was measured"))?;
        mem::swap(&mut report.latency, &mut self.latency);
        mem::swap(&mut report.lag, &mut self.lag);
        Ok(report)
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }

    fn mark(&self, at: u64) -> io::Result<Mark> {
        let server = self.config.server_pid.map(cpu::process_times).transpose()?;
        Ok(Mark { at, client: cpu::thread_times()?, server })
    }

    /// Moves from warm-up to measuring to draining when their time has come.
    fn advance(&mut self, phase: Phase, now: u64, report: &mut Option<Report>) -> Result<Phase, LoadError> {
        match phase {
            Phase::Warmup { until } if now >= until => {
                self.measuring = true;
                Ok(Phase::Measuring { since: self.mark(now)?, until: now + nanos(self.config.measured) })
            }
            Phase::Measuring { since, until } if now >= until => {
                self.measuring = false;
                *report = Some(self.report(since, self.mark(now)?));
                Ok(Phase::Draining)
            }
            other => Ok(other),
        }
    }

    /// The numbers between two marks, without the histograms.
    fn report(&self, since: Mark, until: Mark) -> Report {
        let overdue = match self.pacing {
            Pacing::Schedule { interval_nanos, .. } => {
                let due = (until.at as f64 / interval_nanos) as u64;
                due.saturating_sub(self.clients.iter().map(|client| client.connection.sent()).sum())
            }
            Pacing::Windows { .. } | Pacing::Sliding { .. } => 0,
        };
        Report {
            config: self.config.clone(),
            wall: Duration::from_nanos(until.at - since.at),
            messages: self.answered,
            overdue,
            client: until.client.since(since.client),
            server: until.server.zip(since.server).map(|(until, since)| until.since(since)),
            latency: Histogram::default(),
            lag: Histogram::default(),
        }
    }

    /// Lets a connection send `messages` more.
    #[inline]
    fn stage(&mut self, index: usize, messages: u32) {
        let client = &mut self.clients[index];
        client.ready += messages;
        if !client.staged {
            client.staged = true;
            self.staged.push(index as u32);
        }
    }

    /// Stages the messages of the schedule that are due by now.
    fn schedule(&mut self, now: u64) {
        let Pacing::Schedule { interval_nanos, mut next } = self.pacing else {
            return;
        };
        let clients = self.clients.len() as u64;
        for _ in 0..SCHEDULED_PER_TURN_MAX {
            if due(interval_nanos, next) > now {
                break;
            }
            self.stage((next % clients) as usize, 1);
            next += 1;
        }
        self.pacing = Pacing::Schedule { interval_nanos, next };
    }

    /// Sends for every staged connection that has no send in flight; the others are staged again when theirs completes.
    fn send_staged(&mut self, now: u64) -> Result<(), LoadError> {
        let mut staged = mem::take(&mut self.staged);
        for index in staged.drain(..).map(|index| index as usize) {
            let client = &mut self.clients[index];
            client.staged = false;
            let room = self.config.window_messages_max().saturating_sub(client.connection.outstanding());
            let messages = client.ready.min(room);
            if messages == 0 || client.connection.is_sending() {
                continue;
            }
            client.ready -= messages;
            match self.pacing {
                Pacing::Windows { .. } | Pacing::Sliding { .. } => client.connection.note_due(now, messages),
                Pacing::Schedule { interval_nanos, .. } => {
                    let (first, step) = (client.connection.sent(), self.clients.len() as u64);
                    for number in first..first + u64::from(messages) {
                        let due = due(interval_nanos, index as u64 + number * step);
                        self.lag.record(now.saturating_sub(due), u64::from(self.measuring));
                        self.clients[index].connection.note_due(due, 1);
                    }
                }
            }
            let bytes = self.clients[index].connection.send(self.script, messages);
            self.outstanding += u64::from(messages);
            self.push_send(index, bytes)?;
        }
        self.staged = staged;
        Ok(())
    }

    fn push_send(&mut self, index: usize, bytes: &'static [u8]) -> Result<(), LoadError> {
        let entry = opcode::Send::new(types::Fixed(index as u32), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(user_data(SEND, index));
        let entry = if self.pacing.sends_quietly() { entry.flags(Flags::SKIP_SUCCESS) } else { entry };
        // SAFETY: the kernel only reads the bytes, which are never freed or written.
        unsafe { self.ring.push(&entry) }?;
        Ok(())
    }

    /// Arms the receives that are not armed; the buffers given back are published before.
    fn arm(&mut self) -> Result<(), LoadError> {
        for index in self.unarmed.drain(..) {
            let entry = opcode::RecvMulti::new(types::Fixed(index), GROUP)
                .build()
                .user_data(user_data(RECEIVE, index as usize));
            // SAFETY: the receive writes only into the provided buffers, which live as long as the ring.
            unsafe { self.ring.push(&entry) }?;
        }
        Ok(())
    }

    /// How long the next enter may sleep.
    fn wait(&self, now: u64) -> Duration {
        let Pacing::Schedule { interval_nanos, next } = self.pacing else { return ENTER_TIMEOUT_MAX };
        Duration::from_nanos(due(interval_nanos, next).saturating_sub(now)).min(ENTER_TIMEOUT_MAX)
    }

    #[inline]
    fn complete(&mut self, completion: &Completion, now: u64) -> Result<(), LoadError> {
        if completion.operation() == RECEIVE { self.received(completion, now) } else { self.sent(completion) }
    }

    #[inline]
    fn received(&mut self, completion: &Completion, now: u64) -> Result<(), LoadError> {
        let index = completion.index();
        if !completion.more() {
            self.unarmed.push(index as u32);
        }
        // SAFETY: receives are the only operations that use the group, and each completion is seen once.
        let Some(chunk) = (unsafe { self.buffers.take(completion) }) else {
            return self.received_nothing(completion);
        };
        let connection = &mut self.clients[index].connection;
        let received = connection.receive(self.script, self.buffers.bytes(&chunk));
        self.buffers.recycle(chunk);
        let answered = received.map_err(|error| LoadError::Wrong { index, error })?;
        if answered == 0 {
            return Ok(());
        }
        let (measuring, latency) = (self.measuring, &mut self.latency);
        connection.settle(answered, |due, messages| {
            if measuring {
                latency.record(now.saturating_sub(due), u64::from(messages));
            }
        });
        let outstanding = connection.outstanding();
        if self.pacing.sends_quietly() && outstanding == 0 {
            connection.presume_sent();
        }
        self.outstanding -= u64::from(answered);
        self.answered += if self.measuring { u64::from(answered) } else { 0 };
        self.progress_at = now;
        match self.pacing {
            Pacing::Windows { depth } if outstanding == 0 => self.stage(index, depth),
            Pacing::Windows { .. } => {}
            Pacing::Sliding { .. } => self.stage(index, answered),
            Pacing::Schedule { .. } => self.stage(index, 0),
        }
        Ok(())
    }

    /// A receive that brought no buffer: the end of the stream, an error, or no buffer to be had.
    #[cold]
    fn received_nothing(&mut self, completion: &Completion) -> Result<(), LoadError> {
        let index = completion.index();
        match completion.error() {
            Some(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            Some(error) => Err(LoadError::Failed { index, operation: "receive", error }),
            None => Err(LoadError::Closed { index, outstanding: self.clients[index].connection.outstanding() }),
        }
    }

    fn sent(&mut self, completion: &Completion) -> Result<(), LoadError> {
        let index = completion.index();
        if let Some(error) = completion.error() {
            return Err(LoadError::Failed { index, operation: "send", error });
        }
        let bytes = completion.result.unsigned_abs() as usize;
        match self.clients[index].connection.confirm_sent(self.script, bytes) {
            Some(rest) => self.push_send(index, rest),
            None => {
                self.stage(index, 0);
                Ok(())
            }
        }
    }

    /// Fails when replies are awaited and none came for too long.
    fn check_progress(&mut self, now: u64) -> Result<(), LoadError> {
        if self.outstanding == 0 {
            self.progress_at = now;
        }
        if now - self.progress_at < nanos(self.config.stall) {
            return Ok(());
        }
        let connections = self.clients.iter().filter(|client| client.connection.outstanding() > 0).count();
        Err(LoadError::Stalled { connections, messages: self.outstanding })
    }

    /// Says goodbye as far as the sockets take it at once; nothing depends on it.
    fn close(&mut self) {
        if self.config.protocol == Protocol::Tcp {
            return;
        }
        let mut frame = Vec::new();
        script::append_frame(&mut frame, 0x88, Some([0; 4]), &1000_u16.to_be_bytes());
        for client in &mut self.clients {
            if client.stream.set_nonblocking(true).is_ok() {
                let _ = client.stream.write(&frame);
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
