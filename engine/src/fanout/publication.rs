//! A message in transit to the members.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::MemberId;
use super::budget::Share;
use super::members::Member;
use super::receipt::{Counting, DeliveryReport};
use crate::connection::sender::ByteSender;
use crate::util::contained::Contained;

/// A message to publish, with its recipients: all members, unless [`except`](Self::except) or [`only`](Self::only) says
/// otherwise. [`FanOut::publish`](super::FanOut::publish) sends it.
///
/// ```
/// use tidegate_engine::{FanOut, MemberId, Publish, PublishBudget};
///
/// # fn main() -> Result<(), tidegate_engine::PublishError> {
/// let room = FanOut::new(PublishBudget::new(1 << 20));
/// let author = MemberId::next();
/// room.publish(Publish::new(&b"hello"[..]).except(author))?;
/// // In the backlog of a slow member, a newer price of the same symbol replaces this one.
/// room.publish(Publish::new(&b"ACME 17.30"[..]).key("ACME"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a message is sent by `FanOut::publish`"]
pub struct Publish {
    pub(super) bytes: Bytes,
    pub(super) except: Option<MemberId>,
    pub(super) only: Option<Arc<HashSet<MemberId>>>,
    pub(super) key: Option<Bytes>,
    pub(super) publisher: Option<(MemberId, ByteSender)>,
    pub(super) variants: Option<Arc<[(u32, Bytes)]>>,
    /// The last bytes of every member's connection.
    pub(super) is_last: bool,
}

impl Publish {
    /// Creates a message for all members. The bytes are shared, not copied per member.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            except: None,
            only: None,
            key: None,
            publisher: None,
            variants: None,
            is_last: false,
        }
    }

    /// Excludes one member, such as the author of the message.
    pub fn except(mut self, member: MemberId) -> Self {
        self.except = Some(member);
        self
    }

    /// Restricts the message to these members. Ids that are not members are ignored.
    pub fn only(mut self, members: HashSet<MemberId>) -> Self {
        self.only = Some(Arc::new(members));
        self
    }

    /// Sets the key: a newer message with the same key can replace this one in the backlog of a slow member
    /// ([`SlowMemberPolicy::Conflate`](super::SlowMemberPolicy::Conflate)).
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Names the member in whose name it is published. If that gets the message, what is sent on its connection
    /// afterwards comes after it. Without this, the order of the two is undefined.
    pub fn publisher(mut self, member: MemberId, sender: &ByteSender) -> Self {
        self.publisher = Some((member, sender.clone()));
        self
    }

    /// Adds variants of the message, by number, for members that take them
    /// ([`JoinOptions::variant`](super::JoinOptions::variant)). Other members get the bytes themselves.
    pub fn variants(mut self, variants: impl IntoIterator<Item = (u32, Bytes)>) -> Self {
        let variants: Arc<[_]> = variants.into_iter().collect();
        self.variants = (!variants.is_empty()).then_some(variants);
        self
    }

    /// Returns the bytes for members that take this variant.
    pub(super) fn bytes_in(&self, variant: u32) -> &Bytes {
        let variants = self.variants.as_deref().unwrap_or_default();
        variants.iter().find(|(number, _)| *number == variant).map_or(&self.bytes, |(_, bytes)| bytes)
    }

    fn has_variant(&self, variant: u32) -> bool {
        self.variants.as_deref().unwrap_or_default().iter().any(|(number, _)| *number == variant)
    }

    pub(super) fn is_for(&self, member: MemberId) -> bool {
        self.except != Some(member) && self.only.as_ref().is_none_or(|only| only.contains(&member))
    }

    /// Returns the bytes of the message.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A published message, shared by the workers that have members and dropped by the last one to finish with it.
pub(crate) struct Publication {
    pub(super) publish: Contained<Publish>,
    // Dropped in this order, because a task that waits for the receipt can publish again at once.
    _share: Share,
    counting: Option<Counting>,
}

impl Publication {
    pub(super) fn new(publish: Publish, share: Share, counting: Option<Counting>) -> Self {
        Self { publish: Contained::new(publish), _share: share, counting }
    }

    pub(super) fn is_for(&self, member: &Member) -> bool {
        self.publish.is_for(member.id) && (!member.variant_only || self.publish.has_variant(member.variant))
    }

    /// Adds the result of one worker.
    pub(super) fn count(&self, part: DeliveryReport) {
        if let Some(counting) = &self.counting {
            counting.add(part);
        }
    }
}
