//! Starting an engine: settings, listeners, workers and handler threads.

#[cfg(feature = "tls")]
mod encrypted;
mod lifecycle;
pub(crate) mod running;
#[cfg(unix)]
mod signals;
pub(crate) mod spawned;
pub(crate) mod stopped;
#[cfg(feature = "testing")]
pub(crate) mod testing;
mod threads;
mod watchdog;

use std::fmt;
use std::future::Future;
use std::net::ToSocketAddrs;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use core_affinity::CoreId;
use socket2::Socket;

use crate::config::{Checked, Config, EngineKind, HandlerPlacement};
use crate::connection::Connection;
use crate::driver::listener::{self, Binding, Listener, Options};
use crate::driver::{machine_memory, open_files};
#[cfg(feature = "tls")]
use crate::engine::encrypted::Encrypted;
use crate::engine::lifecycle::Lifecycle;
use crate::engine::running::{Running, WorkerHandle};
use crate::engine::threads::{Backend, WorkerSetup, cores_for, spawn_handler_thread};
use crate::engine::watchdog::{Role, Watched};
use crate::error::{ConfigError, Error};
use crate::executor::{RunQueue, Start, Wakes, label};
use crate::shared::engine_shared::EngineShared;
use crate::shared::memory::MemoryBudget;
use crate::shutdown::Shutdown;
use crate::util::contained::catch;

/// An engine before its start: settings and addresses.
///
/// Add addresses with [`bind`](Self::bind), [`bind_unix`](Self::bind_unix) or
/// [`bind_inherited`](Self::bind_inherited), in any number and order, then call [`start`](Self::start).
///
/// ```no_run
/// use tidegate_engine::{Config, Engine};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let running = Engine::new(Config::default()).bind("127.0.0.1:7000")?.start(|mut connection| async move {
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
#[must_use = "an engine does nothing until `start` is called"]
pub struct Engine {
    config: Config,
    bindings: Vec<Binding>,
    #[cfg(feature = "tls")]
    tls: Encrypted,
}

impl Engine {
    /// Creates an engine with these settings. They are checked at [`start`](Self::start).
    pub fn new(config: Config) -> Self {
        Self {
            config,
            bindings: Vec::new(),
            #[cfg(feature = "tls")]
            tls: Encrypted::default(),
        }
    }

    /// Replaces the settings, and keeps the addresses.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Returns the number of listeners added so far, which the next one has: see
    /// [`Connection::listener`](crate::Connection::listener).
    pub fn bound_listeners(&self) -> usize {
        self.bindings.len()
    }

    /// Adds a TCP address, or all addresses that a name resolves to. Port 0 selects a free port, which
    /// [`Running::local_addr`] returns; `[::]` also serves IPv4. The sockets are bound by [`start`](Self::start).
    ///
    /// # Errors
    /// [`Error::Bind`] if the address does not resolve.
    pub fn bind(mut self, address: impl ToSocketAddrs + fmt::Debug) -> Result<Self, Error> {
        self.begin_listeners();
        self.bindings.extend(listener::resolve(address)?);
        Ok(self)
    }

