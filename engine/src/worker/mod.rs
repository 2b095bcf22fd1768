//! A worker: one thread that owns a driver, its connections and their timers.
//!
//! Its tick takes commands, enters the driver, processes completions, expires timers and, with inline placement, runs
//! the handlers. Workers share nothing on the data path. `accept`, `connect`, `receive`, `held`, `backpressure`,
//! `peer_end`, `progress`, `send`, `deadline`, `close`, `drain`, `fanout` and `tls` hold the operations on connections;
//! this file holds the worker's state and its tick.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::clock::near_tick::RENEWAL_TICKS;
use crate::clock::sleep_entry::SleepEntry;
use crate::clock::wheel::{Links, Lists, Wheel};
use crate::clock::{Clock, RecentTick};
use crate::config::Config;
use crate::driver::{Driver, Event, LIST_ENTRIES_KEPT};
use crate::error::CloseCause;
use crate::executor::{Executor, RunQueue};
use crate::fanout::Backlog;
use crate::shared::command::Command;
use crate::shared::inbound::End;
use crate::shared::key::ConnKey;
use crate::shared::wake_scope::{self, WakeScope};
use crate::shared::worker_shared::WorkerShared;
use crate::shared::{ConnShared, LocalEnd};
use crate::shutdown::{ShutdownPlan, ShutdownReport};
use crate::util::flags::Flags;
use crate::util::pieces::Pieces;

mod accept;
mod backpressure;
mod close;
mod connect;
mod deadline;
mod drain;
mod fanout;
mod held;
mod peer_end;
mod progress;
mod receive;
mod send;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(feature = "tls")]
mod tls;

use accept::AcceptPause;
use connect::Connects;

/// The state of a connection's receive.
///
/// ```text
///            over the high mark                 ended
///   Armed ───────────────────────▶ Cancelling ────────▶ Paused ── low mark ──▶ Armed
///     ├── budget used up, over the high mark ─────────▶ Paused
///     ├── no free buffer ──▶ Starved ── a buffer is free ──▶ Armed
///     ├── held ──▶ Paused ── the reader gives its memory ──▶ Filling ── bytes in it ──▶ Paused
///     └── end of stream, failure ──▶ Ended
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    Armed,
    Cancelling,
    Paused,
    Starved,
    /// The bytes go into memory of the reader: see [`held`].
    Filling,
    Ended,
}

/// The phase of a connection's life.
///
/// ```text
///   Open ── handler dropped it ──▶ Flushing ── all sent, FIN ──▶ Lingering ── peer's FIN ──▶ Closing ──▶ (gone)
///     └────────── failure, deadline, abort: from any state ───────────────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Flushing,
    Lingering,
    Closing,
}

/// A worker's side of one connection. Aligned so that each lies in one cache line.
#[repr(align(32))]
struct Conn {
    shared: Arc<ConnShared>,
    /// Tick at which the connection is reset: a closing one that has not ended by then, or one whose send in flight
    /// makes no progress. Before that the peer's progress is checked (see `progress`).
    close_at: u64,
    /// Its place among the connections that have a deadline, for the tick that is armed in `shared.deadlines`.
    timer: Links,
    received_at: RecentTick,
    phase: Phase,
    receive: Receive,
    /// Whether its receives end early, so that large messages can be received into the reader's memory.
    holds: held::Holds,
    flags: Flags,
}

// One of these exists for each of very many idle connections.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Conn>>() <= 32);

/// A send is in flight.
const SENDING: u8 = 1;
/// The driver watches for the peer's end.
const WATCHING: u8 = 1 << 1;
/// Counted as paused in the statistics.
const COUNTED_PAUSED: u8 = 1 << 2;
/// It has TLS, with its session in [`Worker::tls`].
#[cfg(feature = "tls")]
const ENCRYPTED: u8 = 1 << 3;
/// Nothing is received between its FIN and the look for that of the peer: see [`close`].
const QUIET: u8 = 1 << 4;

/// The purpose of a timer that is not a connection's.
enum Due {
    Sleep(Arc<SleepEntry>),
    /// Arm a listener's accept again after a failure.
    Accept(usize),
    /// Take the next step of a shutdown.
    Drain,
    /// Give back what a burst has left.
    Trim,
}

