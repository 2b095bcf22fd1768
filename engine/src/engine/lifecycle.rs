//! The end of an engine: the shutdown in progress, the workers still running, and those that failed.
//!
//! A worker that fails shuts the others down: a server that has lost part of its clients and no longer accepts them
//! should be noticed and restarted. Waiting for the end is bounded, because a handler can hold a worker's thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::executor::RunQueue;
use crate::shared::command::Command;
use crate::shared::memory::MemoryBudget;
use crate::shared::worker_shared::WorkerShared;
use crate::shutdown::{Shutdown, ShutdownPlan, ShutdownReport};

/// Time that the connections of the other workers have to end when a worker has failed.
const FAILURE_DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Time that workers have to end after the deadline of a shutdown, at which they reset their connections, and again
/// while the number of connections falls: very many take longer to reset.
const WORKERS_END_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Lifecycle {
    pub(crate) memory: MemoryBudget,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    workers: Vec<Arc<WorkerShared>>,
    /// The queues of each worker's handlers, in the order of the workers.
    queues: Vec<Vec<Arc<RunQueue>>>,
    /// Number of places given out.
    places: usize,
    /// Workers that have ended, in any way.
    ended: usize,
    shutdown: Option<ShutdownPlan>,
    report: ShutdownReport,
    failure: Option<Failure>,
    /// The wait for the end is over.
    closed: bool,
}

/// The first worker that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) worker: usize,
    pub(crate) reason: String,
}

