//! Fan-outs: the worker's walk over the members of those that have something for them, a slice of it each tick.

use std::sync::Arc;

use bytes::Bytes;

use super::Worker;
use crate::connection::sender::ByteSender;
use crate::driver::Driver;
use crate::error::{CloseCause, SendError};
use crate::fanout::{Backlog, BacklogBounds, HandOver, Key, Lane, Members};
use crate::shared::ConnShared;
use crate::shared::key::ConnKey;
use crate::shared::outbound::{Offered, Schedule};

/// Members served in one tick, over all fan-outs: bounds how long the other connections of the worker wait for a message
/// to very many. At 1-2 µs each it is some hundred microseconds, and what a slice touches is still in the processor's
/// caches when its sends complete.
pub(super) const TICK_MEMBERS_MAX: usize = 256;

/// A fan-out that has something for members of this worker.
pub(super) struct Delivery {
    lane: Arc<Lane>,
    members: Box<Members>,
}

impl<D: Driver> Worker<D> {
    /// A fan-out that rested has something to do.
    pub(super) fn begin_delivery(&mut self, lane: Arc<Lane>) {
        let members = lane.take_members();
        self.deliveries.push_back(Delivery { lane, members });
    }

    /// Goes on with each fan-out in turn, as far as a tick may.
    pub(super) fn step_deliveries(&mut self) {
        let mut budget = TICK_MEMBERS_MAX;
        for _ in 0..self.deliveries.len() {
            let Some(mut delivery) = self.deliveries.pop_front() else { return };
            let more = delivery.members.deliver(&delivery.lane, &mut budget, self);
            if more {
                self.deliveries.push_back(delivery);
            } else {
                delivery.lane.give_members(delivery.members);
            }
            if budget == 0 {
                return;
            }
        }
    }

    /// A send has ended: hands over what is kept for its connection, as far as there is space.
    pub(super) fn hand_over_backlog(&mut self, key: ConnKey) {
        let Some((shared, mut backlog)) = self.backlogs.remove(&key) else { return };
        while let Some((bytes, bytes_max)) = backlog.first() {
            match self.hand_over(&shared, &bytes, bytes_max) {
                Ok(()) => backlog.take_first(),
                Err(SendError::Full) => {
                    self.backlogs.insert(key, (shared, backlog));
                    return;
                }
                // Nothing can follow: what is kept is dropped.
                Err(_) => return,
            }
        }
    }
}

impl Delivery {
    /// The worker ends: nobody may wait for what it will not do.
    pub(super) fn abandon(self) {
        let Self { lane, members } = self;
        drop(members);
        lane.abandon();
    }
}

impl<D: Driver> HandOver for Worker<D> {
    fn hand_over(&mut self, shared: &Arc<ConnShared>, bytes: &Bytes, bytes_max: usize) -> Result<(), SendError> {
        let offered = shared.outbound.lock().offer(bytes, bytes_max, &self.worker_shared.outbound)?;
        match offered {
            Offered::Batch(batch) => self.send(shared.key, batch),
            Offered::Queued(Schedule::NeedsWake) => self.flush(shared.key),
            Offered::Queued(Schedule::AlreadyScheduled) => {}
        }
        Ok(())
    }

    fn has_backlog(&self, shared: &ConnShared) -> bool {
        self.backlogs.contains_key(&shared.key)
    }

    fn push_backlog(&mut self, shared: &Arc<ConnShared>, bytes: Bytes, key: Option<Key>, bounds: BacklogBounds) {
        // The queue is full, so a send is under way, or will be when a hold ends: its end looks here.
        let (_, backlog) = self.backlogs.entry(shared.key).or_insert_with(|| (Arc::clone(shared), Backlog::default()));
        backlog.push(bytes, key, bounds);
    }

    fn abort(&mut self, shared: &Arc<ConnShared>) {
        self.fail(shared.key, CloseCause::TooSlow);
    }

    fn finish(&mut self, shared: &Arc<ConnShared>, last: &[u8]) {
        // An error means that other last bytes were first, or that the connection is closed: it ends in any case.
        let _ = ByteSender { shared: Arc::clone(shared) }.append_last(|tail| tail.extend_from_slice(last));
    }
}