pub(crate) struct Worker<D> {
    driver: D,
    worker_shared: Arc<WorkerShared>,
    config: Arc<Config>,
    /// By the numbers of their slots.
    conns: Pieces<Conn>,
    open: usize,
    /// The connections that have a deadline.
    timers: Lists,
    /// The tick at which the stored ticks of all connections are renewed.
    renew_at: u64,
    wheel: Wheel<Due>,
    starved: VecDeque<ConnKey>,
    /// Fan-outs with messages for members of this worker.
    deliveries: VecDeque<fanout::Delivery>,
    /// Messages kept for slow members of fan-outs.
    backlogs: HashMap<ConnKey, (Arc<ConnShared>, Backlog)>,
    /// What slow peers have acknowledged; see `progress`.
    progress_checks: HashMap<ConnKey, progress::ProgressCheck>,
    /// The state of each listener's accepting.
    accept_pauses: Vec<AcceptPause>,
    /// The TLS of connections.
    #[cfg(feature = "tls")]
    tls: tls::Sessions,
    connects: Connects,
    /// Recently seen local addresses.
    locals: Vec<Arc<LocalEnd>>,
    handlers: Vec<Arc<RunQueue>>,
    next_handler: usize,
    /// The executor of the handlers, with inline placement.
    inline: Option<Executor>,
    drain: Option<Drain>,
    commands: Vec<Command>,
    events: Vec<Event>,
    fired: Vec<Due>,
    /// Connections whose timers have fired.
    overdue: Vec<ConnKey>,
    /// Failures of the driver's `enter` since its last success.
    enter_failures: u32,
    /// A timer for [`Due::Trim`] is armed.
    trim_due: bool,
}

/// A shutdown in progress in this worker.
struct Drain {
    plan: ShutdownPlan,
    /// Number of slots notified so far, and in total.
    notified: usize,
    of: usize,
    open_at_start: u64,
    forced: u64,
}

impl<D: Driver> Worker<D> {
    pub(crate) fn new(
        driver: D,
        worker_shared: Arc<WorkerShared>,
        config: Arc<Config>,
        listeners: usize,
        handlers: Vec<Arc<RunQueue>>,
        inline: Option<Executor>,
    ) -> Self {
        let now = worker_shared.clock.set(driver.elapsed());
        worker_shared.clock.settle(now);
        let next_handler = worker_shared.index % handlers.len().max(1);
        #[cfg(feature = "tls")]
        let tls = tls::Sessions::new(&worker_shared.engine.tls);
        let mut worker = Self {
            driver,
            worker_shared,
            config,
            conns: Pieces::default(),
            open: 0,
            timers: Lists::new(now),
            renew_at: now + RENEWAL_TICKS,
            wheel: Wheel::new(now),
            starved: VecDeque::new(),
            deliveries: VecDeque::new(),
            backlogs: HashMap::new(),
            progress_checks: HashMap::new(),
            accept_pauses: (0..listeners).map(|_| AcceptPause::None).collect(),
            #[cfg(feature = "tls")]
            tls,
            connects: Connects::default(),
            locals: Vec::new(),
            handlers,
            next_handler,
            inline,
            drain: None,
            commands: Vec::new(),
            events: Vec::new(),
            fired: Vec::new(),
            overdue: Vec::new(),
            enter_failures: 0,
            trim_due: false,
        };
        for listener in 0..listeners {
            worker.arm_accept(listener);
        }
        worker
    }

    /// Runs until a shutdown has ended every connection.
    ///
    /// # Errors
    /// The error of the driver's `enter`, if the ring itself has failed for good.
    pub(crate) fn run(mut self) -> io::Result<ShutdownReport> {
        while !self.is_finished() {
            self.tick()?;
        }
        Ok(self.report())
    }

    /// Runs one round: commands, starved receives, fan-outs; then completions, timers and the handlers they woke.
    ///
    /// Timers expire as of the time before the driver was entered: whatever had arrived by then has been processed, so
    /// the worker's own lateness is never charged to a peer.
    pub(crate) fn tick(&mut self) -> io::Result<()> {
        let scope = WakeScope::begin();
        self.take_commands();
        self.rearm_starved();
        self.step_deliveries();
        drop(scope);

        let entered = self.enter()?;

        let scope = WakeScope::begin();
        self.harvest();
        #[cfg(feature = "tls")]
        self.step_handshakes();
        self.expire_timers(entered);
        if let Some(executor) = &mut self.inline {
            executor.turn();
        }
        self.worker_shared.counters.ticks_total.add(1);
        drop(scope);
        Ok(())
    }

