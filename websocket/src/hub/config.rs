//! The settings of hubs and their members.

use bytes::Bytes;
use tidegate_engine::JoinOptions;

use super::policy::SlowPolicy;

tidegate_engine::__settings! {
    /// How a [`Hub`](crate::Hub) treats its members.
    ///
    /// ```
    /// use tidegate_websocket::{Hub, HubConfig, SlowPolicy};
    /// let hub: Hub = Hub::new(HubConfig::default().slow(SlowPolicy::Drop).queue_bytes_max(64 * 1024));
    /// ```
    #[derive(Clone, Debug)]
    pub struct HubConfig {
        /// The treatment of slow members. Default: the connection is reset.
        pub slow: SlowPolicy,
        /// Maximum bytes queued for a member; above it the member counts as slow. A larger message passes if nothing
        /// else is queued. The high mark of the connection's outbound queue (1 MiB) applies in any case. Default:
        /// `None`, no further bound.
        pub queue_bytes_max: Option<usize>,
        /// Maximum bytes of messages in transit: published and not yet handed to every member, over the whole hub. Each
        /// message counts 256 bytes more than its payload. A single larger message passes, so 0 is one message at a
        /// time. Default: 8 MiB.
        pub pending_bytes_max: usize,
        /// Maximum rooms of one member; [`Registration::join`](crate::Registration::join) refuses more; with 0, all.
        /// Default: 1024.
        pub rooms_max: usize,
        /// The most bytes of a room's name; [`Registration::join`](crate::Registration::join) refuses longer ones,
        /// which clients often choose. Default: 1024.
        pub room_name_bytes_max: usize,
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            slow: SlowPolicy::default(),
            queue_bytes_max: None,
            pending_bytes_max: 8 << 20,
            rooms_max: 1024,
            room_name_bytes_max: 1024,
        }
    }
}

tidegate_engine::__settings! {
    /// The settings of one member, where they differ from the hub's; for
    /// [`Hub::register_with`](crate::Hub::register_with).
    ///
    /// ```
    /// use tidegate_websocket::{MemberConfig, SlowPolicy};
    /// let config = MemberConfig::default().slow(SlowPolicy::DropOldest { backlog_max: 16 });
    /// ```
    #[derive(Clone, Debug, Default)]
    pub struct MemberConfig {
        /// Replaces [`HubConfig::slow`]. Default: `None`, the hub's.
        pub slow: Option<SlowPolicy>,
        /// Replaces [`HubConfig::queue_bytes_max`]. Default: `None`, the hub's.
        pub queue_bytes_max: Option<usize>,
    }
}

impl MemberConfig {
    /// Returns the settings in force as options of the engine.
    /// `last` are the bytes that end the member's connection in order.
    pub(super) fn join_options(&self, hub: &HubConfig, last: Bytes) -> JoinOptions {
        let mut options = JoinOptions::default();
        options.slow = self.slow.unwrap_or(hub.slow).for_engine(last);
        options.queue_bytes_max = self.queue_bytes_max.or(hub.queue_bytes_max);
        options
    }
}
