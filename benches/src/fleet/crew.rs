//! One thread of the fleet: its rings, and the connections that are in progress.

use std::collections::VecDeque;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{io, iter};

use io_uring::Probe;
use socket2::SockAddr;

use super::operations::{self, Chain, PLACES_MAX, Step, Tag};
use super::{Exchange, Job, Lines, RECEIVE_BYTES_MIN, Shared};
use crate::error::LoadError;
use crate::handshake::HandshakeError;
use crate::histogram::Histogram;
use crate::measure::nanos;
use crate::replies::{Mismatch, hexadecimal};
use crate::ring::{Completion, Ring};

/// The queues of a ring. A thread has dozens of rings, and none of them ever has all of its connections complete at a
/// time: the kernel posts as many completions as are waited for.
const SUBMISSIONS_MAX: u32 = 512;
const COMPLETIONS_MAX: u32 = 2048;

/// The most connections to one server without addresses of the client's choice: those the kernel finds ports for.
const UNBOUND_MAX: usize = 28_000;

/// The most completions that are waited for at a time. The thread sleeps once for all of them.
const WANTED_MAX: usize = 256;

/// The longest wait for so many, and the longest in one ring while others have connections in progress too.
const WAIT_MAX: Duration = Duration::from_millis(20);
const WAIT_AMONG_OTHERS_MAX: Duration = Duration::from_millis(1);

/// One ring and the connections in its file table.
struct Bank {
    ring: Ring,
    /// Number of the connection in slot 0.
    first: usize,
    /// Connections that are open: the first so many slots.
    open: usize,
    /// Connections in progress.
    in_progress: usize,
}

/// A connection in progress.
#[derive(Clone, Copy)]
struct Progress {
    /// Bytes received of a response head.
    received: usize,
    /// Rounds left, this one included.
    rounds: u32,
    since: Instant,
}

/// The places for connections in progress, and their memory. It is never freed, because the rings that name it last as
/// long as the process.
struct Places {
    progress: Vec<Progress>,
    free: Vec<u32>,
    buffers: NonNull<u8>,
    buffer_bytes: usize,
    sources: NonNull<libc::sockaddr_in>,
}

pub(super) struct Crew {
    shared: Arc<Shared>,
    /// Number of threads that share the windows.
    threads: usize,
    server: &'static SockAddr,
    request: &'static [u8],
    /// Whether the kernel can bind sockets by an operation. Otherwise it chooses the ports, of one address.
    can_bind: bool,
    /// The last response head that was right: most are like it.
    head: Vec<u8>,
    banks: Vec<Bank>,
    places: Places,
    chain: Chain,
    completions: Vec<Completion>,
    /// Time from which on the current job begins no further round on a connection.
    until: Option<Instant>,
}

impl Crew {
    /// Makes a ring for each of `firsts`, the numbers of the first connections of rings.
    pub(super) fn new(shared: Arc<Shared>, firsts: &[usize], threads: usize) -> Result<Self, LoadError> {
        let (mut banks, mut can_bind) = (Vec::with_capacity(firsts.len()), false);
        for first in firsts {
            let ring = Ring::sized(SUBMISSIONS_MAX, COMPLETIONS_MAX)?;
            let mut probe = Probe::new();
            ring.submitter().register_probe(&mut probe)?;
            can_bind = operations::can_bind(&probe);
            ring.submitter().register_files_sparse(shared.per_ring as u32)?;
            banks.push(Bank { ring, first: *first, open: 0, in_progress: 0 });
        }
        if !can_bind && shared.plan.connections > UNBOUND_MAX && !shared.plan.server.is_unix() {
            let error =
                format!("more than {UNBOUND_MAX} connections need Linux 6.11, which can bind sockets by io_uring");
            return Err(io::Error::new(io::ErrorKind::Unsupported, error).into());
        }
        let request = shared.plan.upgrade.as_ref().map_or_else(Vec::new, |upgrade| upgrade.request().to_vec());
        Ok(Self {
            server: Box::leak(Box::new(shared.plan.server.clone())),
            request: request.leak(),
            shared,
            threads,
            can_bind,
            head: Vec::new(),
            banks,
            places: Places::new(0, 0),
            chain: Chain::default(),
            completions: Vec::new(),
            until: None,
        })
    }

