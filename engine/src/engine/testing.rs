//! The engine in memory, for tests of applications: one worker with inline handlers on the driver in memory.

use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::lifecycle::Lifecycle;
use super::threads::{Backend, WorkerSetup, WorkerThread};
use super::{memory_bytes_default, starter};
use crate::address::Address;
use crate::clock::simulated::SimulatedTime;
use crate::config::{Config, HandlerPlacement};
use crate::connection::Connection;
use crate::driver::memory::{Ended, Idle, MemoryDriver, Network, NotIdle};
use crate::error::Error;
use crate::shared::engine_shared::EngineShared;
use crate::shared::memory::MemoryBudget;
use crate::shared::worker_shared::WorkerShared;
use crate::shutdown::{Shutdown, ShutdownReport};
use crate::stats::WorkerStats;

crate::__settings! {
    /// The settings of a test's network.
    ///
    /// ```
    /// use tidegate_engine::testing::TestConfig;
    ///
    /// // Each byte arrives alone.
    /// let config = TestConfig::default().receive_bytes_max(1);
    /// # assert_eq!(config.receive_bytes_max, 1);
    /// ```
    #[derive(Clone, Debug)]
    pub struct TestConfig {
        /// Bytes that each direction of a connection holds, in place of the kernel's socket buffers, at least 1. Behind
        /// them are the engine's inbound buffer and outbound queue. Default: 64 KiB.
        pub window_bytes: usize,
        /// Maximum bytes that the server receives at once, at least 1. With 1 every head, frame and piece of content
        /// arrives byte by byte. Default: 16 KiB.
        pub receive_bytes_max: usize,
        /// Real time that a wait lasts before it fails: a handler can wait for another thread, such as that of a tokio
        /// runtime. A test that succeeds never waits so long. Default: 10 s.
        pub patience: Duration,
        /// Whether connections that handlers open ([`connect`](crate::connect)) reach the test, which plays their
        /// servers with [`TestEngine::next_outgoing`]. Default: false, they fail.
        pub outgoing: bool,
        /// Real time that handlers can run without returning to their await points before a wait fails. Default: 60 s.
        pub hold_timeout: Duration,
    }
}

impl Default for TestConfig {
    fn default() -> Self {
        Self {
            window_bytes: 64 * 1024,
            receive_bytes_max: 16 * 1024,
            patience: Duration::from_secs(10),
            outgoing: false,
            hold_timeout: Duration::from_secs(60),
        }
    }
}

/// An engine in memory. Clones are the same engine, which ends with the last of them and of its [`TestPeer`]s.
///
/// Its one worker runs the handlers on a thread of its own. Every method lets that thread run until it has nothing left
/// to do, so what a test sees does not depend on the speed of the machine. See the [module](crate::testing).
#[derive(Clone)]
pub struct TestEngine(Arc<Inner>);

struct Inner {
    network: Arc<Network>,
    time: SimulatedTime,
    worker: Arc<WorkerShared>,
    lifecycle: Arc<Lifecycle>,
    thread: Mutex<Option<WorkerThread>>,
    patience: Duration,
    hold_timeout: Duration,
    next_port: AtomicU16,
}

/// A step of [`TestEngine::drive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// What is waited for is there.
    Done(T),
    /// Something was read or written, so the server may do more.
    Again,
    /// Nothing happens before something else does.
    Waiting,
}

/// The reason why a wait of a test failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stuck {
    /// All handlers wait, for the clock, for the client or for another thread.
    #[error("the handlers wait; advance the clock, or send what they wait for")]
    Idle,
    /// A handler has not returned to an await point.
    #[error("a handler holds the thread of the test engine: it blocks, or loops without waiting")]
    Busy,
    /// The engine has shut down.
    #[error("the test engine has shut down")]
    Ended,
}

/// First port of the clients' addresses, each of which has the next.
const FIRST_PORT: u16 = 40_000;

/// Real time that the end of an engine waits for a handler that holds its thread.
const END_TIMEOUT: Duration = Duration::from_secs(2);

