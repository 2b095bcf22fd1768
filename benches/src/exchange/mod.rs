//! Requests and replies on many connections: one thread, one ring.
//!
//! Owns the connections. Each turn stages the connections that may send, sends for all of them with one enter, reaps
//! every completion into a list, and then compares the received bytes with the expected replies. Once its lists have
//! grown, a turn allocates nothing. It never copies a message and never waits forever: a run without a reply for the
//! stall timeout fails with the number of stuck connections.
//!
//! Closed loop: a connection has `depth` messages outstanding. The next window leaves when the last one is answered or,
//! sliding, each reply releases one more message. Open loop: messages leave on a schedule, independent of the replies,
//! and are timed from the schedule, so a stall of the server counts against every message it delayed.

mod connection;
mod pacing;

use std::mem;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use io_uring::squeue::Flags;
use io_uring::{opcode, types};

use crate::buffers::BufferRing;
use crate::config::Run;
use crate::error::LoadError;
use crate::histogram::Histogram;
use crate::measure::{ENTER_TIMEOUT_MAX, Measured, Meter};
use crate::replies::Replies;
use crate::requests::Requests;
use crate::ring::{Completion, Ring, user_data};
use crate::setup::{self, Opened};

pub use connection::Connection;
pub use pacing::{Pacing, Schedule};

/// The most scheduled messages staged in one turn, so a backlog cannot keep the turn from reading replies.
const SCHEDULED_PER_TURN_MAX: u32 = 16_384;

const GROUP: u16 = 1;
const RECEIVE: u8 = 1;
const SEND: u8 = 2;

/// The numbers of the measured part, and those of an open loop.
#[derive(Debug)]
pub struct Outcome {
    /// The counts, in answered messages.
    pub measured: Measured,
    /// Messages of the schedule that were due but not sent at the end; 0 in a closed loop.
    pub overdue: u64,
    /// How late an open loop sent its messages, in nanoseconds.
    pub lag: Histogram,
}

/// One connection and the messages it may send.
struct Client<P> {
    connection: Connection<P>,
    stream: TcpStream,
    /// Messages that may leave now.
    ready: u32,
    /// Whether it is in the list of staged connections.
    staged: bool,
}

/// The state of a run.
pub struct Exchange<R: Replies> {
    run: Run,
    requests: &'static Requests,
    replies: R,
    ring: Ring,
    buffers: BufferRing,
    clients: Vec<Client<R::Position>>,
    pacing: Pacing,
    schedule: Option<Schedule>,
    window_messages_max: u32,
    staged: Vec<u32>,
    /// Connections whose receive must be armed.
    unarmed: Vec<u32>,
    outstanding: u64,
    overdue: u64,
    lag: Histogram,
}

impl<R: Replies> Exchange<R> {
    /// Takes open connections and the bytes received after their handshakes. `reply_bytes` is the approximate size of a
    /// reply and decides the size of the receive buffers.
    ///
    /// The requests are `'static`: a send still in flight when a run fails must not read memory given to something
    /// else.
    ///
    /// # Errors
    /// Any error of the ring's setup, or bytes received before the first request.
    pub fn new(
        run: &Run,
        pacing: Pacing,
        requests: &'static Requests,
        mut replies: R,
        reply_bytes: usize,
        streams: Vec<Opened>,
    ) -> Result<Self, LoadError> {
        let ring = Ring::new()?;
        let files: Vec<_> = streams.iter().map(|(stream, _)| stream.as_raw_fd()).collect();
        ring.submitter().register_files(&files)?;
        let window_messages_max = pacing.window_messages_max();
        let (count, buffer_bytes) =
            setup::buffer_plan(streams.len(), (window_messages_max as usize).saturating_mul(reply_bytes));
        let buffers = BufferRing::register(&ring, GROUP, count, buffer_bytes)?;
        let mut clients = Vec::with_capacity(streams.len());
        for (index, (stream, rest)) in streams.into_iter().enumerate() {
            let mut connection = Connection::new(requests, &replies, index);
            connection.receive(&mut replies, &rest).map_err(|error| LoadError::Wrong { index, error })?;
            clients.push(Client { connection, stream, ready: 0, staged: false });
        }
        Ok(Self {
            run: run.clone(),
            requests,
            replies,
            ring,
            buffers,
            unarmed: (0..clients.len() as u32).collect(),
            clients,
            pacing,
            schedule: Schedule::new(pacing),
            window_messages_max,
            staged: Vec::new(),
            outstanding: 0,
            overdue: 0,
            lag: Histogram::default(),
        })
    }

