//! What a worker and a connection's handler share: the two bounded buffers, the deadlines and the worker's mailbox.
//!
//! Lock order: at most one of a link's locks is held at a time, and none while a waker is called or a command posted.

pub(crate) mod chunk;
pub(crate) mod inbound;
pub(crate) mod mailbox;
pub(crate) mod outbound;
pub(crate) mod send_batch;
pub(crate) mod waiters;
pub(crate) mod wake_scope;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::driver::SocketTask;
use crate::error::{Address, CloseCause};
use crate::fanout::Lane;
use crate::shared::inbound::{Inbound, InboundMarks};
use crate::shared::mailbox::Mailbox;
use crate::shared::outbound::{Outbound, OutboundMarks, Schedule};
use crate::shutdown::ShutdownPlan;
use crate::stats::Counters;
use crate::time::SleepEntry;
use crate::util::biased_lock::Biased;

/// Names one connection of one worker for as long as it lives: a reused slot has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// How a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// Send what is queued, then FIN, drain the peer's input, close.
    Orderly,
    /// Drop what is queued and reset.
    Abort(CloseCause),
}

/// What other threads ask of a worker.
pub(crate) enum Command {
    /// Outbound bytes, or the end of them, are queued.
    Flush(ConnKey),
    /// The inbound buffer has come down to its low mark.
    Resume(ConnKey),
    /// A deadline was set that is earlier than the armed timer.
    Deadline(ConnKey),
    Close(ConnKey, CloseMode),
    /// Run a task on the connection's socket.
    Socket(ConnKey, SocketTask),
    Sleep(Arc<SleepEntry>),
    CancelSleep(Arc<SleepEntry>),
    /// A fan-out that rested has something for members of this worker.
    FanOut(Arc<Lane>),
    /// Begin the graceful shutdown.
    Shutdown(ShutdownPlan),
}

/// What a worker shows to other threads.
pub(crate) struct WorkerShared {
    pub(crate) index: usize,
    pub(crate) mailbox: Mailbox<Command>,
    pub(crate) clock: Clock,
    pub(crate) inbound: InboundMarks,
    pub(crate) outbound: OutboundMarks,
    pub(crate) counters: Counters,
    /// The worker has ended: who posts a command answers it.
    pub(crate) ended: AtomicBool,
}

impl WorkerShared {
    /// Asks the worker for something; once it has ended, answers what can be answered without it.
    pub(crate) fn post(&self, command: Command) {
        self.mailbox.post(command);
        self.look_whether_ended();
    }

    /// [`post`](Self::post) for each of `commands`, which are moved out.
    pub(crate) fn post_all(&self, commands: &mut Vec<Command>) {
        self.mailbox.post_all(commands);
        self.look_whether_ended();
    }

    fn look_whether_ended(&self) {
        // The mailbox's lock orders this after the worker's last look, or that look after the command.
        if self.ended.load(Ordering::Relaxed) {
            self.answer_all();
        }
    }

    /// The worker has taken its last look.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.answer_all();
    }

    /// Answers commands that no worker will take: nobody may wait for ever.
    fn answer_all(&self) {
        let mut commands = Vec::new();
        self.mailbox.take(&mut commands);
        for command in commands {
            match command {
                Command::Sleep(entry) => entry.fire(),
                Command::FanOut(lane) => lane.abandon(),
                Command::Socket(_, task) => task(Err(std::io::ErrorKind::NotConnected.into())),
                _ => {}
            }
        }
    }
}

/// The worker's time in ticks, advanced once a worker tick; readable from every thread.
pub(crate) struct Clock {
    epoch: Instant,
    ticks: AtomicU64,
}

/// The granularity of every deadline: it passes at most this long after its time (plus the time a busy worker needs to
/// come round), and never before. A timeout, which counts from an event, may pass twice this long after its time.
pub const TICK: Duration = Duration::from_millis(8);

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

impl Clock {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch, ticks: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, elapsed: Duration) -> u64 {
        let ticks = (elapsed.as_millis() / TICK.as_millis()) as u64;
        self.ticks.store(ticks, Ordering::Relaxed);
        ticks
    }

    /// The tick at which `timeout` has passed from now on, asked on any thread: an idle worker's ticks stand still.
    pub(crate) fn tick_from_now(&self, timeout: Duration) -> u64 {
        let now = (self.epoch.elapsed().as_millis() / TICK.as_millis()) as u64;
        now.max(self.now()).saturating_add(1).saturating_add(Self::ticks_in(timeout))
    }

    /// The tick at which `timeout` has passed, counted from some moment within the present tick.
    pub(crate) fn after(&self, timeout: Duration) -> u64 {
        self.now().saturating_add(1).saturating_add(Self::ticks_in(timeout))
    }

    /// The first tick at or after `deadline`.
    pub(crate) fn tick_of(&self, deadline: Instant) -> u64 {
        Self::ticks_in(deadline.saturating_duration_since(self.epoch))
    }

    /// Ticks that cover `duration`, rounded up.
    pub(crate) fn ticks_in(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(NEVER)
    }

    /// Time from the epoch to `tick`.
    pub(crate) fn since_epoch(tick: u64) -> Duration {
        Duration::from_millis(tick.saturating_mul(TICK.as_millis() as u64))
    }
}