    fn take_commands(&mut self) {
        let mut commands = std::mem::take(&mut self.commands);
        self.worker_shared.mailbox.take(&mut commands);
        for command in commands.drain(..) {
            match command {
                Command::Flush(key) => self.flush(key),
                Command::Resume(key) => self.resume(key),
                Command::HoldBack(key) => self.begin_holding(key),
                Command::Release(key) => self.release(key),
                Command::MemoryFill(key, fill) => self.fill(key, fill),
                Command::WatchEnd(key) => self.watch_end(key),
                Command::Deadline(key) => self.check_deadlines(key),
                Command::Acknowledged(key, bytes) => self.on_acknowledged(key, bytes),
                Command::Idle(key, ticks) => self.set_idle(key, ticks),
                Command::Close(key, mode) => self.close(key, mode),
                Command::Socket(key, task) => self.driver.with_socket(key, task),
                Command::Read(read) => self.driver.read_file(*read),
                Command::Sleep(entry) => {
                    let timer = self.wheel.insert(entry.tick, Due::Sleep(Arc::clone(&entry)));
                    entry.armed(timer);
                }
                Command::CancelSleep(entry) => {
                    if let Some(timer) = entry.take_timer() {
                        self.wheel.remove(timer);
                    }
                }
                Command::FanOut(lane) => self.begin_delivery(lane),
                Command::Connect(attempt) => self.connect(attempt),
                Command::CancelConnect(attempt) => self.cancel_connect(&attempt),
                #[cfg(feature = "tls")]
                Command::StartTls(key, handshake) => self.begin_client_handshake(key, handshake),
                Command::Shutdown(plan) => self.begin_drain(plan),
            }
        }
        self.commands = commands;
    }

    /// Acts on the timers that were due at the tick `now`.
    fn expire_timers(&mut self, now: u64) {
        if now >= self.renew_at {
            self.renew_deadlines(now);
        }
        self.worker_shared.clock.settle(now);
        self.expire_deadlines(now);
        self.wheel.expire(now, &mut self.fired);
        if !self.fired.is_empty() {
            self.act_on_fired();
        }
    }

    // Not inlined: most ticks have none.
    #[inline(never)]
    fn act_on_fired(&mut self) {
        let mut fired = std::mem::take(&mut self.fired);
        for due in fired.drain(..) {
            match due {
                Due::Sleep(entry) => entry.fire(),
                Due::Accept(listener) => self.retry_accept(listener),
                Due::Drain => self.step_drain(),
                Due::Trim => {
                    self.trim_due = false;
                    self.trim_lists();
                    if self.driver.trim() {
                        self.trim_later();
                    }
                }
            }
        }
        fired.shrink_to(LIST_ENTRIES_KEPT);
        self.fired = fired;
    }

    /// Enters the driver. Sleeps until something completes, a command arrives or a timer is due, unless there is work.
    /// Returns the tick before it: all that arrived up to then is in the events.
    fn enter(&mut self) -> io::Result<u64> {
        self.worker_shared.mailbox.signal().announce_sleep();
        // A buffer returned since the last check serves a starved connection before any sleep.
        let starving = !self.starved.is_empty() && self.driver.buffers_free_or_notify() > 0;
        let resting = self.deliveries.is_empty() && self.worker_shared.mailbox.is_empty();
        #[cfg(feature = "tls")]
        let resting = resting && self.tls.is_resting();
        let idle = !starving && resting && self.inline.as_ref().is_none_or(Executor::is_idle);
        let before = self.driver.elapsed();
        let timeout = if idle { self.until_next_timer(before) } else { Some(Duration::ZERO) };
        let result = self.driver.enter(timeout, &mut self.events);
        self.worker_shared.mailbox.signal().awake();
        // Completions count as happening now, not before the sleep, so timeouts start here.
        self.worker_shared.clock.set(self.driver.elapsed());
        match result {
            Ok(()) => {
                self.enter_failures = 0;
                Ok(Clock::whole_ticks(before))
            }
            // Nothing that has arrived since was looked at.
            Err(error) => self.retry_enter(error).map(|()| self.worker_shared.clock.settled()),
        }
    }