    /// Runs until every message sent is answered. Also returns the streams, for their close frames.
    ///
    /// # Errors
    /// The first failure.
    pub fn run(mut self) -> Result<(Outcome, Vec<TcpStream>), LoadError> {
        let mut completions = Vec::new();
        let mut meter = Meter::start(&self.run);
        if let Pacing::Windows { depth } | Pacing::Sliding { depth } = self.pacing {
            (0..self.clients.len()).for_each(|index| self.stage(index, depth));
        }
        while !meter.is_draining() || self.outstanding > 0 {
            let now = meter.now();
            self.advance(&mut meter, now)?;
            if !meter.is_draining() {
                self.schedule(now);
                self.send_staged(&meter, now)?;
            }
            self.arm()?;
            self.ring.enter(Some(self.wait(now)))?;
            self.ring.reap(&mut completions);
            let now = meter.now();
            for completion in &completions {
                self.complete(completion, &mut meter, now)?;
            }
            self.buffers.publish();
            if meter.is_stalled(now, self.outstanding > 0) {
                let connections = self.clients.iter().filter(|client| client.connection.outstanding() > 0).count();
                return Err(LoadError::Stalled { connections, messages: self.outstanding });
            }
        }
        let outcome = Outcome { measured: meter.finish()?, overdue: self.overdue, lag: self.lag };
        Ok((outcome, self.clients.into_iter().map(|client| client.stream).collect()))
    }

    /// Advances the clock. Counts the overdue messages when the measured part ends.
    fn advance(&mut self, meter: &mut Meter, now: u64) -> Result<(), LoadError> {
        let measured = meter.is_measuring();
        meter.advance(now)?;
        if let (true, true, Some(schedule)) = (measured, meter.is_draining(), self.schedule) {
            let sent = self.clients.iter().map(|client| client.connection.sent()).sum();
            self.overdue = schedule.due_by(now).saturating_sub(sent);
        }
        Ok(())
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

    /// Stages the scheduled messages that are due by now.
    fn schedule(&mut self, now: u64) {
        let Some(mut schedule) = self.schedule else { return };
        let clients = self.clients.len() as u64;
        for _ in 0..SCHEDULED_PER_TURN_MAX {
            if schedule.due(schedule.next) > now {
                break;
            }
            self.stage((schedule.next % clients) as usize, 1);
            schedule.next += 1;
        }
        self.schedule = Some(schedule);
    }

    /// Sends for every staged connection without a send in flight. The others are staged again when their send
    /// completes.
    fn send_staged(&mut self, meter: &Meter, now: u64) -> Result<(), LoadError> {
        let mut staged = mem::take(&mut self.staged);
        for index in staged.drain(..).map(|index| index as usize) {
            let client = &mut self.clients[index];
            client.staged = false;
            let room = self.window_messages_max.saturating_sub(client.connection.outstanding());
            let messages = client.ready.min(room);
            if messages == 0 || client.connection.is_sending() {
                continue;
            }
            client.ready -= messages;
            match self.schedule {
                None => client.connection.note_due(now, messages),
                Some(schedule) => {
                    let (first, step) = (client.connection.sent(), self.clients.len() as u64);
                    for number in first..first + u64::from(messages) {
                        let due = schedule.due(index as u64 + number * step);
                        self.lag.record(now.saturating_sub(due), u64::from(meter.is_measuring()));
                        self.clients[index].connection.note_due(due, 1);
                    }
                }
            }
            let bytes = self.clients[index].connection.send(self.requests, messages);
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

    /// Arms the receives that are not armed. The buffers given back must be published before.
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

    /// Returns how long the next enter may sleep.
    fn wait(&self, now: u64) -> Duration {
        let Some(schedule) = self.schedule else { return ENTER_TIMEOUT_MAX };
        Duration::from_nanos(schedule.due(schedule.next).saturating_sub(now)).min(ENTER_TIMEOUT_MAX)
    }

    #[inline]
    fn complete(&mut self, completion: &Completion, meter: &mut Meter, now: u64) -> Result<(), LoadError> {
        if completion.operation() == RECEIVE { self.received(completion, meter, now) } else { self.sent(completion) }
    }

    #[inline]
    fn received(&mut self, completion: &Completion, meter: &mut Meter, now: u64) -> Result<(), LoadError> {
        let index = completion.index();
        if !completion.more() {
            self.unarmed.push(index as u32);
        }
        // SAFETY: receives are the only operations that use the group, and each completion is seen once.
        let Some(chunk) = (unsafe { self.buffers.take(completion) }) else {
            return self.received_nothing(completion);
        };
        let connection = &mut self.clients[index].connection;
        let received = connection.receive(&mut self.replies, self.buffers.bytes(&chunk));
        self.buffers.recycle(chunk);
        let answered = received.map_err(|error| LoadError::Wrong { index, error })?;
        if answered == 0 {
            return Ok(());
        }
        connection.settle(answered, |due, messages| meter.time(now, due, u64::from(messages)));
        let outstanding = connection.outstanding();
        if self.pacing.sends_quietly() && outstanding == 0 {
            connection.presume_sent();
        }
        self.outstanding -= u64::from(answered);
        meter.count(now, u64::from(answered));
        match self.pacing {
            Pacing::Windows { depth } if outstanding == 0 => self.stage(index, depth),
            Pacing::Windows { .. } => {}
            Pacing::Sliding { .. } => self.stage(index, answered),
            Pacing::Rate { .. } => self.stage(index, 0),
        }
        Ok(())
    }

    /// Handles a receive without a buffer: end of stream, an error, or no free buffer.
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
        match self.clients[index].connection.confirm_sent(self.requests, bytes) {
            Some(rest) => self.push_send(index, rest),
            None => {
                self.stage(index, 0);
                Ok(())
            }
        }
    }
}
