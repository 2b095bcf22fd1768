//! Runs handlers, with one queue of runnable tasks per thread.
//!
//! Futures are spawned and polled on the thread that owns the [`Executor`] and need not be `Send`. What is due is in a
//! [`ReadyQueue`]: wakes from that thread take no lock, those from others go through one and the [`Signal`]. A panic in
//! a handler drops its future (and so closes its connection) and nothing else. The end of the executor drops every
//! future, whatever it waits for. Connections without a task are in the tables of `endpoints`.

pub(crate) mod endpoints;
pub mod label;
pub(crate) mod lasting;
mod pulse;
pub(crate) mod successor;
mod tasks;

use std::cell::RefCell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::thread;

use crate::address::Address;
use crate::connection::Connection;
use crate::executor::endpoints::Endpoints;
use crate::executor::lasting::{Arrived, Lasting};
use crate::executor::pulse::Pulse;
use crate::executor::tasks::{Task, Tasks};
use crate::shared::ConnShared;
use crate::shared::ready_queue::{self, ReadyQueue};
use crate::shared::signal::Signal;
use crate::shared::wake_scope;
use crate::shared::wake_scope::WakeScope;
use crate::shared::worker_shared::WorkerShared;
use crate::time;
use crate::util::contained::catch;
use crate::util::sync::Mutex;
use crate::util::task;

pub(crate) use pulse::Beat;

/// Starts a connection's handler on the calling thread.
pub(crate) type Start = dyn Fn(Connection, &Arc<RunQueue>) + Send + Sync;

/// The part of an executor that other threads use.
pub(crate) struct RunQueue {
    inbox: Mutex<Inbox>,
    signal: Arc<Signal>,
    /// The tasks and endpoints that are due.
    ready: Arc<ReadyQueue>,
    pulse: Pulse,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Inbox {
    connections: Vec<Connection>,
    /// Woken tasks that belong to no connection, and calls for the thread.
    lasting: Vec<Arrived>,
    stopped: bool,
    /// The executor has ended. Connections that arrive later are dropped.
    closed: bool,
}

/// What the executor of the current thread has there.
pub(crate) struct Local {
    queue: Arc<RunQueue>,
    /// The connection of the future that a panic has dropped.
    panicked: Option<Arc<ConnShared>>,
    lasting: Lasting,
    endpoints: Endpoints,
    /// What is due while another executor of a simulation has the thread.
    #[cfg(all(test, not(loom)))]
    set_aside: ready_queue::Due,
}

thread_local! {
    /// Set while the thread owns an executor.
    static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) };
}

impl RunQueue {
    /// Creates the queue of an executor on the current thread.
    pub(crate) fn new(signal: Arc<Signal>) -> Arc<Self> {
        let (inbox, tasks) = (Mutex::new(Inbox::default()), Mutex::new(Tasks::default()));
        let ready = ReadyQueue::new(Arc::clone(&signal));
        Arc::new(Self { inbox, signal, ready, pulse: Pulse::new(), tasks })
    }

    /// Returns the queue of what is due.
    pub(crate) fn ready(&self) -> &Arc<ReadyQueue> {
        &self.ready
    }

    /// Hands a new connection to the executor's thread.
    pub(crate) fn start(&self, connection: Connection) {
        {
            let mut inbox = self.inbox.lock();
            if !inbox.closed {
                inbox.connections.push(connection);
            }
        }
        wake_scope::notify(&self.signal);
    }

    /// Calls `call` on the executor's thread. It is dropped if the executor ends first.
    pub(crate) fn call(&self, call: impl FnOnce() + Send + 'static) {
        let call: Box<dyn FnOnce() + Send> = Box::new(call);
        let late = {
            let mut inbox = self.inbox.lock();
            if inbox.closed {
                Some(call)
            } else {
                inbox.lasting.push(Arrived::Call(call));
                None
            }
        };
        drop(late);
        wake_scope::notify(&self.signal);
    }

