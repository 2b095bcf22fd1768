//! An engine that serves: what an application reads of it, and how it ends.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::engine::threads::{HandlerThread, WorkerThread};
use crate::error::Error;
use crate::shared::command::Command;
use crate::shared::worker_shared::WorkerShared;
use crate::shutdown::{Shutdown, ShutdownReport};
use crate::stats::WorkerStats;

/// A worker's thread and what it shows.
pub(crate) struct WorkerHandle {
    pub(crate) thread: WorkerThread,
    pub(crate) worker_shared: Arc<WorkerShared>,
    pub(crate) connections_max: usize,
}

/// An engine that serves. Dropping it leaves the engine serving; [`shutdown`](Self::shutdown) ends it.
pub struct Running {
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) handlers: Vec<HandlerThread>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) summary: String,
}

/// How long [`Running::shutdown`] waits for handlers that are still running when every connection has ended.
const HANDLERS_END_TIMEOUT: Duration = Duration::from_secs(1);

impl Running {
    /// One line for people: addresses, engine and kernel features in use, workers, placement, connections it can hold.
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The addresses listened on, in the order they were asked for.
    pub fn local_addrs(&self) -> &[Address] {
        &self.addresses
    }

    /// The first TCP address listened on: the port chosen when 0 was asked for.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.iter().find_map(Address::ip)
    }

    /// The counters of each worker.
    pub fn stats(&self) -> Vec<WorkerStats> {
        self.workers.iter().map(|worker| worker.worker_shared.counters.snapshot()).collect()
    }

    /// A handle that begins a shutdown or reads the counters from elsewhere.
    pub fn handle(&self) -> Handle {
        Handle { workers: self.workers.iter().map(|worker| Arc::clone(&worker.worker_shared)).collect() }
    }

    fn begin_shutdown(&self, shutdown: Shutdown) {
        self.handle().begin_shutdown(shutdown);
    }

    /// Shuts down gracefully and waits for the end of it. See [`Shutdown`].
    pub fn shutdown(self, shutdown: Shutdown) -> ShutdownReport {
        self.begin_shutdown(shutdown);
        self.join()
    }

    /// Waits until a shutdown, begun through a [`Handle`], has ended.
    pub fn join(self) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        for worker in self.workers {
            match worker.thread.join() {
                Ok(Ok(part)) => report.add(part),
                Ok(Err(error)) => log::error!("worker {} failed: {error}", worker.worker_shared.index),
                Err(_) => log::error!("worker {} panicked", worker.worker_shared.index),
            }
        }
        let deadline = Instant::now() + HANDLERS_END_TIMEOUT;
        for handler in &self.handlers {
            handler.queue.stop();
        }
        for handler in &self.handlers {
            // Ends with an error when the thread drops its end, which is what is waited for.
            let _ = handler.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        report
    }

    /// Serves until SIGINT or SIGTERM, then shuts down gracefully; a second signal resets what is left.
    ///
    /// # Errors
    /// [`Error::Signal`] if the handlers cannot be installed; the engine then goes on serving.
    pub fn run_until_signal(self, shutdown: Shutdown) -> Result<ShutdownReport, Error> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).map_err(Error::Signal)?;
        let (handle, closer) = (self.handle(), signals.handle());
        let watcher = thread::spawn(move || {
            for (count, _) in signals.forever().enumerate() {
                handle.begin_shutdown(if count == 0 { shutdown } else { Shutdown::immediate() });
            }
        });
        let report = self.join();
        closer.close();
        let _ = watcher.join();
        Ok(report)
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// Reaches a running engine from anywhere.
#[derive(Clone)]
pub struct Handle {
    workers: Vec<Arc<WorkerShared>>,
}

impl Handle {
    /// Begins a shutdown; a second call may shorten the first, never lengthen it.
    pub fn begin_shutdown(&self, shutdown: Shutdown) {
        let plan = shutdown.plan(Instant::now());
        for worker in &self.workers {
            worker.post_now(Command::Shutdown(plan));
        }
    }

    /// The counters of each worker.
    pub fn stats(&self) -> Vec<WorkerStats> {
        self.workers.iter().map(|worker| worker.counters.snapshot()).collect()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.workers.len()).finish()
    }
}
