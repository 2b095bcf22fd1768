//! Connecting: attempts in progress, and the connections that they open.

use std::sync::Arc;

use super::Worker;
use crate::driver::{Connected, Driver};
use crate::error::CloseCause;
use crate::shared::LocalEnd;
use crate::shared::attempt::{Attempt, ConnectFailure};

/// The attempts in progress, by number.
#[derive(Default)]
pub(super) struct Connects {
    attempts: Vec<Option<Arc<Attempt>>>,
    free: Vec<u32>,
}

impl Connects {
    fn insert(&mut self, attempt: Arc<Attempt>) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.attempts.push(None);
            (self.attempts.len() - 1) as u32
        });
        self.attempts[number as usize] = Some(attempt);
        number
    }

    fn remove(&mut self, number: u32) -> Option<Arc<Attempt>> {
        let attempt = self.attempts.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(attempt)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.attempts.len()
    }

    /// Returns the attempts with their numbers.
    fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Attempt>)> {
        self.attempts.iter().enumerate().filter_map(|(number, attempt)| Some((number as u32, attempt.as_ref()?)))
    }

    /// Answers everything that waits for an attempt of a worker that has ended.
    pub(super) fn abandon(&mut self) {
        for attempt in std::mem::take(&mut self.attempts).into_iter().flatten() {
            drop(attempt.finish(Err(ConnectFailure::Ended)));
        }
    }
}

impl<D: Driver> Worker<D> {
    pub(super) fn connect(&mut self, attempt: Arc<Attempt>) {
        let number = self.connects.insert(Arc::clone(&attempt));
        let Some(mut request) = attempt.begin(number) else {
            self.connects.remove(number);
            return;
        };
        let begun = if self.refuses(&attempt) {
            Err(ConnectFailure::Draining)
        } else {
            request.complete(&self.config);
            self.driver.connect(number, request)
        };
        if let Err(failure) = begun {
            self.fail_attempt(number, failure);
        }
    }

    /// Returns whether an attempt comes too late: connections are being drained.
    fn refuses(&self, attempt: &Attempt) -> bool {
        let (now, clock) = (self.worker_shared.clock.now(), &self.worker_shared.clock);
        self.drain.as_ref().is_some_and(|drain| !attempt.while_draining || now >= clock.tick_of(drain.plan.deadline))
    }

    /// Ends an attempt that nobody waits for any more.
    pub(super) fn cancel_connect(&mut self, attempt: &Arc<Attempt>) {
        let Some(number) = attempt.number() else { return };
        // The number can already belong to another attempt.
        let current = self.connects.attempts.get(number as usize).and_then(Option::as_ref);
        if current.is_some_and(|current| Arc::ptr_eq(current, attempt)) {
            self.driver.cancel_connect(number);
        }
    }

    /// Ends the attempts in progress because of a shutdown: all of them, or those that do not go on while it drains.
    pub(super) fn drain_attempts(&mut self, all: bool) {
        let ended: Vec<_> = self
            .connects
            .iter()
            .filter(|(_, attempt)| all || !attempt.while_draining)
            .map(|(number, attempt)| (number, Arc::clone(attempt)))
            .collect();
        for (number, attempt) in ended {
            // Without an answer so far, there is no connection either.
            drop(attempt.finish(Err(ConnectFailure::Draining)));
            self.driver.cancel_connect(number);
        }
    }

    pub(super) fn on_connected(&mut self, number: u32, result: Result<Box<Connected>, ConnectFailure>) {
        let connected = match result {
            Ok(connected) => connected,
            Err(failure) => return self.fail_attempt(number, failure),
        };
        let key = connected.key;
        let attempt = self.connects.remove(number);
        // (Elsewhere no executor runs a task for it.)
        let waiting = attempt.as_ref().and_then(|attempt| attempt.ready.as_ref());
        let ready = waiting.unwrap_or_else(|| self.handlers[self.next_handler].ready());
        let local = LocalEnd::new(&self.worker_shared, ready, connected.local, LocalEnd::OUTBOUND);
        #[cfg(feature = "tls")]
        let local = local.with_tls();
        let shared = self.open_conn(key, connected.peer, Arc::new(local));
        self.arm_receive(key);
        self.worker_shared.counters.connected_total.add(1);
        // First, because another thread can use the connection at once.
        self.drain_if_shutting_down(key);
        // Not taken: it was given up when the connection was already open.
        if attempt.is_none_or(|attempt| attempt.finish(Ok(shared)).is_some()) {
            self.fail(key, CloseCause::Aborted);
        }
    }

    fn fail_attempt(&mut self, number: u32, failure: ConnectFailure) {
        self.worker_shared.counters.connect_failures_total.add(1);
        if let Some(attempt) = self.connects.remove(number) {
            drop(attempt.finish(Err(failure)));
        }
        // The room that was kept for its connection is free again.
        self.resume_accept();
    }
}
