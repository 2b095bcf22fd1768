//! The members of a fan-out that one worker serves, and the walk over them.
//!
//! The walk goes in rounds. A round takes the pending messages (small ones are joined into one buffer, so that a burst
//! leaves with one send per member) and hands them to member after member, in slices between which the worker does its
//! other work. Joining and leaving do not affect a round in progress: a member gets exactly the messages published
//! between its joining and its leaving.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;

use super::backlog::ConflationKey;
use super::lane::{Lane, LaneOp};
use super::publication::Publication;
use super::round::{Round, joinable};
use super::{BacklogBounds, JoinOptions, MemberId, SlowMemberPolicy};
use crate::error::SendError;
use crate::shared::ConnShared;
use crate::util::pieces::Pieces;
use crate::util::prefetch::prefetch;

/// Identifies one membership for the life of the process.
pub(super) type MembershipId = u64;

/// A connection's state is prefetched this many members ahead: with very many members it is in no cache, and waiting
/// for memory takes as long as all other work on several members.
const MEMBERS_AHEAD: usize = 8;

/// What a membership and its member share.
#[derive(Debug)]
pub(super) struct Presence {
    ended: AtomicBool,
    /// The place of the member in the table of its worker, or [`NOWHERE`]. Only that worker uses it.
    place: AtomicU32,
}

/// The place of a member that is not in the table yet, or not any more.
const NOWHERE: u32 = u32::MAX;

impl Default for Presence {
    fn default() -> Self {
        Self { ended: AtomicBool::new(false), place: AtomicU32::new(NOWHERE) }
    }
}

impl Presence {
    fn place(&self) -> Option<u32> {
        Some(self.place.load(Ordering::Relaxed)).filter(|place| *place != NOWHERE)
    }