    /// Adds a Unix-domain socket (unix(7)), which [`start`](Self::start) creates at `path`, or at the abstract name
    /// after an `@` (`@name`). A socket file on which nobody listens any more is replaced; one in use is an error. The
    /// file is removed when the engine stops listening. See [`Config::unix_mode`] for its permissions and
    /// [`Config::unix_uid`] for its owner.
    #[cfg(unix)]
    pub fn bind_unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.begin_listeners();
        self.bindings.push(Binding::Unix(path.into()));
        self
    }

    /// Adds a socket that already listens, such as one of systemd's socket activation or of a parent process: a
    /// `TcpListener`, a `UnixListener` or an `OwnedFd`. The workers share it. The file of a Unix-domain socket stays.
    /// The engine sets its socket options and its backlog and whether it blocks; the process that it comes from shares
    /// these settings.
    pub fn bind_inherited(mut self, listener: impl Into<Socket>) -> Self {
        self.begin_listeners();
        self.bindings.push(Binding::Inherited(listener.into()));
        self
    }

    /// Adds the sockets, TCP or Unix, that systemd or another manager passed to this process (`LISTEN_FDS`,
    /// sd_listen_fds(3)). They can be taken once.
    ///
    /// # Errors
    /// [`Error::Bind`] if none were passed, or one does not listen.
    #[cfg(target_os = "linux")]
    pub fn bind_systemd(mut self) -> Result<Self, Error> {
        let sockets = crate::driver::systemd::take_listeners();
        let sockets = sockets.map_err(|error| Error::bind("the sockets of LISTEN_FDS", error))?;
        self.begin_listeners();
        self.bindings.extend(sockets.into_iter().map(Binding::Inherited));
        Ok(self)
    }

    /// Notes that a call begins to add listeners.
    fn begin_listeners(&mut self) {
        #[cfg(feature = "tls")]
        {
            self.tls.last_call = self.bindings.len();
        }
    }

    /// Binds the addresses, starts the workers and returns once all of them serve.
    ///
    /// `handler` is called for every accepted connection, on a thread that [`Config::placement`] selects. The future
    /// that it returns stays on that thread and need not be `Send`. A panic in either ends only its connection.
    ///
    /// A handler is called many times, so its state is cloned for each call. An `async fn` that takes the connection
    /// and the state reads best:
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use tidegate_engine::{Config, Connection, Engine};
    ///
    /// async fn count(mut connection: Connection, bytes: Arc<AtomicU64>) {
    ///     while let Ok(Some(chunk)) = connection.receive().await {
    ///         bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let bytes = Arc::new(AtomicU64::new(0));
    /// let engine = Engine::new(Config::default()).bind("127.0.0.1:7000")?;
    /// let running = engine.start(move |connection| count(connection, Arc::clone(&bytes)))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// `async |connection| { .. }` compiles while it captures nothing. With captures use the form above, or
    /// `move |connection| { let bytes = bytes.clone(); async move { .. } }`.
    ///
    /// # Errors
    /// [`Error::NoListener`] without an address, [`Error::Config`] for a setting out of bounds, [`Error::Bind`] for an
    /// address that cannot be bound, [`Error::UringUnavailable`] if [`EngineKind::Uring`] is selected and does not
    /// work, and [`Error::Worker`] if a thread or a ring cannot be set up. Nothing is left running then.
    pub fn start<H, F>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        if self.bindings.is_empty() {
            return Err(Error::NoListener);
        }
        let starting = Starting::new(self.config.check()?)?;
        #[cfg(feature = "tls")]
        let starting = Starting { tls: self.tls, ..starting };
        starting.start(&self.bindings, &starter(handler))
    }

    /// Starts an engine without listeners, for a program that only connects: see [`Running::connect`] and
    /// [`Running::spawn`].
    ///
    /// Each worker has up to [`Config::connections_max`] connections. With io_uring these are direct descriptors, which
    /// the open-file limit bounds for each worker and not for the process: a process with a limit of 20,000 open files
    /// holds 200,000 connections with eleven workers, which can be more than there are cores. To one server a local
    /// address has about 28,000 ports: see [`Connect::local_address`](crate::Connect::local_address).
    ///
    /// ```no_run
    /// use tidegate_engine::{Config, Engine, block_on};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let running = Engine::client(Config::default().workers(1))?;
    /// let connection = block_on(running.connect("127.0.0.1:7000").into_future())?;
    /// println!("connected from {}", connection.local_addr());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start), but for those of addresses.
    pub fn client(config: Config) -> Result<Running, Error> {
        // Nothing is accepted without a listener.
        let start: Arc<Start> = Arc::new(|connection: Connection, _: &Arc<RunQueue>| drop(connection));
        Starting::new(config.check()?)?.start(&[], &start)
    }
}

/// Returns the function that starts the handler of a connection.
fn starter<H, F>(handler: H) -> Arc<Start>
where
    H: Fn(Connection) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    Arc::new(move |connection: Connection, queue: &Arc<RunQueue>| {
        let shared = Arc::clone(&connection.sender().shared);
        // A panic in the call drops the connection, like a panic in the future.
        match catch(|| handler(connection)) {
            Ok(future) => queue.spawn(shared, label::UNKNOWN, future),
            Err(message) => {
                let peer = shared.peer();
                log::error!("a handler panicked and its connection with {peer} is closed: {message}");
            }
        }
    })
}

/// The steps of a start.
struct Starting {
    checked: Arc<Checked>,
    backend: Backend,
    epoch: Instant,
    /// The core of each worker; none without pinning.
    cores: Vec<CoreId>,
    #[cfg(feature = "tls")]
    tls: Encrypted,
}

