//! The engine's threads: one per worker, and the handler threads.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use core_affinity::CoreId;

use crate::config::{Checked, HandlerPlacement, ThreadHooks};
use crate::driver::listener::Listener;
use crate::driver::portable::PortableDriver;
use crate::driver::{Capabilities, Driver};
use crate::engine::lifecycle::Lifecycle;
use crate::error::Error;
use crate::executor::{Executor, RunQueue, Start, Wakes};
use crate::shared::engine_shared::EngineShared;
use crate::shared::signal::Signal;
use crate::shared::worker_shared::WorkerShared;
use crate::time;
use crate::util::biased_lock;
use crate::util::contained::catch;
use crate::worker::Worker;

/// The I/O backend that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    #[cfg(target_os = "linux")]
    Uring,
    Portable,
}

/// The report of a worker's thread once it is set up.
pub(super) struct WorkerReady {
    pub(super) worker_shared: Arc<WorkerShared>,
    pub(super) capabilities: Capabilities,
    pub(super) handler: Option<HandlerThread>,
    /// The queue of its inline handlers.
    pub(super) inline: Option<Arc<RunQueue>>,
}

/// A handler thread's queue, and the channel that closes when it ends.
pub(crate) struct HandlerThread {
    pub(crate) queue: Arc<RunQueue>,
    pub(crate) ended: Receiver<()>,
    timers: Sender<Arc<WorkerShared>>,
}

impl HandlerThread {
    /// Lets the thread use the timers of a worker. Until it can, it runs nothing.
    pub(super) fn use_timers_of(&self, worker: &Arc<WorkerShared>) {
        // Fails only if the thread has ended.
        let _ = self.timers.send(Arc::clone(worker));
    }

    /// Asks the thread to end. Returns the channel that closes then.
    pub(super) fn stop(self) -> Receiver<()> {
        self.queue.stop();
        self.ended
    }
}

/// The parameters of a worker's thread.
pub(super) struct WorkerSetup {
    pub(super) index: usize,
    pub(super) backend: Backend,
    pub(super) epoch: Instant,
    pub(super) checked: Arc<Checked>,
    pub(super) start: Arc<Start>,
    /// The queues of shared handler threads, under [`HandlerPlacement::Threads`].
    pub(super) queues: Vec<Arc<RunQueue>>,
    /// The core to pin the worker and its handler thread to.
    pub(super) core: Option<CoreId>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) engine: Arc<EngineShared>,
    /// Maximum connections that take a descriptor of the process.
    pub(super) regular_max: usize,
}

pub(crate) type WorkerThread = JoinHandle<()>;

impl WorkerSetup {
    pub(super) fn spawn(self, listeners: Vec<Listener>) -> Result<(WorkerThread, WorkerReady), Error> {
        self.spawn_with(move |setup, ready| setup.run(listeners, ready))
    }

    /// Spawns the worker with a driver that is made on its thread and has one listener.
    #[cfg(feature = "testing")]
    pub(super) fn spawn_on<D: Driver>(
        self,
        driver: impl FnOnce() -> D + Send + 'static,
    ) -> Result<(WorkerThread, WorkerReady), Error> {
        self.spawn_with(move |setup, ready| setup.serve(Ok(driver()), 1, ready))
    }

    fn spawn_with(
        self,
        run: impl FnOnce(Self, &Sender<Result<WorkerReady, Error>>) + Send + 'static,
    ) -> Result<(WorkerThread, WorkerReady), Error> {
        let (ready, report) = channel();
        let name = format!("tidegate-worker-{}", self.index);
        let thread = thread::Builder::new().name(name).spawn(move || run(self, &ready));
        let thread = thread.map_err(Error::Worker)?;
        let error = match report.recv() {
            Ok(Ok(ready)) => return Ok((thread, ready)),
            Ok(Err(error)) => error,
            Err(_) => Error::Worker(io::Error::other("a worker thread ended during its setup")),
        };
        // Its listeners are closed when it has ended.
        let _ = thread.join();
        Err(error)
    }

    fn run(self, listeners: Vec<Listener>, ready: &Sender<Result<WorkerReady, Error>>) {
        self.core.into_iter().for_each(pin);
        let connections_max = self.checked.config.connections_max;
        match self.backend {
            #[cfg(target_os = "linux")]
            Backend::Uring => {
                use crate::driver::uring::UringDriver;
                let uring = &self.checked.config.uring;
                let count = listeners.len();
                let regular_max = self.regular_max;
                let driver = UringDriver::new(uring, connections_max, regular_max, listeners, self.epoch);
                let driver = driver.map_err(|reason| Error::UringUnavailable { reason });
                self.serve(driver, count, ready)
            }
            Backend::Portable => {
                let count = listeners.len();
                let connections_max = connections_max.min(self.regular_max);
                let driver = PortableDriver::new(connections_max, listeners, self.epoch).map_err(Error::Worker);
                self.serve(driver, count, ready)
            }
        }
    }