impl TestEngine {
    /// Starts an engine in memory. Of `config` it uses everything but what concerns sockets, cores and threads:
    /// handlers run on the worker's thread.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of bounds, [`Error::Worker`] if no thread can be started.
    pub fn start<H, F>(config: Config, test: TestConfig, handler: H) -> Result<Self, Error>
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        let config = config.workers(1).placement(HandlerPlacement::Inline).pin(false);
        let checked = Arc::new(config.check()?);
        let config = &checked.config;
        let memory_bytes = config.memory.bytes_max.unwrap_or_else(memory_bytes_default);
        let engine = Arc::new(EngineShared::new(MemoryBudget::new(config.memory.clone(), memory_bytes)));
        let lifecycle = Lifecycle::new(engine.memory.clone());
        let network = Network::new(test.window_bytes.max(1), test.receive_bytes_max.max(1), test.outgoing);
        let setup = WorkerSetup {
            index: 0,
            backend: Backend::Portable,
            epoch: SimulatedTime::epoch(),
            checked: Arc::clone(&checked),
            start: starter(handler),
            queues: Vec::new(),
            core: None,
            lifecycle: Arc::clone(&lifecycle),
            engine,
            regular_max: usize::MAX,
        };
        let (shared, connections_max) = (Arc::clone(&network), config.connections_max);
        let (thread, ready) = setup.spawn_on(move || MemoryDriver::new(shared, connections_max))?;
        Ok(Self(Arc::new(Inner {
            time: network.time(),
            network,
            worker: ready.worker_shared,
            lifecycle,
            thread: Mutex::new(Some(thread)),
            patience: test.patience,
            hold_timeout: test.hold_timeout,
            next_port: AtomicU16::new(FIRST_PORT),
        })))
    }

    /// Connects a client, from an address of 127.0.0.1 with a port of its own.
    pub fn connect(&self) -> TestPeer {
        let port = self.0.next_port.fetch_add(1, Ordering::Relaxed).max(1);
        self.connect_from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Connects a client from this address.
    pub fn connect_from(&self, address: SocketAddr) -> TestPeer {
        let number = self.0.network.connect(Address::Ip(address));
        TestPeer { engine: self.clone(), number }
    }

    /// Lets the engine run, and returns the next connection that a handler has opened, with its target: the test is the
    /// server there. See [`TestConfig::outgoing`].
    ///
    /// ```
    /// use tidegate_engine::testing::{TestConfig, TestEngine};
    /// use tidegate_engine::{Config, connect};
    ///
    /// let config = TestConfig::default().outgoing(true);
    /// let engine = TestEngine::start(Config::default(), config, async |client| {
    ///     let Ok(mut backend) = connect("192.0.2.1:7000").await else { return };
    ///     if let Ok(Some(answer)) = backend.receive().await {
    ///         let _ = client.sender().send(answer.into_vec()).await;
    ///     }
    /// })?;
    /// let mut client = engine.connect();
    /// let (target, mut backend) = engine.next_outgoing().expect("the handler connects");
    /// assert_eq!(target.to_string(), "192.0.2.1:7000");
    /// backend.write(b"hello");
    /// assert_eq!(client.read(), b"hello");
    /// # Ok::<(), tidegate_engine::Error>(())
    /// ```
    ///
    /// # Panics
    /// If a handler holds the thread.
    #[track_caller]
    pub fn next_outgoing(&self) -> Option<(Address, TestPeer)> {
        self.run_until_idle();
        let (target, number) = self.0.network.take_outgoing()?;
        Some((target, TestPeer { engine: self.clone(), number }))
    }

    /// Moves the clock by `duration`, rounded up to [`time::GRANULARITY`](crate::time::GRANULARITY) and one step more,
    /// because a connection's timeout counts from the step after its start. Everything that is due by then happens in
    /// order, each at its time.
    ///
    /// # Panics
    /// If a handler holds the thread.
    #[track_caller]
    pub fn advance(&self, duration: Duration) {
        self.0.network.advance(duration);
        self.run_until_idle();
    }

    /// Lets everything happen that can happen without the clock and without another thread.
    ///
    /// # Panics
    /// If a handler holds the thread.
    #[track_caller]
    pub fn run_until_idle(&self) {
        match self.run() {
            Ok(_) => {}
            Err(stuck) => panic!("{stuck}"),
        }
    }

    /// Returns the time since the start, by the clock of the engine.
    pub fn elapsed(&self) -> Duration {
        self.0.time.elapsed()
    }

    /// Lets the engine run and calls `step` after it, again and again until that is done: the loop of a client. While
    /// `step` finds nothing, the wait for other threads takes real time, at most [`TestConfig::patience`].
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn drive<T>(&self, mut step: impl FnMut() -> Step<T>) -> Result<T, Stuck> {
        let mut deadline = None;
        loop {
            let idle = self.run()?;
            match (step(), idle) {
                (Step::Done(done), _) => return Ok(done),
                (Step::Again, _) => deadline = None,
                (Step::Waiting, Idle::Ended) => return Err(Stuck::Ended),
                (Step::Waiting, Idle::Resting(turns)) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.0.patience);
                    if !self.0.network.await_turn(turns, deadline) {
                        return Err(Stuck::Idle);
                    }
                }
            }
        }
    }

    /// Does as [`drive`](Self::drive), but without waiting for other threads: `None` if nothing more happens.
    ///
    /// # Errors
    /// [`Stuck::Busy`].
    pub fn drive_until_idle<T>(&self, mut step: impl FnMut() -> Step<T>) -> Result<Option<T>, Stuck> {
        loop {
            self.run()?;
            match step() {
                Step::Done(done) => return Ok(Some(done)),
                Step::Again => {}
                Step::Waiting => return Ok(None),
            }
        }
    }

    /// Returns the counters of the worker.
    pub fn stats(&self) -> WorkerStats {
        self.0.worker.counters.snapshot()
    }

    /// Begins a graceful shutdown: clients that connect from now on are reset, handlers see that the engine drains. Its
    /// [`drain_timeout`](Shutdown::drain_timeout) passes when the clock is moved.
    ///
    /// # Panics
    /// If a handler holds the thread.
    #[track_caller]
    pub fn begin_shutdown(&self, shutdown: Shutdown) {
        self.0.lifecycle.shut_down(shutdown);
        // The first connections are notified at the worker's next tick of the clock.
        self.advance(Duration::ZERO);
    }

    /// Shuts down gracefully, and moves the clock to the end of the drain if connections are open until then. Returns
    /// how they ended.
    ///
    /// # Panics
    /// If a handler holds the thread.
    #[track_caller]
    pub fn shutdown(&self, shutdown: Shutdown) -> ShutdownReport {
        self.begin_shutdown(shutdown);
        match self.run() {
            Ok(Idle::Resting(_)) => self.advance(shutdown.drain_timeout),
            Ok(Idle::Ended) => {}
            Err(stuck) => panic!("{stuck}"),
        }
        self.0.lifecycle.wait()
    }

    fn run(&self) -> Result<Idle, Stuck> {
        self.0.network.run(self.0.hold_timeout).map_err(|NotIdle| Stuck::Busy)
    }
}