impl Starting {
    fn new(checked: Checked) -> Result<Self, Error> {
        let backend = choose(&checked.config)?;
        let cores = if checked.config.pin { cores_for(checked.workers) } else { Vec::new() };
        Ok(Self {
            checked: Arc::new(checked),
            backend,
            epoch: Instant::now(),
            cores,
            #[cfg(feature = "tls")]
            tls: Encrypted::default(),
        })
    }

    /// Starts on the chosen engine. `Auto` starts again on the portable engine where io_uring fails at any step.
    fn start(mut self, bindings: &[Binding], start: &Arc<Start>) -> Result<Running, Error> {
        match self.try_start(bindings, start) {
            Err(Error::UringUnavailable { reason }) if self.checked.config.engine == EngineKind::Auto => {
                self.backend = fall_back(&reason);
                self.try_start(bindings, start)
            }
            answer => answer,
        }
    }

    fn try_start(&self, bindings: &[Binding], start: &Arc<Start>) -> Result<Running, Error> {
        let config = &self.checked.config;
        let options = Options {
            backlog: config.backlog,
            unix_file: listener::FileOptions { mode: config.unix_mode, uid: config.unix_uid, gid: config.unix_gid },
            reuse_port: config.reuse_port,
            nodelay: config.nodelay,
            receive_buffer_bytes: config.socket_receive_buffer_bytes,
            send_buffer_bytes: config.socket_send_buffer_bytes,
        };
        let mut listeners: Vec<Vec<Listener>> = (0..self.checked.workers).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        if config.connections_max < bindings.len() {
            let rule = "at least one for each bound address";
            return Err(ConfigError::new("connections_max", config.connections_max, rule).into());
        }
        for binding in bindings {
            let opened = listener::open(binding, self.checked.workers, options)?;
            addresses.extend(opened.first().map(Listener::address));
            for (worker, listener) in listeners.iter_mut().zip(opened) {
                worker.push(listener);
            }
        }
        let memory_bytes = config.memory.bytes_max.unwrap_or_else(memory_bytes_default);
        #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "TLS is added"))]
        let mut engine = EngineShared::new(MemoryBudget::new(config.memory.clone(), memory_bytes));
        #[cfg(feature = "tls")]
        self.tls.begin(&mut engine)?;
        let engine = Arc::new(engine);
        let mut running = Running {
            workers: Vec::new(),
            lifecycle: Lifecycle::new(engine.memory.clone()),
            handlers: Vec::new(),
            watchdog: None,
            addresses,
            summary: String::new(),
        };
        match self.start_threads(&mut running, &engine, listeners, start) {
            Ok(features) => running.summary = self.describe(&running, bindings, &features),
            Err(error) => {
                // The threads started so far are of no use alone.
                running.shutdown(Shutdown::immediate());
                return Err(error);
            }
        }
        log::info!("{}: {}", if bindings.is_empty() { "running" } else { "listening" }, running.summary);
        Ok(running)
    }

    /// Starts the handler threads and the workers. Returns the features in use.
    fn start_threads(
        &self,
        running: &mut Running,
        engine: &Arc<EngineShared>,
        listeners: Vec<Vec<Listener>>,
        start: &Arc<Start>,
    ) -> Result<String, Error> {
        let hooks = &self.checked.config.thread_hooks;
        if let HandlerPlacement::Threads(threads) = self.checked.config.placement {
            for number in 0..threads {
                let name = format!("tidegate-handler-{number}");
                running.handlers.push(spawn_handler_thread(&name, None, Wakes::AtOnce, start, hooks)?);
            }
        }
        let queues: Vec<_> = running.handlers.iter().map(|handler| Arc::clone(&handler.queue)).collect();
        let regular_max = open_files::connections_max(self.checked.workers);
        let mut features = String::new();
        let mut watched: Vec<_> = queues
            .iter()
            .enumerate()
            .map(|(number, queue)| Watched::new(Arc::clone(queue), Role::Handlers(number)))
            .collect();
        for (index, listeners) in listeners.into_iter().enumerate() {
            let setup = WorkerSetup {
                index,
                backend: self.backend,
                epoch: self.epoch,
                checked: Arc::clone(&self.checked),
                start: Arc::clone(start),
                queues: queues.clone(),
                core: self.cores.get(index).copied(),
                lifecycle: Arc::clone(&running.lifecycle),
                engine: Arc::clone(engine),
                regular_max,
            };
            let (thread, mut ready) = setup.spawn(listeners)?;
            // Shared handler threads use the timers of different workers. Only then do they run anything.
            for handler in running.handlers[..queues.len()].iter().skip(index).step_by(self.checked.workers) {
                handler.use_timers_of(&ready.worker_shared);
            }
            watched.extend(ready.inline.take().map(|queue| Watched::new(queue, Role::Worker(index))));
            let handler = ready.handler.take();
            watched.extend(handler.iter().map(|thread| Watched::new(Arc::clone(&thread.queue), Role::SameCore(index))));
            running.handlers.extend(handler);
            features = ready.capabilities.summary;
            running.workers.push(WorkerHandle {
                thread,
                worker_shared: ready.worker_shared,
                connections_max: ready.capabilities.connections_max,
            });
        }
        if let Some(warning) = self.checked.config.thread_hold_warning {
            let watchdog = watchdog::spawn(watched, warning, Arc::clone(&running.lifecycle));
            running.watchdog = Some(watchdog.map_err(Error::Worker)?);
        }
        Ok(features)
    }

