//! Runs handlers, with one queue of runnable tasks per thread.
//!
//! Futures are spawned and polled on the thread that owns the [`Executor`] and need not be `Send`. Wakes from that
//! thread go to a plain local queue; wakes from others go through a lock and the announced-sleep [`Signal`]. A panic in
//! a handler drops its future (and so closes its connection) and nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::task::Waker;

use async_task::{Runnable, Task};

use crate::connection::Connection;
use crate::shared::signal::Signal;
use crate::shared::wake_scope;
use crate::shared::wake_scope::WakeScope;
use crate::time;
use crate::util::contained::contain;
use crate::util::sync::Mutex;

/// Starts a connection's handler on the calling thread.
pub(crate) type Start = dyn Fn(Connection, &Arc<RunQueue>) + Send + Sync;

/// The part of an executor that other threads use.
pub(crate) struct RunQueue {
    inbox: Mutex<Inbox>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Inbox {
    connections: Vec<Connection>,
    runnables: Vec<Runnable>,
    stopped: bool,
}

/// The runnable tasks of the current thread.
pub(crate) struct Local {
    owner: usize,
    runnables: VecDeque<Runnable>,
    queue: Arc<RunQueue>,
    /// Tasks of this thread that outlive connections, by number. They are dropped with the executor.
    lasting: BTreeMap<u64, Waker>,
    /// Whether those tasks must end.
    ending: bool,
}

thread_local! {
    /// The runnable tasks of this thread; set while it owns an executor.
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

impl RunQueue {
    pub(crate) fn new(signal: Arc<Signal>) -> Arc<Self> {
        Arc::new(Self { inbox: Mutex::new(Inbox::default()), signal })
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// Hands a new connection to the executor's thread.
    pub(crate) fn start(&self, connection: Connection) {
        self.inbox.lock().connections.push(connection);
        wake_scope::notify(&self.signal);
    }

    /// Asks the executor's thread to end once it has nothing more to run.
    pub(crate) fn stop(&self) {
        self.inbox.lock().stopped = true;
        wake_scope::notify(&self.signal);
    }

    /// Spawns `future` on the current thread, which must own this queue's executor.
    pub(crate) fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + 'static) {
        self.spawn_task(future).detach();
    }

    /// Spawns `future` as [`spawn`](Self::spawn) does. Dropping the result cancels it.
    pub(crate) fn spawn_task<F: Future + 'static>(self: &Arc<Self>, future: F) -> Task<F::Output> {
        let queue = Arc::clone(self);
        let (runnable, task) = async_task::spawn_local(future, move |runnable| queue.schedule(runnable));
        runnable.schedule();
        task
    }

    fn schedule(&self, runnable: Runnable) {
        let mut runnable = Some(runnable);
        let local = LOCAL.try_with(|local| match &mut *local.borrow_mut() {
            Some(local) if local.owner == self.id() => {
                if let Some(runnable) = runnable.take() {
                    local.runnables.push_back(runnable);
                }
                true
            }
            _ => false,
        });
        if let (Ok(false) | Err(_), Some(runnable)) = (local, runnable) {
            self.inbox.lock().runnables.push(runnable);
            wake_scope::notify(&self.signal);
        }
    }

    /// Returns whether the thread can end: it was stopped and its inbox is empty. Handlers woken by the shutdown's
    /// resets run first.
    fn is_finished(&self) -> bool {
        let inbox = self.inbox.lock();
        inbox.stopped && inbox.connections.is_empty() && inbox.runnables.is_empty()
    }

    fn is_empty(&self) -> bool {
        let inbox = self.inbox.lock();
        inbox.connections.is_empty() && inbox.runnables.is_empty() && !inbox.stopped
    }
}

/// The owner's side of a run queue. It stays on the thread that created it.
pub(crate) struct Executor {
    queue: Arc<RunQueue>,
    start: Arc<Start>,
    connections: Vec<Connection>,
    runnables: Vec<Runnable>,
    // Tasks of this executor must run on this thread only.
    _not_send: std::marker::PhantomData<*const ()>,
}

/// Maximum tasks per turn: bounds how long other work (the ring, the inbox) waits for tasks.
const TURN_TASKS_MAX: usize = 256;

impl Executor {
    pub(crate) fn new(queue: Arc<RunQueue>, start: Arc<Start>) -> Self {
        let local = Local {
            owner: queue.id(),
            runnables: VecDeque::new(),
            queue: Arc::clone(&queue),
            lasting: BTreeMap::new(),
            ending: false,
        };
        LOCAL.with(|current| *current.borrow_mut() = Some(local));
        Self { queue, start, connections: Vec::new(), runnables: Vec::new(), _not_send: std::marker::PhantomData }
    }