    /// Lets the next tick enter the driver again after a lack of memory, which usually passes.
    #[cold]
    fn retry_enter(&mut self, error: io::Error) -> io::Result<()> {
        self.enter_failures += 1;
        if error.kind() != io::ErrorKind::OutOfMemory || self.enter_failures > ENTER_FAILURES_MAX {
            return Err(error);
        }
        if self.enter_failures == 1 {
            log::warn!("worker {} cannot wait for I/O, retrying: {error}", self.worker_shared.index);
        }
        Ok(())
    }

    fn until_next_timer(&self, elapsed: Duration) -> Option<Duration> {
        let ticks = self.wheel.next_tick().into_iter().chain(self.timers.next_tick());
        let tick = ticks.min()?;
        Some(Clock::since_epoch(tick).saturating_sub(elapsed))
    }

    fn harvest(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match event {
                Event::Accepted(accepted) => self.on_accepted(&accepted),
                Event::AcceptEnded { listener, error } => self.on_accept_ended(listener, error),
                Event::Received { key, data, more } => self.on_received(key, data, more),
                Event::Filled { key, fill } => self.on_filled(key, *fill),
                Event::ReceiveEnded { key, end } => self.on_receive_ended(key, end),
                Event::PeerEnded { key, error } => self.on_peer_ended(key, error),
                Event::Sent { key, result } => self.on_sent(key, result),
                Event::FileFailed { key, error } => self.on_file_failed(key, &error),
                Event::Closed { key } => self.on_closed(key),
                Event::Burst => self.trim_later(),
                Event::Connected { attempt, result } => self.on_connected(attempt, result),
            }
        }
        self.events = events;
    }

    /// Gives back what the lists of a tick needed for a burst. They grow again in the next one.
    #[cold]
    fn trim_lists(&mut self) {
        self.commands.shrink_to(LIST_ENTRIES_KEPT);
        self.worker_shared.mailbox.shrink_to(LIST_ENTRIES_KEPT);
        wake_scope::shrink_to(LIST_ENTRIES_KEPT);
        self.events.shrink_to(LIST_ENTRIES_KEPT);
        self.overdue.shrink_to(LIST_ENTRIES_KEPT);
        self.starved.shrink_to(LIST_ENTRIES_KEPT);
    }

    /// Gives back in a while what a burst leaves.
    #[cold]
    fn trim_later(&mut self) {
        if !std::mem::replace(&mut self.trim_due, true) {
            let at = self.worker_shared.clock.now() + Clock::ticks_in(TRIM_INTERVAL);
            self.wheel.insert(at, Due::Trim);
        }
    }

    fn conn(&mut self, key: ConnKey) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(key.index)?;
        (conn.shared.key == key).then_some(conn)
    }
}

/// Answers everything that waits for this worker: connections fail, sleeps end.
impl<D> Drop for Worker<D> {
    fn drop(&mut self) {
        // After a shutdown no connections are left. After a panic or the failure of a ring, some can be left.
        for conn in self.conns.iter() {
            let mut wakers = conn.shared.end_outbound(|outbound| outbound.close(CloseCause::Shutdown));
            let mut inbound = conn.shared.lock_inbound();
            inbound.finish(End::Failed(CloseCause::Shutdown));
            wakers.extend(conn.shared.take_reader(&mut inbound));
            drop(inbound);
            wakers.into_iter().for_each(Waker::wake);
        }
        for due in self.wheel.drain() {
            if let Due::Sleep(entry) = due {
                entry.fire();
            }
        }
        std::mem::take(&mut self.deliveries).into_iter().for_each(fanout::Delivery::abandon);
        self.connects.abandon();
        self.worker_shared.end();
    }
}

/// Time between a burst and the look at what is left of it, and between two looks.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum failures of a driver in a row for lack of memory. A ring pauses for a millisecond after each.
const ENTER_FAILURES_MAX: u32 = 10_000;