/// The deadlines of a connection, written by its handler and read by its worker's timer.
pub(crate) struct Deadlines {
    pub(crate) read: AtomicU64,
    pub(crate) write: AtomicU64,
    pub(crate) lifetime: AtomicU64,
    /// Ticks; 0 for none.
    pub(crate) idle: AtomicU32,
    /// Ticks a send may take; 0 for ever.
    pub(crate) stall: AtomicU32,
    /// The tick at which the worker will next look at this connection's deadlines.
    pub(crate) armed: AtomicU64,
}

impl Deadlines {
    fn new() -> Self {
        Self {
            read: AtomicU64::new(NEVER),
            write: AtomicU64::new(NEVER),
            lifetime: AtomicU64::new(NEVER),
            idle: AtomicU32::new(0),
            stall: AtomicU32::new(0),
            armed: AtomicU64::new(NEVER),
        }
    }
}

/// The shared state of one connection.
///
/// In the order of use, so that a message touches few cache lines.
#[repr(C)]
pub(crate) struct ConnShared {
    pub(crate) key: ConnKey,
    pub(crate) worker: Arc<WorkerShared>,
    pub(crate) inbound: Biased<Inbound>,
    pub(crate) outbound: Biased<Outbound>,
    /// The reader waits: it has found the inbound buffer empty and open and left its waker, and nothing has happened
    /// since. Written under the inbound lock; lets the reader be pending once more without taking it.
    reader_parked: AtomicBool,
    pub(crate) draining: AtomicBool,
    /// The outbound queue takes no more: what readers look at instead of locking it.
    finished: AtomicBool,
    pub(crate) deadlines: Deadlines,
    pub(crate) peer: Address,
    /// Shared: the connections of a listener have few among them.
    pub(crate) local: Arc<Address>,
}

impl ConnShared {
    pub(crate) fn new(key: ConnKey, worker: Arc<WorkerShared>, peer: Address, local: Arc<Address>) -> Arc<Self> {
        Arc::new(Self {
            key,
            worker,
            inbound: Biased::new(Inbound::new()),
            outbound: Biased::new(Outbound::new()),
            deadlines: Deadlines::new(),
            reader_parked: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            peer,
            local,
        })
    }

    pub(crate) fn post(&self, command: Command) {
        wake_scope::post(&self.worker, command);
    }

    /// Tells the worker about queued bytes, if it does not know.
    pub(crate) fn tell(&self, schedule: Schedule) {
        if schedule == Schedule::NeedsWake {
            self.post(Command::Flush(self.key));
        }
    }

    /// Changes the outbound queue in a way that may end it: every such change, so that `finished` holds before anyone
    /// is woken for it.
    pub(crate) fn end_outbound<T>(&self, end: impl FnOnce(&mut Outbound) -> T) -> T {
        let mut outbound = self.outbound.lock();
        let answer = end(&mut outbound);
        if outbound.check_open().is_err() {
            self.finished.store(true, Ordering::Release);
        }
        answer
    }

    /// Leaves the reader's waker in the buffer, which must be empty and open.
    pub(crate) fn await_input(&self, inbound: &mut Inbound, waker: &Waker) {
        inbound.set_waker(waker);
        self.reader_parked.store(true, Ordering::Release);
    }

    /// The reader's waker, if it waits: to be woken once the lock is released.
    pub(crate) fn take_reader(&self, inbound: &mut Inbound) -> Option<Waker> {
        self.reader_parked.store(false, Ordering::Release);
        inbound.take_waker()
    }

    /// Whether nothing has happened since the reader left its waker.
    pub(crate) fn is_reader_parked(&self) -> bool {
        self.reader_parked.load(Ordering::Acquire)
    }

    /// Whether the outbound queue takes no more bytes.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Sets one deadline; the worker is told only when its timer would come too late.
    pub(crate) fn set_deadline(&self, which: &AtomicU64, tick: u64) {
        which.store(tick, Ordering::SeqCst);
        self.notify_deadline(tick);
    }

    pub(crate) fn set_stall(&self, timeout: Option<Duration>) {
        self.deadlines.stall.store(timeout_ticks(timeout), Ordering::SeqCst);
        // The worker reads it when a send begins. One that has begun already began under the queue's lock.
        if self.outbound.lock().bytes() > 0 {
            self.post(Command::Deadline(self.key));
        }
    }

    pub(crate) fn set_idle(&self, timeout: Option<Duration>) {
        let ticks = timeout_ticks(timeout);
        self.deadlines.idle.store(ticks, Ordering::SeqCst);
        if ticks != 0 {
            self.notify_deadline(self.worker.clock.now().saturating_add(u64::from(ticks)));
        }
    }

    fn notify_deadline(&self, tick: u64) {
        if tick < self.deadlines.armed.load(Ordering::SeqCst) {
            self.post(Command::Deadline(self.key));
        }
    }
}

/// A timeout as it is stored: 0 for none.
fn timeout_ticks(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |timeout| Clock::ticks_in(timeout).clamp(1, u64::from(u32::MAX)) as u32)
}