    /// Does a job on this thread's part of the connections. Returns the round trips that were timed.
    pub(super) fn run(&mut self, job: &Job) -> Result<Histogram, LoadError> {
        let mut slots = self.slots(job);
        let window = job.window(&self.shared).div_ceil(self.threads).clamp(1, PLACES_MAX);
        let window = window.min(slots.iter().map(|(_, slots)| slots.len()).sum());
        self.places.provide(window, self.shared.plan.answer_bytes_max.max(RECEIVE_BYTES_MIN));
        let (mut round_trips, mut in_progress, mut moved) = (Histogram::default(), 0, Instant::now());
        self.until = job.time_max().and_then(|time| moved.checked_add(time));
        loop {
            while in_progress < window
                && let Some((bank, range)) = slots.front_mut()
            {
                let Some(slot) = range.next() else {
                    slots.pop_front();
                    continue;
                };
                let bank = *bank;
                let tag = Tag { place: self.places.take(job.rounds()), slot: slot as u32 };
                self.begin(job, bank, tag)?;
                self.banks[bank].in_progress += 1;
                in_progress += 1;
            }
            if in_progress == 0 {
                break;
            }
            let (completed, done) = self.turn(job, &mut round_trips)?;
            in_progress -= done;
            self.shared.done.fetch_add(done, Ordering::Relaxed);
            if completed > 0 {
                moved = Instant::now();
            }
            if self.shared.is_abandoned.load(Ordering::Relaxed) || moved.elapsed() > self.shared.plan.stall {
                return Err(LoadError::Stalled { connections: in_progress, messages: in_progress as u64 });
            }
        }
        if let Job::Open { upto } = *job {
            let per_ring = self.shared.per_ring;
            for bank in &mut self.banks {
                bank.open = bank.open.max(upto.saturating_sub(bank.first).min(per_ring));
            }
        }
        Ok(round_trips)
    }

    /// Closes all connections at once.
    pub(super) fn close(self) {
        for bank in self.banks {
            // Fails only without a table.
            let _ = bank.ring.submitter().unregister_files();
        }
    }

    /// Returns the slots that a job goes over, by ring.
    fn slots(&self, job: &Job) -> VecDeque<(usize, Range<usize>)> {
        let per_ring = self.shared.per_ring;
        let banks = self.banks.iter().enumerate().map(|(number, bank)| {
            let below = |connections: usize| connections.saturating_sub(bank.first).min(per_ring);
            let slots = match job {
                Job::Open { upto } => bank.open..below(*upto).max(bank.open),
                Job::Exchange(exchange) => 0..below(exchange.connections).min(bank.open),
            };
            (number, slots)
        });
        banks.filter(|(_, slots)| !slots.is_empty()).collect()
    }

    /// Submits what is queued on each ring and settles what has completed. Returns the numbers of completions and of
    /// connections that the job is done with.
    fn turn(&mut self, job: &Job, round_trips: &mut Histogram) -> Result<(usize, usize), LoadError> {
        let others = self.banks.iter().filter(|bank| bank.in_progress > 0).count() > 1;
        let wait = if others { WAIT_AMONG_OTHERS_MAX } else { WAIT_MAX };
        let (mut completed, mut done) = (0, 0);
        for number in 0..self.banks.len() {
            let bank = &mut self.banks[number];
            if bank.in_progress == 0 {
                continue;
            }
            let wanted = if job.is_timed() { 1 } else { (bank.in_progress / 2).clamp(1, WANTED_MAX) };
            bank.ring.enter_for(wanted, Some(wait))?;
            let mut completions = std::mem::take(&mut self.completions);
            bank.ring.reap(&mut completions);
            completed += completions.len();
            for completion in &completions {
                if self.settle(job, number, completion, round_trips)? {
                    self.banks[number].in_progress -= 1;
                    done += 1;
                }
            }
            self.completions = completions;
        }
        Ok((completed, done))
    }

    /// Begins the job on one connection.
    fn begin(&mut self, job: &Job, bank: usize, tag: Tag) -> io::Result<()> {
        self.chain.clear();
        match job {
            Job::Open { .. } => self.opening(tag),
            Job::Exchange(exchange) => {
                let (sent, awaited) = self.lines(exchange, bank, tag);
                if !sent.is_empty() {
                    self.chain.send(tag, sent);
                }
                if !awaited.is_empty() {
                    if awaited.len() > self.places.buffer_bytes {
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an answer exceeds answer_bytes_max"));
                    }
                    self.chain.receive(tag, self.places.buffer(tag.place, 0), awaited.len(), true);
                }
            }
        }
        self.submit(bank)
    }

