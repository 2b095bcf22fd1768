//! Fan-outs: delivery of messages to the members that this worker serves, a slice per tick.

use std::sync::Arc;

use bytes::Bytes;

use super::Worker;
use crate::connection::sender::ByteSender;
use crate::driver::Driver;
use crate::error::{CloseCause, SendError};
use crate::fanout::{Backlog, BacklogBounds, ConflationKey, HandOver, Lane, Members};
use crate::shared::ConnShared;
use crate::shared::key::ConnKey;
use crate::shared::outbound::{Offered, Schedule};

/// Maximum members served per tick, over all fan-outs: bounds how long a message to very many delays the worker's other
/// connections. At 1-2 µs each a slice takes a few hundred microseconds, and its memory is still in the processor's
/// caches when its sends complete.
pub(super) const TICK_MEMBERS_MAX: usize = 256;

/// A delivery in progress: a fan-out with messages for members of this worker.
pub(super) struct Delivery {
    lane: Arc<Lane>,
    members: Box<Members>,
}

impl<D: Driver> Worker<D> {
    /// Begins the delivery of a fan-out that was at rest.
    pub(super) fn begin_delivery(&mut self, lane: Arc<Lane>) {
        let members = lane.take_members();
        self.deliveries.push_back(Delivery { lane, members });
    }

    /// Continues each delivery in turn, within the bounds of a tick.
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

    /// Hands over the backlog of a connection whose send has ended, as far as there is space.
    pub(super) fn hand_over_backlog(&mut self, key: ConnKey) {
        let Some((shared, mut backlog)) = self.backlogs.remove(&key) else { return };
        while let Some((bytes, bytes_max)) = backlog.first() {
            match self.hand_over(&shared, &bytes, bytes_max) {
                Ok(()) => backlog.take_first(),
                Err(SendError::Full) => {
                    self.backlogs.insert(key, (shared, backlog));
                    return;
                }
                // Nothing can follow, so the backlog is dropped.
                Err(_) => return,
            }
        }
    }
}

impl Delivery {
    /// Drops the delivery and its members: the worker ends, so nothing must wait for it.
    pub(super) fn abandon(self) {
        let Self { lane, members } = self;
        members.abandon(&lane);
        lane.abandon();
    }
}

impl<D: Driver> HandOver for Worker<D> {
    fn hand_over(&mut self, shared: &Arc<ConnShared>, bytes: &Bytes, bytes_max: usize) -> Result<(), SendError> {
        let offered = shared.lock_outbound().offer(bytes, bytes_max, &self.worker_shared.outbound)?;
        match offered {
            Offered::Send(batch) => self.send(shared.key, batch),
            Offered::Queued(Schedule::NeedsWake) => self.flush(shared.key),
            Offered::Queued(Schedule::AlreadyScheduled) => {}
        }
        Ok(())
    }

    fn has_backlog(&self, shared: &ConnShared) -> bool {
        self.backlogs.contains_key(&shared.key)
    }

    fn push_backlog(
        &mut self,
        shared: &Arc<ConnShared>,
        bytes: Bytes,
        key: Option<ConflationKey>,
        bounds: BacklogBounds,
    ) {
        // The queue is full, so a send is in flight, or will be after exclusive use; its completion checks the backlog.
        let (_, backlog) = self.backlogs.entry(shared.key).or_insert_with(|| (Arc::clone(shared), Backlog::default()));
        backlog.push(bytes, key, bounds);
    }

    fn abort(&mut self, shared: &Arc<ConnShared>) {
        self.fail(shared.key, CloseCause::TooSlow);
    }

    fn finish(&mut self, shared: &Arc<ConnShared>, last: &[u8]) {
        // An error means that the connection is closed or already has its last bytes: it ends in any case.
        let _ = ByteSender { shared: Arc::clone(shared) }.append_last(|tail| tail.extend_from_slice(last));
    }
}
