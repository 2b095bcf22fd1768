//! The treatment of slow members.

use bytes::Bytes;
use tidegate_engine::SlowMemberPolicy;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::encoding::masking_key_of;
use crate::frame::encode_close;
use crate::role::Role;

/// Close 1013, unmasked: the close frame of [`SlowPolicy::CloseTryAgainLater`].
const TRY_AGAIN_LATER: &[u8] = &[0x88, 0x02, 0x03, 0xF5];

/// Returns the last bytes of a member that is too slow, in this role.
pub(super) fn try_again_later(role: Role) -> Bytes {
    match role {
        Role::Server => Bytes::from_static(TRY_AGAIN_LATER),
        Role::Client => last_frame(CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "").ok().as_ref(), role),
    }
}

/// Returns a close frame as a member in this role sends it.
pub(super) fn last_frame(frame: Option<&CloseFrame>, role: Role) -> Bytes {
    let mut bytes = Vec::new();
    encode_close(frame, masking_key_of(role), &mut bytes);
    bytes.into()
}

/// Returns the end of an event stream: the last bytes of one that is too slow.
pub(super) const fn last_event(is_chunked: bool) -> &'static [u8] {
    if is_chunked { b"0\r\n\r\n" } else { b"" }
}

/// The treatment of a member whose outbound queue has no space for a message. The other members never wait for it.
///
/// | Policy | The member | For |
/// |---|---|---|
/// | [`Abort`](Self::Abort), the default | is reset | members that must miss nothing and can reconnect |
/// | [`CloseTryAgainLater`](Self::CloseTryAgainLater) | gets close 1013 (an event stream: its end) after the queued bytes | the same, in order |
/// | [`Remove`](Self::Remove) | stays connected, outside of the hub or the room | members that register again when they have caught up |
/// | [`Drop`](Self::Drop) | misses the message | messages that are worthless later |
/// | [`DropOldest`](Self::DropOldest) | misses the oldest pending message | logs, positions |
/// | [`Conflate`](Self::Conflate) | gets the newest message of each key | prices, states |
///
/// ```
/// use tidegate_websocket::{Hub, HubConfig, HubError, SlowPolicy};
///
/// # fn example() -> Result<(), HubError> {
/// // A member that reads slowly gets the newest price of each symbol, and is never more than 16 KiB behind.
/// let config = HubConfig::default().slow(SlowPolicy::Conflate { backlog_max: 100 }).queue_bytes_max(16 << 10);
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
    Abort,
    /// The message waits in the member's backlog until its queue has space. The backlog holds at most `backlog_max`
    /// messages and no more bytes than can be queued for the member; beyond that the oldest pending message is dropped.
    /// With a small [`queue_bytes_max`](crate::HubConfig::queue_bytes_max) a slow member is never far behind.
    DropOldest {
        /// Maximum messages in the backlog; at least one is kept.
        backlog_max: usize,
    },
    /// As [`DropOldest`](Self::DropOldest), and a message with a [key](crate::Broadcast::key) replaces the pending one
    /// with the same key: a slow member gets the newest of each key, such as the last price of each symbol.
    Conflate {
        /// Maximum messages in the backlog; at least one is kept.
        backlog_max: usize,
    },
    /// The member is removed and gets close 1013 (try again later) after the queued bytes. It has the
    /// [`write_timeout`](crate::WebSocketConfig::write_timeout) to read that.
    CloseTryAgainLater,
}

impl SlowPolicy {
    /// Returns the policy as the engine's.
    /// `last` are the bytes that end the member's connection in order.
    pub(super) fn for_engine(self, last: Bytes) -> SlowMemberPolicy {
        match self {
            Self::Drop => SlowMemberPolicy::Drop,
            Self::Remove => SlowMemberPolicy::Remove,
            Self::Abort => SlowMemberPolicy::Abort,
            Self::DropOldest { backlog_max } => SlowMemberPolicy::DropOldest { backlog_max },
            Self::Conflate { backlog_max } => SlowMemberPolicy::Conflate { backlog_max },
            Self::CloseTryAgainLater => SlowMemberPolicy::Finish(last),
        }
    }
}
