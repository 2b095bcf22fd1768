//! Tests of a whole worker on the simulated driver: one thread, fake time, every choice from a seed.
//!
//! [`Simulation`] builds a worker with its handlers and ticks them. `properties` runs thousands of random scenarios,
//! `deadlines`, `distant_deadlines`, `shutdown` and `successors` exact ones, `fanout` and `connect` both.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::Worker;
use crate::config::{Config, InboundMarks, OutboundMarks};
use crate::connection::Connection;
use crate::driver::Driver;
use crate::driver::sim::{Ending, Neighbour, Net, Script, SimConfig, SimDriver};
use crate::error::ReceiveError;
use crate::executor::{Executor, Local, RunQueue, Start, label, swap_local};
use crate::shared::command::Command;
use crate::shared::signal::Signal;
use crate::shared::wake_scope::WakeScope;
use crate::shared::worker_shared::WorkerShared;
use crate::shutdown::{Shutdown, ShutdownPlan, ShutdownReport};
use crate::stats::WorkerStats;
use crate::time::{Sleep, Timer};

mod bursts;
mod connect;
mod deadlines;
mod distant_deadlines;
mod endpoints;
mod fanout;
mod held;
mod peer_end;
mod properties;
mod shutdown;
mod successors;

/// Maximum ticks of a run, far more than any scenario needs.
const TICKS_MAX: usize = 200_000;

/// The settings of a simulation.
#[derive(Clone)]
struct Setup {
    sim: SimConfig,
    /// Handlers run on the worker's thread, otherwise on a simulated handler thread.
    inline: bool,
    inbound: InboundMarks,
    outbound: OutboundMarks,
    config: Config,
}

impl Setup {
    /// Returns small buffers and marks, so that a few hundred bytes reach all of them.
    fn new(seed: u64) -> Self {
        Self {
            sim: SimConfig {
                seed,
                calm: false,
                short_of_memory: false,
                receive_budget: true,
                unarmed_is_quiet: false,
                acknowledges: false,
                buffers: 8,
                buffer_bytes: 16,
                connections_max: 16,
            },
            inline: true,
            inbound: InboundMarks { bytes_high: 64, bytes_low: 16, chunks_high: 12, chunks_low: 4 },
            outbound: OutboundMarks { bytes_high: 100, bytes_low: 25 },
            config: Config::default(),
        }
    }

    /// Returns a setup in which nothing is delayed or fails by chance.
    fn calm() -> Self {
        let mut setup = Self::new(0);
        setup.sim.calm = true;
        setup
    }

    fn both_placements(self) -> [Self; 2] {
        [Self { inline: true, ..self.clone() }, Self { inline: false, ..self }]
    }
}

/// The log of a connection's handler.
#[derive(Debug, Default)]
struct Log {
    started: bool,
    received: Vec<u8>,
    /// The result of receiving: `Ok` at the peer's end of stream.
    end: Option<Result<(), ReceiveError>>,
    /// Bytes accepted by a sender.
    accepted: Vec<u8>,
    /// A sender got an error.
    send_failed: bool,
    done_at: Option<Duration>,
    /// The future is gone.
    dropped: bool,
}

/// The state that handlers share with the test.
#[derive(Clone)]
struct Stage {
    epoch: Instant,
    clock: Arc<AtomicU64>,
    logs: Arc<Mutex<Vec<Log>>>,
}

