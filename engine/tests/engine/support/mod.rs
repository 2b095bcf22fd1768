//! Support for the black-box tests: every engine and placement, and plain blocking clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tidegate_engine::{Config, Connection, Engine, EngineKind, HandlerPlacement, Running, Shutdown, WorkerStats, time};

pub mod child;
mod inbox;
mod lines;
pub mod seccomp;

pub use inbox::Inbox;
pub use lines::Lines;

/// Maximum duration of a wait before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One engine and placement under test.
#[derive(Clone)]
pub struct Setup {
    pub name: &'static str,
    pub config: Config,
}

impl Setup {
    pub fn is_portable(&self) -> bool {
        self.config.engine != EngineKind::Uring
    }

    /// Returns whether the ring has large receive buffers.
    pub fn has_large_buffers(&self) -> bool {
        !self.is_portable() && self.config.uring.large_receive_buffers > 0
    }

    /// Returns the maximum bytes in an inbound buffer.
    ///
    /// The portable engine reads no more than the budget. A ring's receive with a budget stops in the buffer in which
    /// the high mark is reached. Without one it is cancelled there, and completions in the meantime are kept: at most
    /// as much as the ring's buffers hold, because copied buffers return to the kernel together with the cancellation.
    pub fn inbound_bytes_max(&self) -> usize {
        let (uring, high) = (&self.config.uring, self.config.inbound.bytes_high as usize);
        if self.is_portable() {
            return high;
        }
        let (small, large) = (uring.receive_buffer_bytes, uring.large_receive_buffer_bytes);
        if uring.receive_budget {
            return high + large.max(small);
        }
        high + usize::from(uring.receive_buffers) * small + usize::from(uring.large_receive_buffers) * large
    }
}

/// Set to run the tests of every engine where io_uring is forbidden, through [`EngineKind::Auto`].
const FORBIDDEN: &str = "TIDEGATE_TEST_FORBIDS_IO_URING";

/// Forbids io_uring to this thread and those that it starts, and returns `Auto` with every placement.
fn setups_without_io_uring() -> Vec<Setup> {
    thread_local! {
        static FILTER: () = seccomp::forbid(libc::SYS_io_uring_setup, libc::EPERM);
    }
    FILTER.with(|()| {});
    let placements = [
        ("auto/same-core", HandlerPlacement::SameCore),
        ("auto/inline", HandlerPlacement::Inline),
        ("auto/threads", HandlerPlacement::Threads(2)),
    ];
    let config = Config::default().engine(EngineKind::Auto).workers(1).pin(false);
    placements.map(|(name, placement)| Setup { name, config: config.clone().placement(placement) }).into()
}

