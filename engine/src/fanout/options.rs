//! How a connection takes part in a fan-out.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Names a member towards publishers, over all the fan-outs it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

impl MemberId {
    /// A name that nobody has.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What becomes of a member whose outbound queue has no space for a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowMemberPolicy {
    /// It does not get the message, and stays.
    Drop,
    /// It is a member no more; its connection goes on.
    Remove,
    /// Its connection is ended at once: what is queued is dropped and the peer sees a reset. What is queued could not
    /// leave in any case.
    #[default]
    Abort,
    /// The message is kept for it until its queue has space, with at most this many others, and with no more bytes than
    /// may be queued for it: beyond that the oldest kept goes lost.
    DropOldest {
        /// Messages kept at most; at least one is.
        backlog_max: usize,
    },
    /// As [`DropOldest`](Self::DropOldest), and a message with a [key](Publish::key) takes the place of the one kept with
    /// the same key: the member gets the newest of each.
    Conflate {
        /// Messages kept at most; at least one is.
        backlog_max: usize,
    },
    /// These are its connection's last bytes, after what is queued; it is a member no more.
    Finish(Bytes),
}

impl SlowMemberPolicy {
    /// Messages that are kept for a slow member, if any are.
    pub(super) fn backlog_max(&self) -> Option<usize> {
        match self {
            Self::DropOldest { backlog_max } | Self::Conflate { backlog_max } => Some(*backlog_max),
            _ => None,
        }
    }
}

/// How a connection takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JoinOptions {
    /// What becomes of it when its outbound queue is full. Default: its connection is ended.
    pub slow: SlowMemberPolicy,
    /// Bytes that may be queued for it before it counts as slow; a larger message passes alone. Default: no bound but its
    /// connection's own, [`OutboundConfig`](crate::OutboundConfig)'s high mark, which holds in any case.
    pub queue_bytes_max: usize,
    /// Which variant of a message it takes, where there is one of this number ([`Publish::variants`]). Default 0: messages as they
    /// are.
    pub variant: u32,
}

impl Default for JoinOptions {
    fn default() -> Self {
        Self { slow: SlowMemberPolicy::default(), queue_bytes_max: usize::MAX, variant: 0 }
    }
}