impl Lifecycle {
    pub(crate) fn new(memory: MemoryBudget) -> Arc<Self> {
        Arc::new(Self { memory, state: Mutex::default(), changed: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a worker that is about to run, with the queues of its handlers. It must call [`end`](Self::end).
    pub(crate) fn add(&self, worker: &Arc<WorkerShared>, queues: Vec<Arc<RunQueue>>) {
        let mut state = self.state();
        state.workers.push(Arc::clone(worker));
        state.queues.push(queues);
        if let Some(plan) = state.shutdown {
            worker.post_now(Command::Shutdown(plan));
        }
    }

    /// Returns the workers, in the order in which they started.
    pub(crate) fn workers(&self) -> Vec<Arc<WorkerShared>> {
        self.state().workers.clone()
    }

    /// Returns the next worker and the next of its handlers' queues, each in turn. A running engine has workers, and
    /// each of them a queue.
    pub(crate) fn next_place(&self) -> (Arc<WorkerShared>, Arc<RunQueue>) {
        let mut state = self.state();
        let (worker, round) = (state.places % state.workers.len(), state.places / state.workers.len());
        state.places = state.places.wrapping_add(1);
        let queues = &state.queues[worker];
        // Another queue for each worker, so that few connections use all of them too.
        let queue = &queues[(worker + round) % queues.len()];
        (Arc::clone(&state.workers[worker]), Arc::clone(queue))
    }

    /// Begins a shutdown, or shortens the one in progress.
    pub(crate) fn shut_down(&self, shutdown: Shutdown) {
        let (plan, workers) = {
            let mut state = self.state();
            let now = state.workers.first().map_or_else(Instant::now, |worker| worker.clock.instant());
            let plan = shutdown.plan(now);
            let current = state.shutdown.get_or_insert(plan);
            current.deadline = current.deadline.min(plan.deadline);
            (plan, state.workers.clone())
        };
        self.changed.notify_all();
        for worker in workers {
            worker.post_now(Command::Shutdown(plan));
        }
    }

    /// Records the end of a worker. A failed one shuts the others down.
    pub(crate) fn end(&self, worker: usize, outcome: Result<ShutdownReport, String>) {
        let failed = outcome.is_err();
        {
            let mut state = self.state();
            state.ended += 1;
            match outcome {
                Ok(part) => state.report.add(part),
                Err(reason) => state.fail(worker, reason),
            }
        }
        self.changed.notify_all();
        if failed {
            self.shut_down(Shutdown::default().drain_timeout(FAILURE_DRAIN_TIMEOUT));
        }
    }

    /// Waits until every worker has ended, or should have by the deadline of a shutdown.
    pub(crate) fn wait(&self) -> ShutdownReport {
        self.wait_with(WORKERS_END_TIMEOUT, State::connections)
    }

    /// Waits until every worker has ended, or from the deadline of a shutdown on has `timeout` as long as the number of
    /// open connections falls.
    fn wait_with(&self, timeout: Duration, connections: impl Fn(&State) -> u64) -> ShutdownReport {
        let mut state = self.state();
        // The end of the wait, once the deadline has passed, and the connections that were open when it was set.
        let mut last: Option<(Instant, u64)> = None;
        while state.ended < state.workers.len() {
            let end = last.map(|(end, _)| end).or(state.shutdown.map(|plan| plan.deadline));
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => {
                    let open = connections(&state);
                    if last.is_some_and(|(_, before)| open >= before) {
                        state.leave_behind();
                        return state.report;
                    }
                    last = Some((Instant::now() + timeout, open));
                    state
                }
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.report
    }

    /// Waits for `time`. Returns false once all workers have ended or the wait for their end is over.
    pub(crate) fn runs_for(&self, time: Duration) -> bool {
        let runs = |state: &mut State| !state.closed && state.ended < state.workers.len();
        let waited = self.changed.wait_timeout_while(self.state(), time, runs);
        runs(&mut waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Ends the wait for the end, with or without workers left behind.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Returns the first failure of a worker.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.state().failure.clone()
    }
}

impl State {
    /// Returns the number of open connections.
    fn connections(&self) -> u64 {
        self.workers.iter().map(|worker| worker.counters.connections.load()).sum()
    }

    fn fail(&mut self, worker: usize, reason: String) {
        log::error!("worker {worker} failed, its connections are closed and the engine is shutting down: {reason}");
        self.report.failed_workers += 1;
        self.failure.get_or_insert(Failure { worker, reason });
    }

    /// Gives up on the workers that have not ended.
    fn leave_behind(&mut self) {
        for worker in self.workers.clone() {
            if !worker.has_ended() {
                self.fail(worker.index, "a handler blocked its thread past the deadline of the shutdown".to_owned());
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::config::{InboundMarks, OutboundMarks};
    use crate::shared::signal::Signal;

    fn with_a_worker() -> Arc<Lifecycle> {
        let engine = Arc::<crate::shared::engine_shared::EngineShared>::default();
        let lifecycle = Lifecycle::new(engine.memory.clone());
        let inbound = InboundMarks { bytes_high: 2, bytes_low: 1, chunks_high: 2, chunks_low: 1 };
        let outbound = OutboundMarks { bytes_high: 2, bytes_low: 1 };
        let worker = WorkerShared::new(0, Signal::new(|| {}), Instant::now(), inbound, outbound, engine);
        lifecycle.add(&worker, Vec::new());
        lifecycle
    }

    /// Resetting very many connections takes longer than a worker has that does nothing.
    #[test]
    fn a_worker_that_still_resets_connections_is_waited_for() {
        let lifecycle = with_a_worker();
        lifecycle.shut_down(Shutdown::immediate());
        let (looks, looked) = channel();
        let ending = Arc::clone(&lifecycle);
        let end = std::thread::spawn(move || {
            for _ in 0..5 {
                looked.recv().unwrap();
            }
            ending.end(0, Ok(ShutdownReport::default()));
        });
        let left = std::cell::Cell::new(1_000_000);
        let report = lifecycle.wait_with(Duration::from_millis(1), |_| {
            left.set(left.get() - 1);
            let _ = looks.send(());
            left.get()
        });
        assert_eq!(report.failed_workers, 0);
        end.join().unwrap();
    }

    #[test]
    fn a_worker_that_does_nothing_is_left_behind() {
        let lifecycle = with_a_worker();
        lifecycle.shut_down(Shutdown::immediate());
        assert_eq!(lifecycle.wait_with(Duration::from_millis(1), |_| 7).failed_workers, 1);
    }
}