    fn serve<D: Driver>(self, driver: Result<D, Error>, listeners: usize, ready: &Sender<Result<WorkerReady, Error>>) {
        let driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let (inbound, outbound) = (self.checked.inbound, self.checked.outbound);
        let clock = driver.clock(self.epoch);
        let worker_shared =
            WorkerShared::new(self.index, driver.signal(), clock, inbound, outbound, Arc::clone(&self.engine));
        time::enter(&worker_shared);
        let capabilities = driver.capabilities().clone();
        let (queues, inline, handler) = match self.handlers(&driver.signal(), &worker_shared) {
            Ok(handlers) => handlers,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let config = Arc::new(self.checked.config.clone());
        let inline_queue = inline.is_some().then(|| queues.first().cloned()).flatten();
        let places = queues.clone();
        let hooks = if inline.is_some() { config.thread_hooks.clone() } else { ThreadHooks::default() };
        let worker = Worker::new(driver, Arc::clone(&worker_shared), config, listeners, queues, inline);
        let mut prepared = Some((worker, WorkerReady { worker_shared, capabilities, handler, inline: inline_queue }));
        hooks.run(&mut || {
            let Some((worker, report)) = prepared.take() else { return };
            self.lifecycle.add(&report.worker_shared, places.clone());
            let _ = ready.send(Ok(report));
            // The worker, its ring and its sockets are gone when this returns.
            let outcome = match catch(|| worker.run()) {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(message) => Err(format!("its thread panicked: {message}")),
            };
            self.lifecycle.end(self.index, outcome);
        });
    }

    /// Sets up the queues of this worker's handlers and the executor or thread that runs them.
    #[expect(clippy::type_complexity, reason = "used once, named by its parts")]
    fn handlers(
        &self,
        signal: &Arc<Signal>,
        worker: &Arc<WorkerShared>,
    ) -> Result<(Vec<Arc<RunQueue>>, Option<Executor>, Option<HandlerThread>), Error> {
        Ok(match self.checked.config.placement {
            HandlerPlacement::Threads(_) => (self.queues.clone(), None, None),
            HandlerPlacement::Inline => {
                // A connection's handler and its worker always run on this thread.
                biased_lock::claim();
                let queue = RunQueue::new(Arc::clone(signal));
                let executor = Executor::new(Arc::clone(&queue), Arc::clone(&self.start));
                (vec![queue], Some(executor), None)
            }
            HandlerPlacement::SameCore => {
                let name = format!("tidegate-handler-{}", self.index);
                let hooks = &self.checked.config.thread_hooks;
                let thread = spawn_handler_thread(&name, self.core, Wakes::Collected, &self.start, hooks)?;
                thread.use_timers_of(worker);
                (vec![Arc::clone(&thread.queue)], None, Some(thread))
            }
        })
    }
}

pub(super) fn spawn_handler_thread(
    name: &str,
    core: Option<CoreId>,
    wakes: Wakes,
    start: &Arc<Start>,
    hooks: &ThreadHooks,
) -> Result<HandlerThread, Error> {
    let (queue_out, queue_in) = channel();
    let (ended_out, ended) = channel();
    let (timers, timers_in) = channel::<Arc<WorkerShared>>();
    let (start, hooks) = (Arc::clone(start), hooks.clone());
    let body = move || {
        core.into_iter().for_each(pin);
        let current = thread::current();
        let queue = RunQueue::new(Signal::new(move || current.unpark()));
        let mut executor = Some(Executor::new(Arc::clone(&queue), start));
        hooks.run(&mut || {
            let Some(executor) = executor.take() else { return };
            let _ = queue_out.send(Arc::clone(&queue));
            // An error means that no worker has started: the queue is then stopped.
            if let Ok(worker) = timers_in.recv() {
                time::enter_first(&worker);
            }
            executor.run(wakes);
        });
        drop(ended_out);
    };
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(Error::Worker)?;
    let queue =
        queue_in.recv().map_err(|_| Error::Worker(io::Error::other("a handler thread ended while starting")))?;
    Ok(HandlerThread { queue, ended, timers })
}

/// Returns the cores for `workers` workers, of those that the process may use; none if they are unknown.
pub(super) fn cores_for(workers: usize) -> Vec<CoreId> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if cores.is_empty() {
        return cores;
    }
    let first = if workers < cores.len() { std::process::id() as usize % cores.len() } else { 0 };
    cores.iter().cycle().skip(first).take(workers).copied().collect()
}

/// Pins the current thread to a core.
fn pin(core: CoreId) {
    if !core_affinity::set_for_current(core) {
        log::warn!("cannot pin a thread to core {}; set `pin` to false if this process cannot use the core", core.id);
    }
}