    /// Asks the executor's thread to end once it has nothing more to run.
    pub(crate) fn stop(&self) {
        self.inbox.lock().stopped = true;
        wake_scope::notify(&self.signal);
    }

    /// Spawns the future of a connection's handler on the current thread, which must own this queue's executor. The
    /// label of the thread is `label` when a poll of the future begins.
    ///
    /// # Panics
    /// If the connection names the executor of another thread, a bug in the caller.
    pub(crate) fn spawn<F>(&self, connection: Arc<ConnShared>, label: u32, future: F)
    where
        F: Future<Output = ()> + 'static,
    {
        assert!(Arc::ptr_eq(&self.ready, &connection.local.ready), "the task of a connection on another thread");
        connection.forget_task(&mut connection.lock_inbound());
        self.tasks.lock().reserve(&connection);
        // SAFETY: the future need not be Send, because its runnables are run and dropped by this thread only: they go
        // to the queue that the connection names, which is this one. Only its executor takes from it, and an executor
        // is not Send. At the executor's end no future is left (see its `drop`, which also cancels the tasks), and a
        // task without a future makes no runnable any more.
        let (runnable, task) = unsafe { task::spawn(connection, label, Spawned(ManuallyDrop::new(future))) };
        self.tasks.lock().keep(task);
        runnable.schedule();
    }

    /// Returns the last sign of life of the executor's thread.
    pub(crate) fn beat(&self) -> Beat {
        self.pulse.beat()
    }

    /// Returns the name of the handler that runs since `beat`, and the peer that it serves if it is a task; `None` if
    /// it has returned.
    pub(crate) fn holder(&self, beat: Beat) -> Option<(String, Option<Address>)> {
        let mut tasks = self.tasks.lock();
        let peer = match beat.task() {
            Pulse::ENDPOINT => None,
            Pulse::STARTING => Some(tasks.starting.as_ref()?.peer()),
            place => Some(tasks.connection(place)?.peer()),
        };
        // A place is used again only after its task has ended, under this lock.
        (self.beat() == beat).then(|| (self.pulse.name(), peer))
    }

    /// Returns whether the thread can end: it was stopped and its inbox is empty. Handlers woken by the shutdown's
    /// resets run first.
    fn is_finished(&self) -> bool {
        let inbox = self.inbox.lock();
        let is_empty = inbox.connections.is_empty() && inbox.lasting.is_empty();
        inbox.stopped && is_empty && self.ready.is_inbox_empty()
    }

    fn is_empty(&self) -> bool {
        let inbox = self.inbox.lock();
        let is_empty = inbox.connections.is_empty() && inbox.lasting.is_empty();
        is_empty && !inbox.stopped && self.ready.is_inbox_empty()
    }
}

/// The owner's side of a run queue. It stays on the thread that created it.
pub(crate) struct Executor {
    queue: Arc<RunQueue>,
    start: Arc<Start>,
    connections: Vec<Connection>,
    // Tasks of this executor must run on this thread only.
    _not_send: std::marker::PhantomData<*const ()>,
}

/// The time at which a handler thread wakes other threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakes {
    /// At the end of a turn.
    Collected,
    /// During a turn, because handlers can compute or block there.
    AtOnce,
}

/// Connections to start for which memory is kept after a burst.
const CONNECTIONS_KEPT: usize = 16;

/// Maximum tasks per turn: bounds how long other work (the ring, the inbox) waits for tasks.
const TURN_TASKS_MAX: usize = 256;

impl Executor {
    pub(crate) fn new(queue: Arc<RunQueue>, start: Arc<Start>) -> Self {
        let local = Local {
            queue: Arc::clone(&queue),
            panicked: None,
            lasting: Lasting::default(),
            endpoints: Endpoints::default(),
            #[cfg(all(test, not(loom)))]
            set_aside: ready_queue::Due::new(),
        };
        LOCAL.with(|current| *current.borrow_mut() = Some(local));
        queue.ready.claim();
        Self { queue, start, connections: Vec::new(), _not_send: std::marker::PhantomData }
    }

