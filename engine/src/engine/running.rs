//! A running engine: its counters, addresses and shutdown.

use std::fmt;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
#[cfg(unix)]
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::connect::Connect;
use crate::connect::connect;
#[cfg(unix)]
use crate::connect::connect_unix;
use crate::connect::target::ConnectTarget;
#[cfg(unix)]
use crate::engine::lifecycle::Failure;
use crate::engine::lifecycle::Lifecycle;
use crate::engine::spawned::{self, SpawnedTask};
use crate::engine::threads::{HandlerThread, WorkerThread};
use crate::error::Error;
use crate::shared::memory::MemoryBudget;
use crate::shared::worker_shared::WorkerShared;
use crate::shutdown::{Shutdown, ShutdownReport};
use crate::stats::WorkerStats;

/// A worker's thread and the state it shares.
pub(crate) struct WorkerHandle {
    pub(crate) thread: WorkerThread,
    pub(crate) worker_shared: Arc<WorkerShared>,
    pub(crate) connections_max: usize,
}

/// A running engine. Dropping it leaves the engine running; [`shutdown`](Self::shutdown) ends it.
///
/// A program that serves until a signal calls [`run_until_signal`](Self::run_until_signal). One that decides by itself
/// calls [`shutdown`](Self::shutdown), or begins it elsewhere through a [`RunningHandle`] and waits in
/// [`join`](Self::join):
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_engine::{Config, Engine, Shutdown};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let running = Engine::new(Config::default()).bind("127.0.0.1:0")?.start(async |_connection| ())?;
/// println!("{}", running.summary());
/// let handle = running.handle();
/// std::thread::spawn(move || {
///     let mut line = String::new();
///     let _ = std::io::stdin().read_line(&mut line);
///     handle.begin_shutdown(Shutdown::default().drain_timeout(Duration::from_secs(10)));
/// });
/// let report = running.join();
/// println!("{} connections ended by themselves, {} were reset", report.drained, report.forced);
/// # Ok(())
/// # }
/// ```
pub struct Running {
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) handlers: Vec<HandlerThread>,
    pub(crate) watchdog: Option<JoinHandle<()>>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) summary: String,
}

/// Time that [`Running::shutdown`] waits for handlers still running when every connection has ended.
const HANDLERS_END_TIMEOUT: Duration = Duration::from_secs(1);

/// Time from a second signal to the end of the process: more than everything else that is waited for takes.
#[cfg(unix)]
const LAST_RESORT_TIMEOUT: Duration = Duration::from_secs(4);

impl Running {
    /// Returns one line for logs: addresses, engine and kernel features in use, workers, placement, maximum
    /// connections.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Returns the listening addresses, in the order in which they were requested.
    pub fn local_addrs(&self) -> &[Address] {
        &self.addresses
    }

