//! The settings of hubs and their members.

use bytes::Bytes;
use tidegate_engine::JoinOptions;

/// Close 1013, unmasked: the close frame of [`SlowPolicy::Disconnect`].
pub(super) const TRY_AGAIN_LATER: &[u8] = &[0x88, 0x02, 0x03, 0xF5];

/// The end of a chunked event stream: what [`SlowPolicy::Disconnect`] sends it.
pub(super) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The treatment of a member whose outbound queue has no space for a message. The other members never wait for it.
///
/// | Policy | The member | For |
/// |---|---|---|
/// | [`Close`](Self::Close), the default | is cut off | members that must miss nothing and can reconnect |
/// | [`Disconnect`](Self::Disconnect) | gets close 1013 (an event stream: its end) after the queued bytes | the same, in order |
/// | [`Remove`](Self::Remove) | stays connected, outside of the hub or the room | members that register again when they have caught up |
/// | [`Drop`](Self::Drop) | misses the message | messages that are worthless later |
/// | [`DropOldest`](Self::DropOldest) | misses the oldest pending message | logs, positions |
/// | [`ConflateByKey`](Self::ConflateByKey) | gets the newest message of each key | prices, states |
///
/// ```
/// use tidegate_websocket::{Hub, HubConfig, HubError, SlowPolicy};
///
/// # fn example() -> Result<(), HubError> {
/// // A member that reads slowly gets the newest price of each symbol, at most 16 KiB late.
/// let config = HubConfig::default().slow(SlowPolicy::ConflateByKey { backlog_max: 100 }).queue_bytes_max(16 << 10);
/// let prices: Hub = Hub::new(config);
/// prices.broadcast("EURUSD 1.0831").key("EURUSD").try_queue()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// The member does not get the message and stays a member.
    Drop,
    /// The member is removed from the hub, or, for a message to a room, from that room alone. Its connection stays
    /// open, and it can join the room again.
    Remove,
    /// The connection is reset at once, without a close frame, because the queued bytes could not leave. Its handler
    /// gets [`Error::Closed`](crate::Error::Closed).
    #[default]
    Close,
    /// The message waits in the member's backlog until its queue has space. The backlog holds at most `backlog_max`
    /// messages and no more bytes than can be queued for the member; beyond that the oldest pending message is dropped.
    /// With a small [`queue_bytes_max`](HubConfig::queue_bytes_max) a slow member is never far behind.
    DropOldest {
        /// The most messages in the backlog.
        backlog_max: usize,
    },
    /// As [`DropOldest`](Self::DropOldest), and a message with a [key](crate::Broadcast::key) replaces the pending one
    /// with the same key: a slow member gets the newest of each key, such as the last price of each symbol.
    ConflateByKey {
        /// The most messages in the backlog.
        backlog_max: usize,
    },
    /// The member is removed and gets close 1013 (try again later) after the queued bytes. It has the
    /// [`write_timeout`](crate::WebSocketConfig::write_timeout) to read that.
    Disconnect,
}

tidegate_engine::__settings! {
    /// How a [`Hub`](crate::Hub) treats its members.
    ///
    /// ```
    /// use tidegate_websocket::{Hub, HubConfig, SlowPolicy};
    /// let hub: Hub = Hub::new(HubConfig::default().slow(SlowPolicy::Drop).queue_bytes_max(64 * 1024));
    /// ```
    #[derive(Clone, Debug)]
    #[non_exhaustive]
    pub struct HubConfig {
        /// The treatment of slow members. Default: the connection is reset.
        pub slow: SlowPolicy,
        /// The most bytes queued for a member; above it the member is slow. A single larger message passes. The high
        /// mark of the connection's outbound queue (1 MiB by default) always applies and is the default.
        pub queue_bytes_max: Option<usize>,
        /// The most bytes of messages that are sent and not yet handed to every member, for the whole hub. A single
        /// larger message passes. Default: 8 MiB.
        pub pending_bytes_max: usize,
        /// The most rooms of one member; [`Registration::join`](crate::Registration::join) refuses more. Default: 1024.
        pub rooms_max: usize,
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self { slow: SlowPolicy::default(), queue_bytes_max: None, pending_bytes_max: 8 << 20, rooms_max: 1024 }
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
    #[non_exhaustive]
    pub struct MemberConfig {
        /// Replaces [`HubConfig::slow`].
        pub slow: Option<SlowPolicy>,
        /// Replaces [`HubConfig::queue_bytes_max`].
        pub queue_bytes_max: Option<usize>,
    }
}

impl MemberConfig {
    /// Returns the settings in force as options of the engine.
    /// `last` are the bytes with which a slow member is disconnected.
    pub(super) fn join_options(&self, hub: &HubConfig, last: &'static [u8]) -> JoinOptions {
        let mut options = JoinOptions::default();
        options.slow = match self.slow.unwrap_or(hub.slow) {
            SlowPolicy::Drop => tidegate_engine::SlowMemberPolicy::Drop,
            SlowPolicy::Remove => tidegate_engine::SlowMemberPolicy::Remove,
            SlowPolicy::Close => tidegate_engine::SlowMemberPolicy::Abort,
            SlowPolicy::DropOldest { backlog_max } => tidegate_engine::SlowMemberPolicy::DropOldest { backlog_max },
            SlowPolicy::ConflateByKey { backlog_max } => tidegate_engine::SlowMemberPolicy::Conflate { backlog_max },
            SlowPolicy::Disconnect => tidegate_engine::SlowMemberPolicy::Finish(Bytes::from_static(last)),
        };
        options.queue_bytes_max = self.queue_bytes_max.or(hub.queue_bytes_max);
        options
    }
}
