//! Starting an engine: settings, listeners, workers and handler threads.

pub(crate) mod running;
mod threads;

use std::fmt;
use std::future::Future;
use std::net::{TcpListener, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::address::Address;
use crate::config::{Checked, Config, EngineKind, HandlerPlacement};
use crate::connection::Connection;
use crate::driver::listener::{self, Binding, Listener, Options};
use crate::engine::running::{Running, WorkerHandle};
use crate::engine::threads::{WorkerSetup, spawn_handler_thread};
use crate::error::{ConfigError, Error};
use crate::executor::{RunQueue, Start};
use crate::shutdown::Shutdown;

/// An engine before its start: settings and listening addresses.
///
/// ```no_run
/// use tidegate_engine::{Config, Engine};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let running = Engine::new(Config::default()).listen("127.0.0.1:7000")?.start(|mut connection| async move {
///     while let Ok(Some(chunk)) = connection.receive().await {
///         if connection.sender().send(chunk.into_vec()).await.is_err() {
///             break;
///         }
///     }
/// })?;
/// println!("{}", running.summary());
/// running.run_until_signal(Default::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Engine {
    config: Config,
    bindings: Vec<Binding>,
}

impl Engine {
    /// Creates an engine with these settings. They are checked at [`start`](Self::start).
    pub fn new(config: Config) -> Self {
        Self { config, bindings: Vec::new() }
    }

    /// Listens on a TCP address (on all addresses it resolves to). Port 0 selects a free port; `[::]` also serves IPv4.
    /// Can be called several times.
    ///
    /// # Errors
    /// [`Error::Listen`] if the address does not resolve. Binding happens at [`start`](Self::start).
    pub fn listen(mut self, address: impl ToSocketAddrs + fmt::Debug) -> Result<Self, Error> {
        self.bindings.extend(listener::resolve(address)?);
        Ok(self)
    }

    /// Listens on a Unix-domain socket created at `path`, which must not exist.
    ///
    /// # Errors
    /// [`Error::Listen`] if the socket cannot be created.
    #[cfg(unix)]
    pub fn listen_unix(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.bindings.push(listener::unix(path.as_ref())?);
        Ok(self)
    }

    /// Listens on a socket bound elsewhere (by systemd socket activation or a parent process). The workers share it.
    #[must_use]
    pub fn listen_inherited(mut self, listener: TcpListener) -> Self {
        self.bindings.push(listener::inherited(listener));
        self
    }

    /// Starts the workers. `handler` is called on a handler thread for every accepted connection. The returned future
    /// stays on that thread and need not be `Send`.
    ///
    /// # Errors
    /// [`Error`] if a setting is out of bounds, an address cannot be bound, or the requested engine is unavailable.
    pub fn start<H, F>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        if self.bindings.is_empty() {
            return Err(Error::NoListener);
        }
        let start: Arc<Start> = Arc::new(move |connection: Connection, queue: &Arc<RunQueue>| {
            // A panic in the call drops the connection, like a panic in the future.
            if let Ok(future) = catch_unwind(AssertUnwindSafe(|| handler(connection))) {
                queue.spawn(future);
            }
        });
        Starting::new(self.config.check()?)?.start(&self.bindings, &start)
    }
}

/// The steps of a start.
struct Starting {
    checked: Arc<Checked>,
    kind: EngineKind,
    epoch: Instant,
}

impl Starting {
    fn new(checked: Checked) -> Result<Self, Error> {
        let kind = choose(&checked.config)?;
        Ok(Self { checked: Arc::new(checked), kind, epoch: Instant::now() })
    }

    fn start(self, bindings: &[Binding], start: &Arc<Start>) -> Result<Running, Error> {
        let config = &self.checked.config;
        let options = Options {
            backlog: config.backlog,
            nodelay: config.nodelay,
            receive_buffer_bytes: config.socket_receive_buffer_bytes,
            send_buffer_bytes: config.socket_send_buffer_bytes,
        };
        let mut listeners: Vec<Vec<Listener>> = (0..self.checked.workers).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        if config.connections_max < bindings.len() {
            let rule = "at least one for each address listened on";
            return Err(
                ConfigError { setting: "connections_max", value: config.connections_max.to_string(), rule }.into()
            );
        }
        for binding in bindings {
            let opened = listener::open(binding, self.checked.workers, options)?;
            addresses.extend(opened.first().map(Listener::address));
            for (worker, listener) in listeners.iter_mut().zip(opened) {
                worker.push(listener);
            }
        }
        let mut handlers = match config.placement {
            HandlerPlacement::Threads(threads) => (0..threads)
                .map(|number| spawn_handler_thread(&format!("tidegate-handler-{number}"), None, true, start))
                .collect::<Result<Vec<_>, _>>()?,
            HandlerPlacement::SameCore | HandlerPlacement::Inline => Vec::new(),
        };
        let queues: Vec<_> = handlers.iter().map(|handler| Arc::clone(&handler.queue)).collect();

        let mut running = Running { workers: Vec::new(), handlers: Vec::new(), addresses, summary: String::new() };
        let mut features = String::new();
        for (index, listeners) in listeners.into_iter().enumerate() {
            let setup = WorkerSetup {
                index,
                kind: self.kind,
                epoch: self.epoch,
                checked: Arc::clone(&self.checked),
                start: Arc::clone(start),
                queues: queues.clone(),
            };
            let (thread, mut ready) = match setup.spawn(listeners) {
                Ok(started) => started,
                Err(error) => {
                    // The threads started so far are of no use alone.
                    running.handlers = handlers;
                    running.shutdown(Shutdown::immediate());
                    return Err(error);
                }
            };
            handlers.extend(ready.handler.take());
            features = ready.capabilities.summary;
            running.workers.push(WorkerHandle {
                thread,
                worker_shared: ready.worker_shared,
                connections_max: ready.capabilities.connections_max,
            });
        }
        running.handlers = handlers;
        running.summary = self.describe(&running, &features);
        log::info!("listening: {}", running.summary);
        Ok(running)
    }

    fn describe(&self, running: &Running, features: &str) -> String {
        let addresses: Vec<_> = running.addresses.iter().map(Address::to_string).collect();
        let workers = running.workers.len();
        let slots: usize = running.workers.iter().map(|worker| worker.connections_max).sum();
        let placement = match self.checked.config.placement {
            HandlerPlacement::SameCore => "same-core".to_owned(),
            HandlerPlacement::Inline => "inline".to_owned(),
            HandlerPlacement::Threads(threads) => format!("threads:{threads}"),
        };
        format!(
            "{} engine={features} workers={workers} handlers={placement} connections_max={slots}",
            addresses.join(" ")
        )
    }
}

/// Resolves `Auto`, with one log line if the answer is not io_uring.
fn choose(config: &Config) -> Result<EngineKind, Error> {
    if config.engine == EngineKind::Std {
        return Ok(EngineKind::Std);
    }
    match uring_check(config) {
        Ok(()) => Ok(EngineKind::Uring),
        Err(reason) if config.engine == EngineKind::Auto => {
            log::warn!("using std sockets: {reason}");
            Ok(EngineKind::Std)
        }
        Err(reason) => Err(Error::UringUnavailable { reason }),
    }
}

#[cfg(target_os = "linux")]
fn uring_check(config: &Config) -> Result<(), String> {
    crate::driver::uring::check(&config.uring)
}

#[cfg(not(target_os = "linux"))]
fn uring_check(_config: &Config) -> Result<(), String> {
    Err("io_uring needs Linux 6.1".to_owned())
}