    /// Returns the first TCP address listened on, with the actual port where port 0 was requested, or `None` if all are
    /// Unix-domain sockets.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(Address::ip)
    }

    /// Connects to a TCP server from any thread. Awaiting the returned [`Connect`] works in every executor, and in
    /// [`block_on`](crate::block_on); [`Connect::start`] runs a handler on a thread of the engine instead, which costs
    /// less for each message. The workers take turns. See [`connect`](crate::connect()).
    ///
    /// ```no_run
    /// use tidegate_engine::{Config, Engine, block_on};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let running = Engine::client(Config::default())?;
    /// let answer = block_on(async {
    ///     let mut connection = running.connect("127.0.0.1:7000").await?;
    ///     connection.sender().send("hello\n").await?;
    ///     connection.receive().await.map_err(Box::<dyn std::error::Error>::from)
    /// })?;
    /// # drop(answer);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self, target: impl Into<ConnectTarget>) -> Connect {
        on_next_worker(&self.lifecycle, connect(target))
    }

    /// Connects to a Unix-domain socket from any thread. See [`connect`](Self::connect) and
    /// [`connect_unix`](crate::connect_unix).
    #[cfg(unix)]
    pub fn connect_unix(&self, path: impl Into<PathBuf>) -> Connect {
        on_next_worker(&self.lifecycle, connect_unix(path))
    }

    /// Starts a task on a thread of handlers, where [`connect`](crate::connect()), [`time::sleep`](crate::time::sleep)
    /// and [`spawn_local`](crate::spawn_local) work. `make` is called there, and its future need not be `Send`. The
    /// threads take turns. The task belongs to no connection, so a shutdown does not wait for it.
    ///
    /// ```no_run
    /// use tidegate_engine::{Config, Engine, block_on, connect};
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let running = Engine::client(Config::default())?;
    /// let received = block_on(running.spawn(|| async {
    ///     let mut connection = connect("127.0.0.1:7000").await.ok()?;
    ///     connection.receive().await.ok().flatten().map(|chunk| chunk.len())
    /// }));
    /// println!("{received:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn spawn<T, M, F>(&self, make: M) -> SpawnedTask<T>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        spawned::spawn(&self.lifecycle.next_place().1, make)
    }

    /// Returns the counters of each worker, in the order of their indexes.
    pub fn stats(&self) -> Vec<WorkerStats> {
        self.workers.iter().map(|worker| worker.worker_shared.counters.snapshot()).collect()
    }

    /// Returns the memory that unfinished messages and bodies hold.
    pub fn memory(&self) -> MemoryBudget {
        self.lifecycle.memory.clone()
    }

    /// Returns a handle that can begin a shutdown, connect or read the counters from elsewhere.
    pub fn handle(&self) -> RunningHandle {
        RunningHandle { lifecycle: Arc::clone(&self.lifecycle) }
    }

    /// Shuts down gracefully and waits until every connection has ended, at most about
    /// [`drain_timeout`](Shutdown::drain_timeout). The futures of handlers that still wait for something then are
    /// dropped. A handler that computes or blocks has one more second before its thread is left behind; with
    /// [`Inline`](crate::HandlerPlacement::Inline) placement it holds a worker, which has two. Threads of
    /// [`blocking`](crate::blocking) handlers are not waited for. See [`Shutdown`].
    pub fn shutdown(self, shutdown: Shutdown) -> ShutdownReport {
        self.lifecycle.shut_down(shutdown);
        self.join()
    }

    /// Waits until a shutdown has ended, without limit if none is begun: one begun through a [`RunningHandle`], or by a
    /// worker that failed ([`ShutdownReport::failed_workers`]). See [`shutdown`](Self::shutdown).
    pub fn join(self) -> ShutdownReport {
        let report = self.lifecycle.wait();
        for worker in self.workers {
            // The others are left behind: a handler holds their thread.
            if worker.worker_shared.has_ended() {
                let _ = worker.thread.join();
            }
        }
        let deadline = Instant::now() + HANDLERS_END_TIMEOUT;
        let ends: Vec<_> = self.handlers.into_iter().map(HandlerThread::stop).collect();
        for end in ends {
            // An error means that the thread dropped its end: it has ended.
            let _ = end.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        self.lifecycle.close();
        self.watchdog.into_iter().for_each(|watchdog| drop(watchdog.join()));
        report
    }

    /// Runs until SIGINT or SIGTERM (signal(7)), then shuts down gracefully. A second signal resets the connections
    /// still open; if that does not end the engine within a few seconds, because a handler holds a thread, the signal
    /// ends the process. A third one does so at once. The signals' former dispositions are back when this returns.
    ///
    /// # Errors
    /// [`Error::Signal`] if the signal handlers cannot be installed; the engine is shut down at once.
    /// [`Error::WorkerFailed`] when a worker has failed, at once and without a signal, or did not end in time.
    #[cfg(unix)]
    pub fn run_until_signal(self, shutdown: Shutdown) -> Result<ShutdownReport, Error> {
        let subscribed = super::signals::subscribe().and_then(|(subscription, signals)| {
            let lifecycle = Arc::clone(&self.lifecycle);
            let watch = move || shut_down_at(&signals, &lifecycle, shutdown);
            let watcher = thread::Builder::new().name("tidegate-shutdown".to_owned()).spawn(watch)?;
            Ok((subscription, watcher))
        });
        let (subscription, watcher) = match subscribed {
            Ok(started) => started,
            Err(error) => {
                self.shutdown(Shutdown::immediate());
                return Err(Error::Signal(error));
            }
        };
        let lifecycle = Arc::clone(&self.lifecycle);
        let report = self.join();
        drop(subscription);
        let _ = watcher.join();
        match lifecycle.failure() {
            Some(Failure { worker, reason }) => Err(Error::WorkerFailed { worker, reason }),
            None => Ok(report),
        }
    }
}