    fn submit(&mut self, bank: usize) -> io::Result<()> {
        // SAFETY: what the kernel reads and writes is never freed: the server's address, lines and requests are static,
        // and the buffers and sources of places are leaked. No receive is longer than the rest of its place's buffer. A
        // place belongs to one connection until it is settled, so nothing else uses its buffer or its source.
        unsafe { self.banks[bank].ring.push_linked(self.chain.link()) }
    }

    /// Chains the operations that open a connection.
    fn opening(&mut self, tag: Tag) {
        self.chain.socket(tag, i32::from(self.server.family()));
        if self.can_bind
            && let Some(source) = self.shared.sources.take()
        {
            self.chain.bind(tag, self.places.set_source(tag.place, operations::socket_address(source)));
        }
        self.chain.connect(tag, self.server);
        if !self.request.is_empty() {
            self.chain.send(tag, self.request);
            self.chain.receive(tag, self.places.buffer(tag.place, 0), self.places.buffer_bytes, false);
        }
    }

    fn lines(&self, exchange: &Exchange, bank: usize, tag: Tag) -> Lines {
        (exchange.lines)(self.banks[bank].first + tag.slot as usize)
    }

    /// Acts on a completion. Returns whether the job is done with its connection.
    fn settle(
        &mut self,
        job: &Job,
        bank: usize,
        completion: &Completion,
        round_trips: &mut Histogram,
    ) -> Result<bool, LoadError> {
        let (tag, step) = Tag::unpack(completion);
        let index = self.banks[bank].first + tag.slot as usize;
        if let Some(error) = completion.error() {
            if step == Step::Bind && error.kind() == io::ErrorKind::AddrInUse {
                // Another socket has the port, or one in TIME_WAIT. The next one is tried.
                self.begin(job, bank, tag)?;
                return Ok(false);
            }
            return Err(match step {
                Step::Socket | Step::Bind | Step::Connect => LoadError::Connect { index, error },
                Step::Send | Step::Receive => LoadError::Failed { index, operation: step.name(), error },
            });
        }
        let is_done = match job {
            Job::Open { .. } => {
                step == Step::Connect || self.read_head(bank, tag, index, completion.result as usize)?
            }
            Job::Exchange(exchange) => {
                let (_, awaited) = self.lines(exchange, bank, tag);
                self.compare(awaited, tag, index, completion.result as usize)?;
                let progress = &mut self.places.progress[tag.place as usize];
                if exchange.timed {
                    let now = Instant::now();
                    round_trips.record(nanos(now - progress.since), 1);
                    progress.since = now;
                }
                progress.rounds -= 1;
                if progress.rounds > 0 && self.until.is_none_or(|until| Instant::now() < until) {
                    self.begin(job, bank, tag)?;
                    return Ok(false);
                }
                true
            }
        };
        if is_done {
            self.places.free.push(tag.place);
        }
        Ok(is_done)
    }

    /// Takes received bytes of a response head. Returns whether it is complete, and asks for more if not.
    fn read_head(&mut self, bank: usize, tag: Tag, index: usize, length: usize) -> Result<bool, LoadError> {
        let failed = |error| LoadError::Handshake { index, error };
        if length == 0 {
            return Err(failed(HandshakeError::Closed));
        }
        let progress = &mut self.places.progress[tag.place as usize];
        progress.received += length;
        let received = progress.received;
        let bytes = self.places.received(tag.place, received);
        if bytes == self.head {
            return Ok(true);
        }
        let Some(upgrade) = &self.shared.plan.upgrade else { return Ok(true) };
        match upgrade.read(bytes).map_err(failed)? {
            Some(end) if end == received => {
                self.head = bytes.to_vec();
                Ok(true)
            }
            Some(end) => Err(LoadError::Wrong { index, error: Mismatch::Unsolicited { bytes: received - end } }),
            None if received == self.places.buffer_bytes => Err(failed(HandshakeError::TooLong)),
            None => {
                self.chain.clear();
                let (into, room) = (self.places.buffer(tag.place, received), self.places.buffer_bytes - received);
                self.chain.receive(tag, into, room, false);
                self.submit(bank)?;
                Ok(false)
            }
        }
    }