impl Stage {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.load(Ordering::Relaxed))
    }

    /// Returns the instant `after` the current one in simulated time.
    fn instant(&self, after: Duration) -> Instant {
        self.epoch + self.now() + after
    }

    /// Waits for this long on the simulated clock, which the simulation moves as soon as nothing else is due: no real
    /// time passes.
    async fn let_pass(&self, connection: &Connection, duration: Duration) {
        connection.timer().sleep_until(self.instant(duration)).await;
    }

    fn log<T>(&self, connection: &Connection, change: impl FnOnce(&mut Log) -> T) -> T {
        self.log_of(Net::peer_of(connection.peer_addr()), change)
    }

    fn log_of<T>(&self, peer: usize, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut logs = self.logs.lock().expect("no test panics while holding it");
        while logs.len() <= peer {
            logs.push(Log::default());
        }
        change(&mut logs[peer])
    }

    /// Receives and logs. Returns `None` at the end.
    async fn receive(&self, connection: &mut Connection) -> Option<Vec<u8>> {
        let result = connection.receive().await;
        self.log(connection, |log| match result {
            Ok(Some(chunk)) => {
                log.received.extend_from_slice(&chunk);
                Some(chunk.into_vec())
            }
            Ok(None) => {
                log.end = Some(Ok(()));
                None
            }
            Err(error) => {
                log.end = Some(Err(error));
                None
            }
        })
    }

    /// Sends and logs. Returns false if the sender got an error.
    async fn send(&self, connection: &Connection, bytes: Vec<u8>) -> bool {
        let sent = connection.sender().send(bytes.clone()).await;
        self.log(connection, |log| match sent {
            Ok(()) => log.accepted.extend_from_slice(&bytes),
            Err(_) => log.send_failed = true,
        });
        sent.is_ok()
    }

    async fn echo(self, mut connection: Connection) {
        while let Some(bytes) = self.receive(&mut connection).await {
            if !self.send(&connection, bytes).await {
                break;
            }
        }
    }
}

/// Logs that a handler's future was dropped.
struct NotesDrop(usize, Stage);

impl Drop for NotesDrop {
    fn drop(&mut self) {
        self.1.log_of(self.0, |log| log.dropped = true);
    }
}

/// The simulated handler thread, stepped while the worker waits.
struct HandlerThread {
    executor: Executor,
    /// The executor's tasks, while the current thread plays the worker.
    local: Option<Local>,
    signal: Arc<Signal>,
    parked: bool,
    woken: Arc<AtomicBool>,
}

impl Neighbour for HandlerThread {
    fn step(&mut self) -> bool {
        if self.parked {
            if !self.woken.swap(false, Ordering::SeqCst) {
                return false;
            }
            self.signal.awake();
            self.parked = false;
        }
        swap_local(&mut self.local);
        let turn = WakeScope::begin();
        self.executor.turn();
        drop(turn);
        if !self.executor.has_work() {
            self.signal.announce_sleep();
            self.parked = self.executor.is_idle();
            if !self.parked {
                self.signal.awake();
            }
        }
        swap_local(&mut self.local);
        true
    }
}

/// The executor ends on its own thread.
impl Drop for HandlerThread {
    fn drop(&mut self) {
        swap_local(&mut self.local);
    }
}

struct Simulation {
    worker: Worker<SimDriver>,
    net: Rc<RefCell<Net>>,
    stage: Stage,
    worker_shared: Arc<WorkerShared>,
    inbound_bytes_max: u32,
}