    /// Runs one turn of the runnable tasks. Returns whether something is left to run.
    pub(crate) fn turn(&mut self) -> bool {
        self.take_inbox();
        // Tasks woken by this turn run in the next.
        let due = LOCAL.with(|local| local.borrow().as_ref().map_or(0, |l| l.runnables.len())).min(TURN_TASKS_MAX);
        for _ in 0..due {
            let Some(runnable) = next_local() else { break };
            // `run` closes the task and drops its future; the panic hook has reported the panic.
            let run = || {
                runnable.run();
            };
            if !contain(run) {
                log::error!("a handler panicked; its connection is closed");
            }
        }
        self.has_work()
    }

    /// Returns whether the local queue has a runnable task.
    fn has_work(&self) -> bool {
        LOCAL.with(|local| local.borrow().as_ref().is_some_and(|l| !l.runnables.is_empty()))
    }

    /// Returns whether there is nothing to run and no connection to start. To be called after announcing a sleep.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_work() && self.queue.is_empty()
    }

    fn take_inbox(&mut self) {
        let stopped = {
            let mut inbox = self.queue.inbox.lock();
            std::mem::swap(&mut inbox.connections, &mut self.connections);
            std::mem::swap(&mut inbox.runnables, &mut self.runnables);
            inbox.stopped
        };
        if stopped {
            end_lasting();
        }
        if !self.runnables.is_empty() {
            LOCAL.with(|local| {
                if let Some(local) = &mut *local.borrow_mut() {
                    local.runnables.extend(self.runnables.drain(..));
                }
            });
        }
        for connection in self.connections.drain(..) {
            time::enter_first(&connection.sender().shared.worker);
            (self.start)(connection, &self.queue);
        }
    }

    /// Runs the loop of a handler thread until stopped. Wakes of other threads are collected for a turn, or sent
    /// `at_once` where handlers can compute or block during a turn.
    pub(crate) fn run(mut self, at_once: bool) {
        loop {
            let scope = (!at_once).then(WakeScope::begin);
            let more = self.turn();
            drop(scope);
            if more {
                continue;
            }
            self.queue.signal.announce_sleep();
            if self.is_idle() {
                std::thread::park();
            }
            self.queue.signal.awake();
            if self.queue.is_finished() && !self.has_work() {
                return;
            }
        }
    }
}

/// Returns the queue of the current thread; `None` if it runs no handlers.
pub(crate) fn current_queue() -> Option<Arc<RunQueue>> {
    LOCAL.try_with(|local| local.borrow().as_ref().map(|local| Arc::clone(&local.queue))).ok().flatten()
}

/// Adds the waker of a task that outlives connections. It is woken when the executor ends, and then dropped.
pub(crate) fn add_lasting(waker: Waker) -> u64 {
    let add = |local: &RefCell<Option<Local>>| {
        let local = &mut *local.borrow_mut();
        let lasting = &mut local.as_mut()?.lasting;
        let number = lasting.last_key_value().map_or(0, |(last, _)| last + 1);
        lasting.insert(number, waker);
        Some(number)
    };
    LOCAL.try_with(add).ok().flatten().unwrap_or_default()
}

/// Returns whether the tasks that outlive connections must end, because their thread does.
pub(crate) fn is_ending() -> bool {
    LOCAL.try_with(|local| local.borrow().as_ref().is_none_or(|local| local.ending)).unwrap_or(true)
}

/// Makes the tasks that outlive connections end when they next run, and schedules them.
fn end_lasting() {
    let end = |local: &RefCell<Option<Local>>| {
        let mut local = local.borrow_mut();
        let local = local.as_mut()?;
        local.ending = true;
        Some(std::mem::take(&mut local.lasting))
    };
    let lasting = LOCAL.try_with(end).ok().flatten().unwrap_or_default();
    lasting.into_values().for_each(Waker::wake);
}

/// Removes a task that [`add_lasting`] added.
pub(crate) fn remove_lasting(number: u64) {
    let removed = LOCAL.try_with(|local| local.borrow_mut().as_mut().and_then(|local| local.lasting.remove(&number)));
    // Dropped outside the borrow: it can be the last reference to its task.
    drop(removed);
}

fn next_local() -> Option<Runnable> {
    LOCAL.with(|local| local.borrow_mut().as_mut()?.runnables.pop_front())
}

/// Swaps the executor of the current thread, for simulations of several threads on one.
#[cfg(all(test, not(loom)))]
pub(crate) fn swap_local(other: &mut Option<Local>) {
    LOCAL.with(|local| std::mem::swap(&mut *local.borrow_mut(), other));
}

impl Drop for Executor {
    fn drop(&mut self) {
        // They are among the tasks dropped below.
        end_lasting();
        // Dropping a runnable drops its future, which can wake other tasks of this thread, so the cell must not be
        // borrowed.
        while let Some(runnable) = next_local() {
            contain(|| drop(runnable));
        }
        let _ = LOCAL.try_with(|local| local.borrow_mut().take());
    }
}
