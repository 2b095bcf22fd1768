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

/// Time that workers have to end after the deadline of a shutdown, at which they reset their connections.
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
        let mut state = self.state();
        while state.ended < state.workers.len() {
            let end = state.shutdown.map(|plan| plan.deadline + WORKERS_END_TIMEOUT);
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => {
                    state.leave_behind();
                    return state.report;
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