    /// Runs one turn of the runnable tasks.
    pub(crate) fn turn(&mut self) {
        self.take_inbox();
        // Tasks woken by this turn run in the next.
        let lasting_due = lasting::due();
        for _ in 0..ready_queue::tasks_due().min(TURN_TASKS_MAX) {
            let Some(runnable) = ready_queue::next_task() else { break };
            self.queue.pulse.begin_task(runnable.owner().task.load(Ordering::Relaxed), runnable.note());
            if let Err(message) = catch(|| runnable.run()) {
                self.log_panic(&message);
            }
        }
        // After the tasks, because an upgrade can make a task's connection an endpoint, which is then served at once.
        let endpoints_due = ready_queue::endpoints_due().min(TURN_TASKS_MAX);
        if endpoints_due > 0 {
            endpoints::poll(&self.queue, endpoints_due);
        }
        self.queue.pulse.rest();
        if lasting_due > 0 {
            run_lasting(lasting_due);
        }
    }

    #[cold]
    fn log_panic(&self, message: &str) {
        let connection = LOCAL.with(|local| local.borrow_mut().as_mut().and_then(|local| local.panicked.take()));
        let name = self.queue.pulse.name();
        match connection {
            Some(connection) => {
                log::error!("{name} panicked and its connection with {} is closed: {message}", connection.peer());
            }
            None => log::error!("{name} panicked and its connection is closed: {message}"),
        }
    }