impl Simulation {
    fn new<H, F>(setup: Setup, handler: H) -> Self
    where
        H: Fn(Connection, Stage) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        let net = Net::new(&setup.sim);
        let mut driver = SimDriver::new(&setup.sim, Rc::clone(&net));
        let stage = Stage { epoch: Instant::now(), clock: net.borrow().clock(), logs: Arc::default() };
        let worker_shared =
            WorkerShared::new(0, driver.signal(), stage.epoch, setup.inbound, setup.outbound, Arc::default());
        let staged = stage.clone();
        let start: Arc<Start> = Arc::new(move |connection: Connection, queue: &Arc<RunQueue>| {
            let (number, stage) = (Net::peer_of(connection.peer_addr()), staged.clone());
            let done = stage.clone();
            stage.log_of(number, |log| log.started = true);
            let shared = Arc::clone(&connection.sender().shared);
            let future = handler(connection, stage);
            let notes_drop = NotesDrop(number, done.clone());
            queue.spawn(shared, label::UNKNOWN, async move {
                let _notes_drop = notes_drop;
                future.await;
                let now = done.now();
                done.log_of(number, |log| log.done_at = Some(now));
            });
        });
        let (queue, inline) = if setup.inline {
            let queue = RunQueue::new(driver.signal());
            let executor = Executor::new(Arc::clone(&queue), start);
            (queue, Some(executor))
        } else {
            let woken = Arc::new(AtomicBool::new(false));
            let wake = Arc::clone(&woken);
            let signal = Signal::new(move || wake.store(true, Ordering::SeqCst));
            let queue = RunQueue::new(Arc::clone(&signal));
            let executor = Executor::new(Arc::clone(&queue), start);
            let mut local = None;
            swap_local(&mut local);
            driver.set_neighbour(HandlerThread { executor, local, signal, parked: false, woken });
            (queue, None)
        };
        // One buffer beyond the mark, because a receive ends with the buffer in which its budget is reached.
        let bound = setup.inbound.bytes_high + setup.sim.buffer_bytes as u32;
        let inbound_bytes_max = if setup.sim.receive_budget { bound } else { u32::MAX };
        let worker = Worker::new(driver, Arc::clone(&worker_shared), Arc::new(setup.config), 1, vec![queue], inline);
        Self { worker, net, stage, worker_shared, inbound_bytes_max }
    }

    fn connect(&self, script: Script) -> usize {
        self.net.borrow_mut().connect(script)
    }

    fn now(&self) -> Duration {
        self.net.borrow().now()
    }

    fn stats(&self) -> WorkerStats {
        self.worker_shared.counters.snapshot()
    }

    fn tick(&mut self) {
        self.worker.tick().expect("the simulated driver does not fail");
        for conn in self.worker.conns.iter() {
            let bytes = conn.shared.lock_inbound().bytes();
            let finished = conn.shared.lock_outbound().check_open().is_err();
            assert_eq!(conn.shared.is_finished(), finished, "the flag for readers agrees with the queue");
            assert!(bytes <= self.inbound_bytes_max, "{bytes} bytes in an inbound buffer, above its bound");
        }
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..TICKS_MAX {
            if done(self) {
                return;
            }
            self.tick();
        }
        panic!("waited {TICKS_MAX} ticks in vain for {what}");
    }

    /// Makes the worker tick `after` the current time at the latest, unless dropped before.
    fn alarm(&self, after: Duration) -> Pin<Box<Sleep>> {
        let mut sleep = Box::pin(Timer::new(Arc::clone(&self.worker_shared)).sleep_until(self.stage.instant(after)));
        let pending = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        assert!(pending, "an alarm is in the future");
        sleep
    }

    /// Runs until the expected number of connections has closed.
    fn run_until_closed(&mut self, connections: u64) {
        self.run_until("every connection to close", |sim| {
            let stats = sim.stats();
            stats.accepted_total == connections && stats.connections == 0
        });
    }

    fn plan(&self, shutdown: Shutdown) -> ShutdownPlan {
        shutdown.plan(self.stage.instant(Duration::ZERO))
    }

    fn begin_shutdown(&self, shutdown: Shutdown) {
        self.worker_shared.mailbox.post(Command::Shutdown(self.plan(shutdown)));
    }

    /// Shuts down and checks that no connection and no operation is left and that the gauges are zero.
    fn finish(mut self, shutdown: Shutdown) -> ShutdownReport {
        self.begin_shutdown(shutdown);
        self.run_to_end()
    }

    /// Finishes as [`finish`](Self::finish), and delivers everything in transit to the peers.
    fn finish_and_settle(&mut self, shutdown: Shutdown) {
        self.begin_shutdown(shutdown);
        self.run_to_end();
        self.net.borrow_mut().settle();
    }

    fn run_to_end(&mut self) -> ShutdownReport {
        self.run_until("the shutdown to end", |sim| sim.worker.is_finished());
        self.worker.driver.assert_idle();
        let stats = self.stats();
        assert_eq!((stats.connections, stats.paused), (0, 0), "the gauges count closed connections");
        assert_eq!(stats.closed_total + stats.failed_total, stats.accepted_total + stats.connected_total);
        self.run_handlers_out();
        self.worker.report()
    }

    /// Runs the handlers of closed connections to their ends.
    fn run_handlers_out(&mut self) {
        for _ in 0..TICKS_MAX {
            let runs = match &mut self.worker.inline {
                Some(executor) => {
                    executor.turn();
                    !executor.is_idle()
                }
                None => self.worker.driver.step_neighbour(),
            };
            if !runs {
                return;
            }
        }
        panic!("handlers do not end");
    }
}

/// Returns the script of a peer that sends `sends` and then FIN, and reads everything.
fn talker(sends: Vec<u8>) -> Script {
    Script {
        starts_at: Duration::ZERO,
        sends,
        ending: Ending::Fin,
        window_bytes: 64,
        reads: true,
        pace: Duration::ZERO,
    }
}

/// Returns bytes that differ from position to position.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn drain(timeout: Duration) -> Shutdown {
    Shutdown::default().drain_timeout(timeout)
}
