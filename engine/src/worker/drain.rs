//! Graceful shutdown of one worker: notify every connection, wait, reset the rest.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::{Drain, Due, Phase, Worker};
use crate::clock::Clock;
use crate::driver::Driver;
use crate::error::CloseCause;
use crate::shared::ConnShared;
use crate::shared::key::ConnKey;
use crate::shared::outbound::Schedule;
use crate::shutdown::{ShutdownPlan, ShutdownReport};

impl<D: Driver> Worker<D> {
    pub(super) fn begin_drain(&mut self, plan: ShutdownPlan) {
        match &mut self.drain {
            // A second call can only shorten the deadline.
            Some(drain) => {
                drain.plan.deadline = drain.plan.deadline.min(plan.deadline);
                drain.plan.spread = drain.plan.spread.min(plan.spread);
            }
            None => {
                self.driver.close_listeners();
                let (of, open_at_start) = (self.conns.bound() as usize, self.open as u64);
                self.drain = Some(Drain { plan, notified: 0, of, open_at_start, forced: 0 });
                self.drain_attempts(false);
            }
        }
        // As a timer, because those expire after a look at everything that has arrived: a connection whose peer has
        // begun its next request is then not mistaken for an idle one.
        self.wheel.insert(self.worker_shared.clock.now() + 1, Due::Drain);
    }

    /// Notifies the connections that are due, resets all at the deadline, and sets the timer for the next step.
    pub(super) fn step_drain(&mut self) {
        let (now, clock) = (self.worker_shared.clock.now(), &self.worker_shared.clock);
        let Some(drain) = &mut self.drain else { return };
        let (began, deadline) = (clock.tick_of(drain.plan.began), clock.tick_of(drain.plan.deadline));
        let due = share_due(drain.of, now.saturating_sub(began), drain.plan.spread);
        let from = drain.notified;
        drain.notified = due.max(from);
        for index in from..due {
            if let Some(key) = self.key_at(index as u32) {
                self.notify_draining(key);
            }
        }
        if now >= deadline {
            return self.force_all();
        }
        let all_notified = self.drain.as_ref().is_none_or(|drain| drain.notified >= drain.of);
        self.wheel.insert(if all_notified { deadline } else { now + 1 }, Due::Drain);
    }

    fn key_at(&self, index: u32) -> Option<ConnKey> {
        Some(self.conns.get(index)?.shared.key)
    }

    /// Queues the connection's farewell and wakes its handler, whether it waits to read or to send.
    pub(super) fn notify_draining(&mut self, key: ConnKey) {
        let Some(shared) = self.conn(key).map(|conn| Arc::clone(&conn.shared)) else { return };
        shared.begin_draining();
        self.queue_farewell(&shared);
    }

    /// Queues a connection's farewell and wakes its handler. From then on the connection has the farewell's time to
    /// end.
    pub(super) fn queue_farewell(&mut self, shared: &ConnShared) {
        let (timeout, schedule, waiting) = shared
            .end_outbound(|outbound| (outbound.farewell_timeout(), outbound.queue_farewell(), outbound.take_wakers()));
        let reader = shared.take_reader(&mut shared.lock_inbound());
        waiting.into_iter().chain(reader).for_each(Waker::wake);
        if schedule == Schedule::NeedsWake {
            self.flush(shared.key);
        }
        if let Some(timeout) = timeout {
            let end = self.worker_shared.clock.after(timeout);
            shared.lock_outbound().set_deadlines(|deadlines| deadlines.lifetime = deadlines.lifetime.min(end));
            self.check_deadlines(shared.key);
        }
    }

    /// Includes a connection that was accepted before its listener closed, or opened since, in a shutdown in progress.
    pub(super) fn drain_if_shutting_down(&mut self, key: ConnKey) {
        let (now, clock) = (self.worker_shared.clock.now(), &self.worker_shared.clock);
        let Some(drain) = &mut self.drain else { return };
        drain.open_at_start += 1;
        if now >= clock.tick_of(drain.plan.deadline) {
            return self.force(key);
        }
        self.notify_draining(key);
    }

    fn force_all(&mut self) {
        self.drain_attempts(true);
        for index in 0..self.conns.bound() {
            if let Some(key) = self.key_at(index) {
                self.force(key);
            }
        }
    }

    /// Resets a connection, unless it is already closing.
    fn force(&mut self, key: ConnKey) {
        if self.conn(key).is_none_or(|conn| conn.phase == Phase::Closing) {
            return;
        }
        if let Some(drain) = &mut self.drain {
            drain.forced += 1;
        }
        self.fail(key, CloseCause::Shutdown);
    }

    /// Returns whether a shutdown has ended everything in this worker.
    pub(super) fn is_finished(&self) -> bool {
        self.drain.is_some() && self.open == 0 && self.connects.is_empty() && self.driver.in_flight() == 0
    }

    pub(super) fn report(&self) -> ShutdownReport {
        let mut report = ShutdownReport::default();
        if let Some(drain) = &self.drain {
            report.forced = drain.forced;
            report.drained = drain.open_at_start.saturating_sub(drain.forced);
        }
        report
    }
}

/// Returns how many of `of` connections are to be notified after `elapsed` ticks of a spread.
fn share_due(of: usize, elapsed: u64, spread: Duration) -> usize {
    let spread = Clock::ticks_in(spread);
    if elapsed >= spread {
        return of;
    }
    (of as u64 * elapsed / spread) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_notifies_in_proportion_and_all_at_its_end() {
        let spread = crate::clock::TICK * 10;
        assert_eq!(share_due(100, 0, Duration::ZERO), 100);
        assert_eq!(share_due(100, 0, spread), 0);
        assert_eq!(share_due(100, 5, spread), 50);
        assert_eq!(share_due(100, 10, spread), 100);
        assert_eq!(share_due(1, 9, spread), 0);
    }
}
