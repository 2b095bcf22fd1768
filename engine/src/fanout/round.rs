//! One round of a walk: the messages that leave together, and their results.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::backlog::BacklogBounds;
use super::lane::Lane;
use super::members::{HandOver, Member};
use super::options::{MemberId, SlowMemberPolicy};
use super::publication::Publication;
use super::receipt::DeliveryReport;
use crate::connection::sender::ByteSender;
use crate::error::SendError;
use crate::shared::outbound::COPY_BYTES_MAX;
use crate::util::contained::Contained;

/// Maximum bytes joined into one buffer: about as much as a member's socket takes at once.
const ROUND_BYTES_MAX: usize = 64 * 1024;

/// Maximum messages of a round, so that its accounting stays small.
const ROUND_MESSAGES_MAX: usize = 1024;

/// See the module.
pub(super) struct Round {
    pub(super) publications: Vec<Arc<Publication>>,
    /// All messages in one buffer, and the end of each in it.
    bytes: Contained<Bytes>,
    ends: Vec<usize>,
    /// Number of the first message.
    first: u64,
    /// Members excepted from one of the messages.
    excepted: Vec<MemberId>,
    /// Some members do not get some of the messages.
    selective: bool,
    /// The round is one message in several variants.
    has_variants: bool,
    /// The round is the last bytes of the members' connections.
    pub(super) is_last: bool,
    /// Index of the next member, and of the first that joined too late.
    pub(super) at: usize,
    until: usize,
    /// Members that got the whole round.
    pub(super) whole: usize,
    parts: Vec<DeliveryReport>,
}

/// Returns the number of pending messages that form a round: small ones together; a large one, a selective one or one
/// in several variants alone.
pub(super) fn joinable(pending: &VecDeque<Arc<Publication>>) -> usize {
    let alone = |publication: &Publication| {
        let publish = &publication.publish;
        publish.bytes.len() > COPY_BYTES_MAX || publish.only.is_some() || publish.variants.is_some() || publish.is_last
    };
    let mut bytes = 0;
    let joined = pending.iter().take(ROUND_MESSAGES_MAX).take_while(|publication| {
        bytes += publication.publish.bytes.len();
        bytes <= ROUND_BYTES_MAX && !alone(publication)
    });
    joined.count().max(1)
}

impl Round {
    pub(super) fn new(publications: Vec<Arc<Publication>>, first: u64, until: usize, variant_only: bool) -> Self {
        let mut ends = Vec::with_capacity(publications.len());
        let bytes = if let [one] = &publications[..] {
            ends.push(one.publish.bytes.len());
            one.publish.bytes.clone()
        } else {
            let mut joined = BytesMut::with_capacity(publications.iter().map(|one| one.publish.bytes.len()).sum());
            for publication in &publications {
                joined.extend_from_slice(&publication.publish.bytes);
                ends.push(joined.len());
            }
            joined.freeze()
        };
        let mut excepted: Vec<_> = publications.iter().filter_map(|one| one.publish.except).collect();
        excepted.sort_unstable();
        let selective = variant_only || publications.iter().any(|one| one.publish.only.is_some());
        let has_variants = publications.iter().any(|one| one.publish.variants.is_some());
        let is_last = publications.iter().any(|one| one.publish.is_last);
        let parts = Vec::new();
        let bytes = Contained::new(bytes);
        let (at, whole) = (0, 0);
        Self { publications, bytes, ends, first, excepted, selective, has_variants, is_last, at, until, whole, parts }
    }

    pub(super) fn next(&mut self) -> Option<usize> {
        (self.at < self.until).then_some(self.at)
    }

    pub(super) fn is_whole_for(&self, member: &Member) -> bool {
        member.from <= self.first
            && member.to >= self.first + self.publications.len() as u64
            && !self.selective
            && (self.excepted.is_empty() || self.excepted.binary_search(&member.id).is_err())
    }

    pub(super) fn is_for(&self, number: usize, member: &Member) -> bool {
        (member.from..member.to).contains(&(self.first + number as u64)) && self.publications[number].is_for(member)
    }

    /// Returns the whole round for one member.
    pub(super) fn bytes_for(&self, member: &Member) -> &Bytes {
        match &self.publications[..] {
            [one] if self.has_variants => one.publish.bytes_in(member.variant),
            _ => &self.bytes,
        }
    }

    pub(super) fn message(&self, number: usize, member: &Member) -> Bytes {
        if self.has_variants {
            return self.publications[number].publish.bytes_in(member.variant).clone();
        }
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.slice(start..self.ends[number])
    }

    pub(super) fn part(&mut self, number: usize) -> &mut DeliveryReport {
        if self.parts.is_empty() {
            self.parts.resize(self.publications.len(), DeliveryReport::default());
        }
        &mut self.parts[number]
    }

    /// Handles a message that a member could not get. Returns false if the member gets none of the following ones
    /// either.
    pub(super) fn refused(
        &mut self,
        number: usize,
        member: &Member,
        error: SendError,
        lane: &Lane,
        worker: &mut impl HandOver,
    ) -> bool {
        if error == SendError::Full {
            lane.slow_hook.call(member.id, &ByteSender { shared: Arc::clone(&member.shared) });
            match &member.slow {
                SlowMemberPolicy::Drop => {
                    self.part(number).fail(error);
                    return true;
                }
                SlowMemberPolicy::DropOldest { backlog_max } | SlowMemberPolicy::Conflate { backlog_max } => {
                    self.push_backlog(number, *backlog_max, member, worker);
                    return true;
                }
                SlowMemberPolicy::Remove => {}
                SlowMemberPolicy::Abort => worker.abort(&member.shared),
                SlowMemberPolicy::Finish(last) => worker.finish(&member.shared, last),
            }
        }
        for number in number..self.publications.len() {
            if self.is_for(number, member) {
                self.part(number).fail(error);
            }
        }
        false
    }

    fn push_backlog(&mut self, number: usize, messages_max: usize, member: &Member, worker: &mut impl HandOver) {
        let queue_bytes_max = member.queue_bytes_max;
        let bytes_max = queue_bytes_max.min(member.shared.worker().outbound.bytes_high);
        // The message's own bytes, because a slice of the round's buffer would keep all of it allocated.
        let publish = &self.publications[number].publish;
        let conflate = matches!(member.slow, SlowMemberPolicy::Conflate { .. });
        let key = publish.key.clone().filter(|_| conflate).map(|key| (member.membership_id, key));
        let bounds = BacklogBounds { messages_max, bytes_max, queue_bytes_max };
        worker.push_backlog(&member.shared, publish.bytes_in(member.variant).clone(), key, bounds);
        self.part(number).backlogged += 1;
    }

    pub(super) fn report(self) {
        for (number, publication) in self.publications.iter().enumerate() {
            let mut part = self.parts.get(number).copied().unwrap_or_default();
            part.count += self.whole;
            publication.count(part);
        }
    }
}
