//! The settings of hubs and their members.

use bytes::Bytes;
use tidegate_engine::JoinOptions;

/// Close 1013, unmasked: what [`SlowPolicy::Disconnect`] says.
const TRY_AGAIN_LATER: &[u8] = &[0x88, 0x02, 0x03, 0xF5];

/// What becomes of a member whose outbound queue has no space for a message. The others are never made to wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// It does not get the message, and stays a member.
    Drop,
    /// It is no member any more; its connection goes on.
    Remove,
    /// Its connection is ended at once, without a close frame: what is queued for it could not leave in any case. Its
    /// handler sees [`Error::Closed`](crate::Error::Closed).
    #[default]
    Close,
    /// The message is kept for it until its queue has space, with at most `backlog_max` others and no more bytes than may be
    /// queued for it: beyond that the oldest kept goes lost. With a small
    /// [`queue_bytes_max`](HubConfig::queue_bytes_max) a slow member is never far behind.
    DropOldest {
        /// Messages kept at most.
        backlog_max: usize,
    },
    /// As [`DropOldest`](Self::DropOldest), and a message with a [key](crate::Broadcast::key) takes the place of the one
    /// that is kept with the same key: a slow member gets the newest of each, such as the last price of each symbol.
    ConflateByKey {
        /// Messages kept at most.
        backlog_max: usize,
    },
    /// It is sent close 1013 (try again later) after what is queued, and is no member any more. It has the
    /// [`write_timeout`](crate::WebSocketConfig::write_timeout) to take it.
    Disconnect,
}

/// How a [`Hub`](crate::Hub) treats its members.
///
/// ```
/// use tidegate_websocket::{Hub, HubConfig, SlowPolicy};
/// let mut config = HubConfig::default();
/// config.slow = SlowPolicy::Drop;
/// let hub: Hub = Hub::new(config);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubConfig {
    /// What becomes of a member whose queue is full. Default: its connection is closed.
    pub slow: SlowPolicy,
    /// Bytes that may be queued for a member before it counts as slow. Default: the high mark of its connection's outbound
    /// queue (1 MiB by default), which holds in any case. A larger message passes alone.
    pub queue_bytes_max: Option<usize>,
    /// Bytes of messages sent and not yet handed to every member, over the whole hub. Default: 8 MiB. A larger message
    /// passes alone.
    pub pending_bytes_max: usize,
    /// Rooms that one member may be in. Default: 1024.
    pub rooms_max: usize,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self { slow: SlowPolicy::default(), queue_bytes_max: None, pending_bytes_max: 8 << 20, rooms_max: 1024 }
    }
}

/// How one member is treated, where that is otherwise than the hub's other members are.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MemberConfig {
    /// In place of [`HubConfig::slow`].
    pub slow: Option<SlowPolicy>,
    /// In place of [`HubConfig::queue_bytes_max`].
    pub queue_bytes_max: Option<usize>,
}

impl MemberConfig {
    /// The settings that hold, in the engine's words.
    pub(super) fn join_options(&self, hub: &HubConfig) -> JoinOptions {
        let mut options = JoinOptions::default();
        options.slow = match self.slow.unwrap_or(hub.slow) {
            SlowPolicy::Drop => tidegate_engine::SlowMemberPolicy::Drop,
            SlowPolicy::Remove => tidegate_engine::SlowMemberPolicy::Remove,
            SlowPolicy::Close => tidegate_engine::SlowMemberPolicy::Abort,
            SlowPolicy::DropOldest { backlog_max } => tidegate_engine::SlowMemberPolicy::DropOldest { backlog_max },
            SlowPolicy::ConflateByKey { backlog_max } => tidegate_engine::SlowMemberPolicy::Conflate { backlog_max },
            SlowPolicy::Disconnect => tidegate_engine::SlowMemberPolicy::Finish(Bytes::from_static(TRY_AGAIN_LATER)),
        };
        options.queue_bytes_max = self.queue_bytes_max.or(hub.queue_bytes_max);
        options
    }
}