/// Makes a connection belong to the next worker.
fn on_next_worker(lifecycle: &Lifecycle, connect: Connect) -> Connect {
    let (worker, queue) = lifecycle.next_place();
    connect.on(worker, queue)
}

/// Shuts down at the first signal, at once at the second, and ends the process if that does not help. Returns when
/// nobody waits for signals any more.
#[cfg(unix)]
fn shut_down_at(signals: &Receiver<i32>, lifecycle: &Lifecycle, shutdown: Shutdown) {
    let Ok(_) = signals.recv() else { return };
    lifecycle.shut_down(shutdown);
    let Ok(second) = signals.recv() else { return };
    lifecycle.shut_down(Shutdown::immediate());
    if !matches!(signals.recv_timeout(LAST_RESORT_TIMEOUT), Err(RecvTimeoutError::Disconnected)) {
        log::error!("the engine did not end in time; ending the process by the signal");
        super::signals::end_process(second);
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// A handle to a running engine, usable from any thread: begins a shutdown, connects and reads counters.
/// [`Running::handle`] creates it; clones are handles to the same engine.
///
/// ```no_run
/// use tidegate_engine::{RunningHandle, WorkerStats};
///
/// /// Returns the number of open connections, for a health page.
/// fn open_connections(handle: &RunningHandle) -> u64 {
///     let mut all = WorkerStats::default();
///     handle.stats().iter().for_each(|worker| all.add(worker));
///     all.connections
/// }
/// ```
#[derive(Clone)]
pub struct RunningHandle {
    lifecycle: Arc<Lifecycle>,
}

impl RunningHandle {
    /// Begins a shutdown and returns at once. A second call can shorten the first, never lengthen it.
    pub fn begin_shutdown(&self, shutdown: Shutdown) {
        self.lifecycle.shut_down(shutdown);
    }

    /// As [`Running::connect`].
    pub fn connect(&self, target: impl Into<ConnectTarget>) -> Connect {
        on_next_worker(&self.lifecycle, connect(target))
    }

    /// As [`Running::connect_unix`].
    #[cfg(unix)]
    pub fn connect_unix(&self, path: impl Into<PathBuf>) -> Connect {
        on_next_worker(&self.lifecycle, connect_unix(path))
    }

    /// As [`Running::spawn`].
    pub fn spawn<T, M, F>(&self, make: M) -> SpawnedTask<T>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        spawned::spawn(&self.lifecycle.next_place().1, make)
    }

    /// Returns the memory that unfinished messages and bodies hold.
    pub fn memory(&self) -> MemoryBudget {
        self.lifecycle.memory.clone()
    }

    /// Returns the counters of each worker.
    pub fn stats(&self) -> Vec<WorkerStats> {
        self.lifecycle.workers().iter().map(|worker| worker.counters.snapshot()).collect()
    }
}

impl fmt::Debug for RunningHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningHandle").field("workers", &self.lifecycle.workers().len()).finish()
    }
}