    /// Compares what was received with what was awaited.
    fn compare(&self, awaited: &[u8], tag: Tag, index: usize, length: usize) -> Result<(), LoadError> {
        if awaited.is_empty() {
            return Ok(());
        }
        if length < awaited.len() {
            return Err(LoadError::Closed { index, outstanding: 1 });
        }
        let got = self.places.received(tag.place, length);
        if got == awaited {
            return Ok(());
        }
        let byte = iter::zip(got, awaited).take_while(|(got, awaited)| got == awaited).count();
        let error = Mismatch::Differs {
            reply: 0,
            byte,
            reply_bytes: awaited.len(),
            expected: hexadecimal(&awaited[byte..]),
            got: hexadecimal(&got[byte..]),
            hint: "",
        };
        Err(LoadError::Wrong { index, error })
    }
}

impl Job {
    fn window(&self, shared: &Shared) -> usize {
        match self {
            Self::Open { .. } => shared.plan.opening_max,
            Self::Exchange(exchange) => exchange.window,
        }
    }

    fn rounds(&self) -> u32 {
        match self {
            Self::Open { .. } => 1,
            Self::Exchange(exchange) => exchange.rounds.max(1),
        }
    }

    fn time_max(&self) -> Option<Duration> {
        match self {
            Self::Open { .. } => None,
            Self::Exchange(exchange) => exchange.time_max,
        }
    }

    fn is_timed(&self) -> bool {
        matches!(self, Self::Exchange(Exchange { timed: true, .. }))
    }
}

impl Places {
    fn new(count: usize, buffer_bytes: usize) -> Self {
        let progress = vec![Progress { received: 0, rounds: 0, since: Instant::now() }; count];
        let buffers: &'static mut [u8] = vec![0; count * buffer_bytes].leak();
        let none = operations::socket_address(std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0));
        let sources: &'static mut [libc::sockaddr_in] = vec![none; count].leak();
        Self {
            progress,
            free: (0..count as u32).rev().collect(),
            buffers: NonNull::from(buffers).cast(),
            buffer_bytes,
            sources: NonNull::from(sources).cast(),
        }
    }

    /// Makes sure that there are `count` places with buffers of `buffer_bytes`. None may be in use.
    fn provide(&mut self, count: usize, buffer_bytes: usize) {
        if count > self.progress.len() || buffer_bytes > self.buffer_bytes {
            *self = Self::new(count.max(self.progress.len()), buffer_bytes.max(self.buffer_bytes));
        }
    }

    /// Takes a free place: the window is never larger than their number.
    fn take(&mut self, rounds: u32) -> u32 {
        let place = self.free.pop().expect("a place for each connection in progress");
        self.progress[place as usize] = Progress { received: 0, rounds, since: Instant::now() };
        place
    }

    /// Returns the address of a place's buffer, from byte `at` on.
    fn buffer(&self, place: u32, at: usize) -> *mut u8 {
        debug_assert!((place as usize) < self.progress.len() && at <= self.buffer_bytes);
        // SAFETY: within the leaked area of `progress.len()` buffers.
        unsafe { self.buffers.as_ptr().add(place as usize * self.buffer_bytes + at) }
    }

    /// Returns the first bytes of a place's buffer, after the completion that filled them.
    fn received(&self, place: u32, length: usize) -> &[u8] {
        debug_assert!(length <= self.buffer_bytes);
        // SAFETY: the bytes are within the leaked area, zeroed at first, and the kernel has no operation on this place
        // while its connection is being settled.
        unsafe { std::slice::from_raw_parts(self.buffer(place, 0), length) }
    }

    /// Stores a source address. Returns its place in memory.
    fn set_source(&self, place: u32, source: libc::sockaddr_in) -> *const libc::sockaddr_in {
        debug_assert!((place as usize) < self.progress.len());
        // SAFETY: within the leaked area of `progress.len()` addresses; no operation that reads it is in flight,
        // because its connection is about to begin.
        unsafe {
            let address = self.sources.as_ptr().add(place as usize);
            address.write(source);
            address
        }
    }
}