impl fmt::Debug for TestEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestEngine").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.lifecycle.shut_down(Shutdown::immediate());
        self.network.let_run();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A handler can hold the last clone, and one that blocks its thread is left behind.
        let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) else { return };
        if !self.lifecycle.runs_for(END_TIMEOUT) {
            let _ = thread.join();
        }
    }
}

/// The test's end of a connection: the client's, or the server's of one that a handler has opened. Dropping it closes
/// the socket: FIN, or a reset if received bytes are unread.
pub struct TestPeer {
    engine: TestEngine,
    number: u64,
}

/// The end of a connection, behind its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// The server has ended its side (FIN).
    Finished,
    /// The connection is reset.
    Reset,
}

impl TestPeer {
    /// Writes bytes and lets the server work on them. Returns how many of them the server has taken, or will: fewer
    /// than all if the window is full because its handler does not read, none if the connection is closed.
    ///
    /// # Panics
    /// If a handler holds the thread.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        loop {
            let count = self.offer(&bytes[written..]);
            written += count;
            self.engine.run_until_idle();
            if count == 0 || written == bytes.len() {
                return written;
            }
        }
    }

    /// Writes as many bytes as the window has room for, and returns their number. The server does not work on them
    /// before the next call that lets it run.
    pub fn offer(&mut self, bytes: &[u8]) -> usize {
        self.engine.0.network.write(self.number, bytes)
    }

    /// Lets the server run, and returns all bytes that it has sent since the last call.
    ///
    /// # Panics
    /// If a handler holds the thread.
    #[track_caller]
    pub fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            self.engine.run_until_idle();
            if self.take(&mut bytes) == 0 {
                return bytes;
            }
        }
    }

    /// Appends the bytes that have arrived to `into`, and returns their number. The server does not run meanwhile.
    pub fn take(&mut self, into: &mut Vec<u8>) -> usize {
        self.engine.0.network.read(self.number, into)
    }

    /// Returns the end of the connection, once all bytes before it are read. The server does not run meanwhile.
    pub fn ended(&self) -> Option<PeerEnd> {
        self.engine.0.network.ended(self.number).map(|ended| match ended {
            Ended::Finished => PeerEnd::Finished,
            Ended::Reset => PeerEnd::Reset,
        })
    }

    /// Ends the client's side (FIN). Bytes of the server still arrive.
    pub fn finish(&mut self) {
        self.engine.0.network.finish(self.number);
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.engine.0.network.reset(self.number);
    }

    /// Returns the engine.
    pub fn engine(&self) -> &TestEngine {
        &self.engine
    }
}

impl fmt::Debug for TestPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestPeer").field("number", &self.number).field("ended", &self.ended()).finish()
    }
}

impl Drop for TestPeer {
    fn drop(&mut self) {
        self.engine.0.network.close(self.number);
    }
}
