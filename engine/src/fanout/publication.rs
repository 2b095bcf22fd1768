//! A message on its way to the members.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::MemberId;
use super::budget::Share;
use super::receipt::{Counting, DeliveryReport};

/// What is to be published: bytes, and who of the members is to get them.
///
/// ```
/// use tidegate_engine::{MemberId, Publish};
/// let sender = MemberId::next();
/// let publish = Publish::new(&b"hello"[..]).except(sender);
/// assert_eq!(publish.bytes(), "hello");
/// ```
#[derive(Clone, Debug)]
pub struct Publish {
    pub(super) bytes: Bytes,
    pub(super) except: Option<MemberId>,
    pub(super) only: Option<Arc<HashSet<MemberId>>>,
    pub(super) key: Option<Bytes>,
    pub(super) variants: Option<Arc<[(u32, Bytes)]>>,
}

impl Publish {
    /// For all members. The bytes are shared, not copied for each.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), except: None, only: None, key: None, variants: None }
    }

    /// Not for this one.
    #[must_use]
    pub fn except(mut self, member: MemberId) -> Self {
        self.except = Some(member);
        self
    }

    /// For these alone.
    #[must_use]
    pub fn only(mut self, members: HashSet<MemberId>) -> Self {
        self.only = Some(Arc::new(members));
        self
    }

    /// What it is about: a newer message of the same key may replace it where it is still kept for a slow member
    /// ([`SlowMemberPolicy::Conflate`](super::SlowMemberPolicy::Conflate)).
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same in other variants, by their numbers, for the members that take those
    /// ([`JoinOptions::variant`](super::JoinOptions::variant)). A member whose variant is not among them gets the bytes themselves.
    #[must_use]
    pub fn variants(mut self, variants: impl IntoIterator<Item = (u32, Bytes)>) -> Self {
        let variants: Arc<[_]> = variants.into_iter().collect();
        self.variants = (!variants.is_empty()).then_some(variants);
        self
    }

    /// The bytes for members that take this variant.
    pub(super) fn bytes_in(&self, variant: u32) -> &Bytes {
        let variants = self.variants.as_deref().unwrap_or_default();
        variants.iter().find(|(number, _)| *number == variant).map_or(&self.bytes, |(_, bytes)| bytes)
    }

    /// What is published.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A published message, shared by the workers that have members; dropped by the last that is done with it.
pub(crate) struct Publication {
    pub(super) publish: Publish,
    // In this order: who waits for the receipt may publish again at once.
    _share: Share,
    counting: Option<Counting>,
}

impl Publication {
    pub(super) fn new(publish: Publish, share: Share, counting: Option<Counting>) -> Self {
        Self { publish, _share: share, counting }
    }

    pub(super) fn is_for(&self, member: MemberId) -> bool {
        self.publish.except != Some(member) && self.publish.only.as_ref().is_none_or(|only| only.contains(&member))
    }

    /// Notes what became of it at one worker.
    pub(super) fn count(&self, part: DeliveryReport) {
        if let Some(counting) = &self.counting {
            counting.add(part);
        }
    }
}
