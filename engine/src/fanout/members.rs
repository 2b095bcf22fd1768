//! The members that one worker serves, and the walk over them.
//!
//! The walk goes in rounds. A round takes what is pending (small messages are joined into one buffer, so that a burst
//! leaves with one send for each member) and hands it to member after member, in slices between which the worker does
//! its other work. Who joins or leaves meanwhile changes nothing for the round: a member gets exactly the messages that
//! were published between its joining and its leaving.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::backlog::Key;
use super::lane::{Lane, Op};
use super::publication::Publication;
use super::round::{Round, joinable};
use super::{BacklogBounds, JoinOptions, MemberId};
use crate::error::SendError;
use crate::shared::ConnShared;
use crate::util::prefetch::prefetch;

/// Names one membership for ever.
pub(super) type MembershipId = u64;

/// So many members before its turn a connection's state is asked for: with very many members it is in no cache, and the
/// wait for memory is as long as all else that the walk does for some of them.
const MEMBERS_AHEAD: usize = 8;

/// Whether a membership still counts.
#[derive(Debug, Default)]
pub(super) struct Presence {
    ended: AtomicBool,
}

impl Presence {
    /// The member has left or was removed, whichever comes first.
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
    pub(super) options: JoinOptions,
    pub(super) presence: Arc<Presence>,
    /// Numbers of the first message that it gets, and of the first that it does not.
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
        Self { shared, id, membership_id, options, presence: Arc::default(), from: 0, to: u64::MAX }
    }
}

/// What the worker does for its members.
pub(crate) trait HandOver {
    /// Queues `bytes` for a connection, or says why not.
    fn hand_over(&mut self, shared: &Arc<ConnShared>, bytes: &Bytes, bytes_max: usize) -> Result<(), SendError>;
    /// Whether something is kept for a connection.
    fn has_backlog(&self, shared: &ConnShared) -> bool;
    /// Keeps `bytes` for a connection until its queue has space.
    fn push_backlog(&mut self, shared: &Arc<ConnShared>, bytes: Bytes, key: Option<Key>, bounds: BacklogBounds);
    /// Ends a connection at once.
    fn abort(&mut self, shared: &Arc<ConnShared>);
    /// Queues the last bytes of a connection, whatever its mark.
    fn finish(&mut self, shared: &Arc<ConnShared>, last: &[u8]);
}

/// See the module.
#[derive(Default)]
pub(crate) struct Members {
    members: Vec<Member>,
    places: HashMap<MembershipId, usize>,
    /// To be removed once they have got what they are to get.
    leaving: Vec<MembershipId>,
    pending: VecDeque<Arc<Publication>>,
    /// Numbers of messages that begin a round. Who has left may be back before a round that is still for its former
    /// membership: members are in no order, so one round may not be for both.
    round_boundaries: VecDeque<u64>,
    /// The number of the next message to be published.
    next: u64,
    round: Option<Round>,
    ops: Vec<Op>,
}

impl Members {
    /// Goes on for `budget` members at most, and takes what it used from it; false once there is nothing to do, and the
    /// lane rests.
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
                if let Some(soon) = self.members.get(index + MEMBERS_AHEAD) {
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

    /// Takes what the lane was asked for and makes a round of what is to be published; false if that is nothing.
    fn begin_round(&mut self, lane: &Lane) -> bool {
        let mut ops = std::mem::take(&mut self.ops);
        lane.inbox.take(&mut ops);
        // Who only joins or leaves makes no round.
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
        self.round = Some(Round::new(publications, first, self.members.len()));
        true
    }

    fn accept(&mut self, op: Op, lane: &Lane) {
        match op {
            Op::Join(mut member) => {
                member.from = self.next;
                if !self.leaving.is_empty() && self.round_boundaries.back() != Some(&self.next) {
                    self.round_boundaries.push_back(self.next);
                }
                self.places.insert(member.membership_id, self.members.len());
                self.members.push(member);
            }
            Op::Leave(membership_id) => {
                let Some(place) = self.places.get(&membership_id) else { return };
                let member = &mut self.members[*place];
                member.to = member.to.min(self.next);
                self.leaving.push(membership_id);
                if self.pending.is_empty() {
                    self.remove_leavers(lane);
                }
            }
            Op::Publish(publication) => {
                self.pending.push_back(publication);
                self.next += 1;
            }
        }
    }

    /// Hands the round to one member.
    fn serve(&mut self, index: usize, lane: &Lane, worker: &mut impl HandOver) {
        let (Some(round), Some(member)) = (&mut self.round, self.members.get_mut(index)) else { return };
        let bytes_max = member.options.queue_bytes_max;
        // What is kept goes first.
        let behind = member.options.slow.backlog_max().is_some() && worker.has_backlog(&member.shared);
        if !behind && round.is_whole_for(member) {
            match worker.hand_over(&member.shared, round.bytes_for(member), bytes_max) {
                Ok(()) => return round.whole += 1,
                // Some of it may have space.
                Err(SendError::Full) if round.publications.len() > 1 => {}
                Err(error) => {
                    if !round.refused(0, member, error, worker) {
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
                    if !round.refused(number, member, error, worker) {
                        return self.leave_now(index, lane);
                    }
                }
            }
        }
    }

    /// The member gets nothing more.
    fn leave_now(&mut self, index: usize, lane: &Lane) {
        let member = &mut self.members[index];
        member.to = 0;
        member.presence.end(lane);
        self.leaving.push(member.membership_id);
    }

    fn end_round(&mut self, lane: &Lane) {
        let Some(round) = self.round.take() else { return };
        self.remove_leavers(lane);
        round.report();
    }

    /// Removes those who leave and have got everything. Never during a round: members change places.
    fn remove_leavers(&mut self, lane: &Lane) {
        let done = self.next - self.pending.len() as u64;
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain(|membership_id| {
            let Some(&place) = self.places.get(membership_id) else { return false };
            if self.members[place].to > done {
                return true;
            }
            self.members[place].presence.end(lane);
            self.members.swap_remove(place);
            self.places.remove(membership_id);
            if let Some(moved) = self.members.get(place) {
                self.places.insert(moved.membership_id, place);
            }
            false
        });
        self.leaving = leaving;
    }
}