    fn set_place(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Ends the membership, when the member leaves or is removed, whichever comes first.
    pub(super) fn end(&self, lane: &Lane) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            lane.present.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// One connection in one fan-out.
pub(super) struct Member {
    pub(super) shared: Arc<ConnShared>,
    pub(super) id: MemberId,
    pub(super) membership_id: MembershipId,
    pub(super) slow: SlowMemberPolicy,
    /// Bytes that may be queued for it; `usize::MAX` for no bound.
    pub(super) queue_bytes_max: usize,
    pub(super) variant: u32,
    pub(super) variant_only: bool,
    pub(super) presence: Arc<Presence>,
    /// Numbers of the first message it gets, and of the first it no longer gets.
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Member {
    pub(super) fn new(
        shared: Arc<ConnShared>,
        id: MemberId,
        membership_id: MembershipId,
        options: JoinOptions,
    ) -> Self {
        let JoinOptions { slow, queue_bytes_max, variant, variant_only } = options;
        let queue_bytes_max = queue_bytes_max.unwrap_or(usize::MAX);
        let presence = Arc::default();
        let (from, to) = (0, u64::MAX);
        Self { shared, id, membership_id, slow, queue_bytes_max, variant, variant_only, presence, from, to }
    }
}

/// The operations of a worker on its members.
pub(crate) trait HandOver {
    /// Queues `bytes` for a connection.
    fn hand_over(&mut self, shared: &Arc<ConnShared>, bytes: &Bytes, bytes_max: usize) -> Result<(), SendError>;
    /// Returns whether a connection has a backlog.
    fn has_backlog(&self, shared: &ConnShared) -> bool;
    /// Adds `bytes` to the backlog of a connection.
    fn push_backlog(
        &mut self,
        shared: &Arc<ConnShared>,
        bytes: Bytes,
        key: Option<ConflationKey>,
        bounds: BacklogBounds,
    );
    /// Resets a connection.
    fn abort(&mut self, shared: &Arc<ConnShared>);
    /// Queues the last bytes of a connection, regardless of the high mark.
    fn finish(&mut self, shared: &Arc<ConnShared>, last: &[u8]);
}

/// The members and pending messages. See the module.
#[derive(Default)]
pub(crate) struct Members {
    /// The members at the places below `count`, in no order.
    members: Pieces<Member>,
    count: u32,
    /// The number of members that get only messages with their variant.
    variant_only: usize,
    /// Members to remove once they have got their last message.
    leaving: Vec<Arc<Presence>>,
    pending: VecDeque<Arc<Publication>>,
    /// Numbers of messages that must begin a round. A connection can leave and rejoin before a round that its former
    /// membership still gets. Members are unordered, so one round must not serve both memberships.
    round_boundaries: VecDeque<u64>,
    /// The number of the next message.
    next: u64,
    round: Option<Round>,
    /// Connections whose sends wait until all messages before the number are handed over.
    releases: VecDeque<(u64, Arc<ConnShared>)>,
    ops: Vec<LaneOp>,
}

impl Members {
    /// Continues for at most `budget` members and subtracts those served from it. Returns false once there is nothing
    /// to do and the lane rests.
    pub(crate) fn deliver(&mut self, lane: &Lane, budget: &mut usize, worker: &mut impl HandOver) -> bool {
        loop {
            if self.round.is_none() && !self.begin_round(lane) {
                return false;
            }
            while let Some(index) = self.round.as_mut().and_then(Round::next) {
                if *budget == 0 {
                    return true;
                }
                *budget -= 1;
                if let Some(soon) = self.members.get((index + MEMBERS_AHEAD) as u32) {
                    prefetch(&*soon.shared);
                }
                self.serve(index, lane, worker);
                if let Some(round) = &mut self.round {
                    round.at += 1;
                }
            }
            self.end_round(lane);
        }
    }

    /// Ends every membership: the worker has ended.
    pub(crate) fn abandon(self, lane: &Lane) {
        self.members.iter().for_each(|member| member.presence.end(lane));
    }

    /// Takes the ops of the lane and begins a round. Returns false if there is nothing to publish.
    fn begin_round(&mut self, lane: &Lane) -> bool {
        let mut ops = std::mem::take(&mut self.ops);
        lane.inbox.take(&mut ops);
        // Joining and leaving alone begin no round.
        let more = loop {
            ops.drain(..).for_each(|op| self.accept(op, lane));
            if !self.pending.is_empty() {
                break true;
            }
            if !lane.inbox.take_or_rest(&mut ops) {
                break false;
            }
        };
        self.ops = ops;
        if !more {
            return false;
        }
        let first = self.next - self.pending.len() as u64;
        while self.round_boundaries.front().is_some_and(|boundary| *boundary <= first) {
            self.round_boundaries.pop_front();
        }
        let until_boundary = self.round_boundaries.front().map_or(usize::MAX, |boundary| (boundary - first) as usize);
        let count = joinable(&self.pending).min(until_boundary);
        let publications: Vec<_> = self.pending.drain(..count).collect();
        self.round = Some(Round::new(publications, first, self.count as usize, self.variant_only > 0));
        true
    }

    fn accept(&mut self, op: LaneOp, lane: &Lane) {
        match op {
            LaneOp::Join(mut member) => {
                member.from = self.next;
                if !self.leaving.is_empty() && self.round_boundaries.back() != Some(&self.next) {
                    self.round_boundaries.push_back(self.next);
                }
                self.variant_only += usize::from(member.variant_only);
                member.presence.set_place(self.count);
                drop(self.members.put(self.count, member));
                self.count += 1;
            }
            LaneOp::Leave(presence) => {
                let Some(member) = presence.place().and_then(|place| self.members.get_mut(place)) else { return };
                member.to = member.to.min(self.next);
                self.leaving.push(presence);
                if self.pending.is_empty() {
                    self.remove_leavers(lane);
                }
            }
            LaneOp::Publish(publication) => {
                self.pending.push_back(publication);
                self.next += 1;
            }
            LaneOp::Release(own) if self.pending.is_empty() => own.end_behind(),
            LaneOp::Release(own) => self.releases.push_back((self.next, own)),
        }
    }

    /// Hands the round to one member.
    fn serve(&mut self, index: usize, lane: &Lane, worker: &mut impl HandOver) {
        let (Some(round), Some(member)) = (&mut self.round, self.members.get_mut(index as u32)) else { return };
        let bytes_max = member.queue_bytes_max;
        if round.is_last {
            if round.is_for(0, member) {
                worker.finish(&member.shared, round.bytes_for(member));
                self.leave_now(index, lane);
            }
            return;
        }
        // The backlog goes first.
        let behind = member.slow.backlog_max().is_some() && worker.has_backlog(&member.shared);
        if !behind && round.is_whole_for(member) {
            match worker.hand_over(&member.shared, round.bytes_for(member), bytes_max) {
                Ok(()) => return round.whole += 1,
                // There can be space for some of the messages.
                Err(SendError::Full) if round.publications.len() > 1 => {}
                Err(error) => {
                    if !round.refused(0, member, error, lane, worker) {
                        self.leave_now(index, lane);
                    }
                    return;
                }
            }
        }
        for number in 0..round.publications.len() {
            if !round.is_for(number, member) {
                continue;
            }
            let handed_over = match behind {
                true => Err(SendError::Full),
                false => worker.hand_over(&member.shared, &round.message(number, member), bytes_max),
            };
            match handed_over {
                Ok(()) => round.part(number).count += 1,
                Err(error) => {
                    if !round.refused(number, member, error, lane, worker) {
                        return self.leave_now(index, lane);
                    }
                }
            }
        }
    }

    /// Removes a member: it gets nothing more.
    fn leave_now(&mut self, index: usize, lane: &Lane) {
        let member = &mut self.members[index as u32];
        member.to = 0;
        member.presence.end(lane);
        self.leaving.push(Arc::clone(&member.presence));
    }

    fn end_round(&mut self, lane: &Lane) {
        let Some(round) = self.round.take() else { return };
        self.remove_leavers(lane);
        let done = self.next - self.pending.len() as u64;
        while self.releases.front().is_some_and(|(until, _)| *until <= done) {
            if let Some((_, own)) = self.releases.pop_front() {
                own.end_behind();
            }
        }
        round.report();
    }

    /// Removes leaving members that have got everything. Not during a round, because members change places.
    fn remove_leavers(&mut self, lane: &Lane) {
        let done = self.next - self.pending.len() as u64;
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain(|presence| {
            let Some(place) = presence.place() else { return false };
            if self.members[place].to > done {
                return true;
            }
            presence.end(lane);
            presence.set_place(NOWHERE);
            self.remove(place);
            false
        });
        self.leaving = leaving;
    }

    /// Removes the member at `place`. The last one moves there.
    fn remove(&mut self, place: u32) {
        self.count -= 1;
        let Some(last) = self.members.take(self.count) else { return };
        let left = if place == self.count {
            last
        } else {
            last.presence.set_place(place);
            let Some(left) = self.members.put(place, last) else { return };
            left
        };
        self.variant_only -= usize::from(left.variant_only);
    }
}
