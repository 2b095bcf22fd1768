//! The options of a membership.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Identifies a member for publishers, across all fan-outs it is in: for [`Publish::except`](crate::Publish::except)
/// and [`Publish::only`](crate::Publish::only). Usually one for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

impl MemberId {
    /// Returns a process-unique id.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The treatment of a member whose outbound queue has no space for a message. Publishing never waits for such a member.
///
/// | Policy | The member | The message |
/// |---|---|---|
/// | `Drop` | stays | is not delivered to it |
/// | `Remove` | leaves, its connection stays open | is not delivered to it |
/// | `Abort` (default) | is reset | is not delivered to it |
/// | `DropOldest` | stays | waits; the oldest pending one is dropped at the bound |
/// | `Conflate` | stays | waits, or replaces the pending one with its key |
/// | `Finish` | leaves, its connection ends in order with the given bytes | is not delivered to it |
///
/// ```
/// use tidegate_engine::{JoinOptions, SlowMemberPolicy};
///
/// // Prices: only the newest of each symbol matters, and never more than 64 KiB of old ones.
/// let options =
///     JoinOptions::default().slow(SlowMemberPolicy::Conflate { backlog_max: 1000 }).queue_bytes_max(64 * 1024);
/// # assert_eq!(options.queue_bytes_max, Some(65_536));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowMemberPolicy {
    /// It misses the message and stays a member.
    Drop,
    /// It is removed; its connection stays open.
    Remove,
    /// Its connection is reset at once and the queued bytes are dropped. The peer was not reading them in any case.
    #[default]
    Abort,
    /// The message is kept in a backlog until the queue has space. The backlog is bounded by this number of messages
    /// and by the maximum bytes queued for the member; beyond that the oldest pending message is dropped.
    DropOldest {
        /// Maximum messages in the backlog; at least one is kept.
        backlog_max: usize,
    },
    /// As [`DropOldest`](Self::DropOldest), and a message with a [key](crate::Publish::key) replaces the pending one
    /// with the same key: the member gets the newest message of each key.
    Conflate {
        /// Maximum messages in the backlog; at least one is kept.
        backlog_max: usize,
    },
    /// It is removed, and these bytes follow the queued ones as its connection's last.
    Finish(Bytes),
}

impl SlowMemberPolicy {
    /// Returns the bound of the backlog, if the policy has one.
    pub(super) fn backlog_max(&self) -> Option<usize> {
        match self {
            Self::DropOldest { backlog_max } | Self::Conflate { backlog_max } => Some(*backlog_max),
            _ => None,
        }
    }
}

crate::__settings! {
    /// The options with which a connection joins a fan-out ([`FanOut::join`](crate::FanOut::join)).
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct JoinOptions {
        /// The treatment of the member when its outbound queue is full. Default: [`SlowMemberPolicy::Abort`].
        pub slow: SlowMemberPolicy,
        /// Maximum bytes queued before it counts as slow; a larger message passes if nothing else is queued. The
        /// high mark of [`OutboundConfig`](crate::OutboundConfig) applies in any case. Default: `None`, no further
        /// bound.
        pub queue_bytes_max: Option<usize>,
        /// The number of the message variant it takes, if the message has it
        /// ([`Publish::variants`](crate::Publish::variants)). Default: 0, the message itself.
        pub variant: u32,
        /// Whether it gets only messages that have its variant: the message itself would not be understood. Default:
        /// `false`.
        pub variant_only: bool,
    }
}