    /// Returns whether a task of this thread is runnable or an endpoint is due.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        ready_queue::tasks_due() > 0 || ready_queue::endpoints_due() > 0 || lasting::due() > 0
    }

    /// Returns whether there is nothing to run and no connection to start. To be called after announcing a sleep.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_work() && self.queue.is_empty()
    }

    fn take_inbox(&mut self) {
        let has_lasting = {
            let mut inbox = self.queue.inbox.lock();
            std::mem::swap(&mut inbox.connections, &mut self.connections);
            inbox.stopped || !inbox.lasting.is_empty()
        };
        self.queue.ready.take_inbox();
        if has_lasting {
            self.queue_lasting();
        }
        if !self.connections.is_empty() {
            self.start_connections();
        }
    }

    /// Moves woken tasks that belong to no connection to the queue of this thread, and makes the calls. The tasks end
    /// once the thread is stopped.
    #[cold]
    fn queue_lasting(&mut self) {
        let (arrived, stopped) = {
            let mut inbox = self.queue.inbox.lock();
            (std::mem::take(&mut inbox.lasting), inbox.stopped)
        };
        lasting::take_in(arrived);
        if stopped {
            lasting::end();
        }
    }

    /// Starts the handlers of the taken connections.
    fn start_connections(&mut self) {
        for connection in self.connections.drain(..) {
            let shared = &connection.sender().shared;
            time::enter_first(shared.worker());
            self.queue.tasks.lock().starting = Some(Arc::clone(shared));
            self.queue.pulse.begin(Pulse::STARTING);
            (self.start)(connection, &self.queue);
            self.queue.pulse.rest();
            let started = self.queue.tasks.lock().starting.take();
            drop(started);
        }
        self.connections.shrink_to(CONNECTIONS_KEPT);
    }

    /// Runs the loop of a handler thread until stopped.
    pub(crate) fn run(mut self, wakes: Wakes) {
        loop {
            let scope = (wakes == Wakes::Collected).then(WakeScope::begin);
            self.turn();
            drop(scope);
            if self.has_work() {
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

/// Runs tasks that belong to no connection. They contain their panics.
#[cold]
fn run_lasting(due: usize) {
    for _ in 0..due {
        if let Some(runnable) = lasting::next() {
            runnable.run();
        }
    }
}

/// Returns the queue of the current thread's executor; `None` if it runs no handlers.
pub(crate) fn current_queue() -> Option<Arc<RunQueue>> {
    LOCAL.try_with(|local| local.borrow().as_ref().map(|local| Arc::clone(&local.queue))).ok().flatten()
}

/// Returns the worker of the connection whose handler runs on the current thread.
pub(crate) fn current_worker() -> Option<Arc<WorkerShared>> {
    let queue = current_queue()?;
    let connection = {
        let mut tasks = queue.tasks.lock();
        match queue.pulse.current() {
            Pulse::STARTING => tasks.starting.clone(),
            place => tasks.connection(place),
        }
    };
    connection.map(|connection| Arc::clone(connection.worker()))
}

/// Swaps the executor of the current thread, for simulations of several threads on one.
#[cfg(all(test, not(loom)))]
pub(crate) fn swap_local(other: &mut Option<Local>) {
    let (next, due) = match other {
        Some(other) => (Some(Arc::clone(other.queue.ready())), std::mem::take(&mut other.set_aside)),
        None => (None, ready_queue::Due::new()),
    };
    let due = ready_queue::exchange(next.as_ref(), due);
    LOCAL.with(|local| std::mem::swap(&mut *local.borrow_mut(), other));
    if let Some(other) = other {
        other.set_aside = due;
    }
}

impl Drop for Executor {
    /// Drops every future, whatever it waits for.
    ///
    /// A future is dropped with its task's runnable. Cancelling a task that waits makes one; that of a task that was
    /// woken is in a queue, or on its way to one from another thread, which does not take long.
    fn drop(&mut self) {
        {
            let mut inbox = self.queue.inbox.lock();
            inbox.closed = true;
            self.connections.append(&mut inbox.connections);
        }
        self.connections.clear();
        let tasks = self.queue.tasks.lock().take_all();
        tasks.into_iter().for_each(Task::cancel);
        endpoints::end();
        lasting::end();
        loop {
            let lasting = std::mem::take(&mut self.queue.inbox.lock().lasting);
            self.queue.ready.take_inbox();
            // Dropping a future can wake other tasks of this thread, so the cell must not be borrowed.
            while let Some(runnable) = ready_queue::next_task() {
                drop(runnable);
            }
            drop(lasting);
            while let Some(runnable) = lasting::next() {
                drop(runnable);
            }
            if self.queue.tasks.lock().futures() == 0 && lasting::futures() == 0 {
                break;
            }
            thread::yield_now();
        }
        // Tasks can have made further connections endpoints when they were dropped.
        endpoints::end();
        ReadyQueue::release();
        let local = LOCAL.try_with(|local| local.borrow_mut().take());
        drop(local);
    }
}

/// The future of a handler. Its end takes its task out of the table. A panic in its destructor ends there: in a task it
/// would abort the process.
struct Spawned<F>(ManuallyDrop<F>);

impl<F: Future<Output = ()>> Future for Spawned<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the field is pinned with the struct: nothing moves it out, and it is dropped in its place.
        unsafe { self.map_unchecked_mut(|spawned| &mut *spawned.0) }.poll(cx)
    }
}

impl<F> Drop for Spawned<F> {
    fn drop(&mut self) {
        // SAFETY: this is the future's only drop, and nothing uses it afterwards.
        let dropped = catch(|| unsafe { ManuallyDrop::drop(&mut self.0) });
        let local = LOCAL.try_with(|local| local.borrow().as_ref().map(|local| Arc::clone(&local.queue)));
        let Ok(Some(queue)) = local else { return };
        let task = queue.tasks.lock().remove(queue.pulse.current());
        if let Err(message) = dropped {
            log::error!("{}'s destructor panicked: {message}", queue.pulse.name());
        }
        let Some(task) = task else { return };
        if thread::panicking() {
            let connection = Arc::clone(task.owner());
            LOCAL.with(|local| {
                if let Some(local) = &mut *local.borrow_mut() {
                    local.panicked = Some(connection);
                }
            });
        }
    }
}