    fn describe(&self, running: &Running, bindings: &[Binding], features: &str) -> String {
        let addresses = bindings.iter().zip(&running.addresses).enumerate().map(|(listener, (binding, address))| {
            let suffix = if self.is_encrypted(listener) { " tls" } else { "" };
            format!("{}{suffix}", binding.describe(*address))
        });
        let addresses: Vec<_> = if bindings.is_empty() { vec!["client".to_owned()] } else { addresses.collect() };
        let workers = running.workers.len();
        let slots: usize = running.workers.iter().map(|worker| worker.connections_max).sum();
        let placement = match self.checked.config.placement {
            HandlerPlacement::SameCore => "same-core".to_owned(),
            HandlerPlacement::Inline => "inline".to_owned(),
            HandlerPlacement::Threads(threads) => format!("threads:{threads}"),
        };
        let limited = slots < workers * self.checked.config.connections_max;
        format!(
            "{} engine={features} workers={workers} cores={} handlers={placement} connections_max={slots}{}",
            addresses.join(" "),
            self.describe_cores(),
            if limited { " (open-file limit, see ulimit -n)" } else { "" }
        )
    }
}

impl Starting {
    #[cfg(feature = "tls")]
    fn is_encrypted(&self, listener: usize) -> bool {
        self.tls.has(listener)
    }

    #[cfg(not(feature = "tls"))]
    fn is_encrypted(&self, _listener: usize) -> bool {
        false
    }

    /// Returns the workers' cores in order, as ranges, or "any".
    fn describe_cores(&self) -> String {
        let ranges = self.cores.chunk_by(|one, next| one.id + 1 == next.id).map(|range| match range {
            [first, .., last] => format!("{}-{}", first.id, last.id),
            [one] => one.id.to_string(),
            [] => String::new(),
        });
        if self.cores.is_empty() { "any".to_owned() } else { ranges.collect::<Vec<_>>().join(",") }
    }
}

/// Returns the memory that unfinished messages share unless a number is configured.
fn memory_bytes_default() -> usize {
    const UNKNOWN: usize = 4 << 30;
    const LEAST: usize = 16 << 20;
    (machine_memory::bytes().unwrap_or(UNKNOWN) / 4).max(LEAST)
}

/// Resolves `Auto`, with one log line if the answer is not io_uring.
fn choose(config: &Config) -> Result<Backend, Error> {
    if config.engine == EngineKind::Portable {
        return Ok(Backend::Portable);
    }
    match uring(config) {
        Ok(uring) => Ok(uring),
        Err(reason) if config.engine == EngineKind::Auto => Ok(fall_back(&reason)),
        Err(reason) => Err(Error::UringUnavailable { reason }),
    }
}

fn fall_back(reason: &str) -> Backend {
    log::warn!("using the portable engine: {reason}");
    Backend::Portable
}

/// Returns io_uring, if it works.
#[cfg(target_os = "linux")]
fn uring(config: &Config) -> Result<Backend, String> {
    crate::driver::uring::check(&config.uring).map(|()| Backend::Uring)
}

#[cfg(not(target_os = "linux"))]
fn uring(_config: &Config) -> Result<Backend, String> {
    Err("io_uring needs Linux 6.1".to_owned())
}