/// Returns every engine with every placement, and io_uring with each optional feature turned off.
pub fn setups() -> Vec<Setup> {
    type Change = fn(&mut Config);
    if std::env::var_os(FORBIDDEN).is_some() {
        return setups_without_io_uring();
    }
    let table: [(&'static str, Change); 10] = [
        ("uring/same-core", |_| {}),
        ("uring/inline", |c| c.placement = HandlerPlacement::Inline),
        ("uring/threads", |c| c.placement = HandlerPlacement::Threads(2)),
        ("uring/cancel", |c| c.uring.receive_budget = false),
        ("uring/cancel/inline", |c| {
            c.uring.receive_budget = false;
            c.placement = HandlerPlacement::Inline;
        }),
        ("uring/small-buffers", |c| c.uring.large_receive_buffers = 0),
        ("uring/regular-descriptors", |c| c.uring.direct_descriptors = false),
        ("portable/same-core", |c| c.engine = EngineKind::Portable),
        ("portable/inline", |c| {
            c.engine = EngineKind::Portable;
            c.placement = HandlerPlacement::Inline;
        }),
        ("portable/threads", |c| {
            c.engine = EngineKind::Portable;
            c.placement = HandlerPlacement::Threads(2);
        }),
    ];
    table
        .into_iter()
        .map(|(name, change)| {
            let mut config = Config::default().engine(EngineKind::Uring).workers(1).pin(false);
            change(&mut config);
            Setup { name, config }
        })
        .collect()
}

/// Runs `test` on every setup, printing the name of each.
pub fn on_every_engine(test: impl Fn(Setup)) {
    for setup in setups() {
        let name = setup.name;
        println!("on {name}");
        test(setup);
    }
}

/// Runs `test` on every setup at the same time, for tests that wait for time to pass.
pub fn on_every_engine_at_once(test: impl Fn(Setup) + Sync) {
    std::thread::scope(|scope| {
        for setup in setups() {
            let (thread, test) = (std::thread::Builder::new().name(setup.name.to_string()), &test);
            thread.spawn_scoped(scope, move || test(setup)).unwrap();
        }
    });
}

/// Starts an engine on a free loopback port.
pub fn start<H, F>(config: Config, handler: H) -> (Running, SocketAddr)
where
    H: Fn(Connection) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + 'static,
{
    let running = Engine::new(config).bind("127.0.0.1:0").unwrap().start(handler).unwrap();
    let address = running.local_addr().unwrap();
    (running, address)
}

/// Lets the worker of this handler run a round.
pub async fn worker_round() {
    time::sleep(Duration::ZERO).await;
}

/// Echoes until the peer's end of stream.
pub async fn echo(mut connection: Connection) {
    while let Ok(Some(chunk)) = connection.receive().await {
        if connection.sender().send(chunk.into_vec()).await.is_err() {
            return;
        }
    }
}

/// Connects a client whose reads and writes time out.
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads exactly `len` bytes.
pub fn read_exact(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads to the end of stream.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Sends bytes with a byte of urgent data between them, in one segment, so that one event announces all of it.
pub fn send_around_urgent_data(stream: &TcpStream, before: &[u8], behind: &[u8]) {
    let socket = SockRef::from(stream);
    socket.set_tcp_cork(true).unwrap();
    assert_eq!(socket.send(before).unwrap(), before.len());
    assert_eq!(socket.send_out_of_band(b"!").unwrap(), 1);
    assert_eq!(socket.send(behind).unwrap(), behind.len());
    socket.set_tcp_cork(false).unwrap();
}

/// Returns bytes whose values reveal a loss, a repetition or a swap.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) ^ (i >> 8)) as u8).collect()
}

/// Returns a long pattern quickly: every eight bytes encode their position, so that no two blocks are equal.
pub fn numbered(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (number, place) in bytes.chunks_mut(8).enumerate() {
        place.copy_from_slice(&((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes()[..place.len()]);
    }
    bytes
}

/// Returns the sum of all workers' counters.
pub fn total(running: &Running) -> WorkerStats {
    let mut total = WorkerStats::default();
    for worker in running.stats() {
        total.add(&worker);
    }
    total
}

/// Sends `bytes` and checks that they come back.
pub fn check_echo(stream: &mut TcpStream, bytes: &[u8]) {
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        scope.spawn(move || writer.write_all(bytes).unwrap());
        assert!(read_exact(stream, bytes.len()) == bytes, "the echo differs");
    });
}

/// A value that threads can wait on.
#[derive(Default)]
pub struct Progress<T>(Arc<(Mutex<T>, Condvar)>);

impl<T> Clone for Progress<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Progress<T> {
    pub fn update(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    /// Waits until `done` returns a value.
    pub fn wait<R>(&self, what: &str, mut done: impl FnMut(&mut T) -> Option<R>) -> R {
        let mut value = self.0.0.lock().unwrap();
        loop {
            if let Some(result) = done(&mut value) {
                return result;
            }
            let (next, timeout) = self.0.1.wait_timeout(value, PATIENCE).unwrap();
            assert!(!timeout.timed_out(), "waited in vain for {what}");
            value = next;
        }
    }
}

/// Polls an outside condition (kernel queues, another process) until it holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// Shuts an engine down and checks that no connection had to be reset.
pub fn finish(running: Running) {
    let report = running.shutdown(Shutdown::default());
    assert_eq!(report.forced, 0, "connections had to be reset at shutdown");
}
