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
    pub(super) fn begin_walk(&mut self, lane: Arc<Lane>) {
        let members = lane.take_members();
        self.walks.push_back(Delivery { lane, members });
    }

    /// Goes on with each fan-out in turn, as far as a tick may.
    pub(super) fn step_walks(&mut self) {
        let mut budget = TICK_MEMBERS_MAX;
        for _ in 0..self.walks.len() {
            let Some(mut walk) = self.walks.pop_front() else { return };
            let more = walk.members.walk(&walk.lane, &mut budget, self);
            if more {
                self.walks.push_back(walk);
            } else {
                walk.lane.give_members(walk.members);
            }
            if budget == 0 {
                return;
            }
        }
    }

    /// A send has ended: hands over what is kept for its connection, as far as there is space.
    pub(super) fn hand_over_kept(&mut self, key: ConnKey) {
        let Some((link, mut kept)) = self.kept.remove(&key) else { return };
        while let Some((bytes, bytes_max)) = kept.first() {
            match self.hand_over(&link, &bytes, bytes_max) {
                Ok(()) => kept.take_first(),
                Err(SendError::Full) => {
                    self.kept.insert(key, (link, kept));
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
    fn hand_over(&mut self, link: &Arc<ConnShared>, bytes: &Bytes, bytes_max: usize) -> Result<(), SendError> {
        let offered = link.outbound.lock().offer(bytes, bytes_max, &self.shared.outbound)?;
        match offered {
            Offered::Batch(batch) => self.send(link.key, batch),
            Offered::Queued(Schedule::NeedsWake) => self.flush(link.key),
            Offered::Queued(Schedule::AlreadyScheduled) => {}
        }
        Ok(())
    }

    fn has_kept(&self, link: &ConnShared) -> bool {
        self.kept.contains_key(&link.key)
    }

    fn keep(&mut self, link: &Arc<ConnShared>, bytes: Bytes, key: Option<Key>, bounds: BacklogBounds) {
        // The queue is full, so a send is under way, or will be when a hold ends: its end looks here.
        let (_, kept) = self.kept.entry(link.key).or_insert_with(|| (Arc::clone(link), Backlog::default()));
        kept.keep(bytes, key, bounds);
    }

    fn abort(&mut self, link: &Arc<ConnShared>) {
        self.fail(link.key, CloseCause::TooSlow);
    }

    fn finish(&mut self, link: &Arc<ConnShared>, last: &[u8]) {
        // An error means that other last bytes were first, or that the connection is closed: it ends in any case.
        let _ = ByteSender { link: Arc::clone(link) }.append_last(|tail| tail.extend_from_slice(last));
    }
}
