//! The error of hubs.

use tidegate_engine::PublishError;
use tidegate_http::{InvalidEvent, StreamError};

use crate::error::Error;

/// Why a hub refuses a message or a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The messages on their way to the members exceed
    /// [`HubConfig::pending_bytes_max`](crate::HubConfig::pending_bytes_max). Only
    /// [`Broadcast::try_queue`](crate::Broadcast::try_queue) returns this; the others wait.
    #[error("the hub has too many pending bytes: wait with `queue`, publish less, or raise `pending_bytes_max`")]
    Full,
    /// The member is already in [`HubConfig::rooms_max`](crate::HubConfig::rooms_max) rooms.
    #[error("the member is in too many rooms: leave one, or raise `rooms_max`")]
    TooManyRooms,
    /// The name of the room has more than
    /// [`HubConfig::room_name_bytes_max`](crate::HubConfig::room_name_bytes_max) bytes.
    #[error("the name of the room is too long: shorten it, or raise `room_name_bytes_max`")]
    RoomNameTooLong,
    /// The hub was closed.
    #[error("the hub is closed: it takes no messages and no members; use a new one")]
    Closed,
    /// A room was named in a call of an event handler that returns no hub from
    /// [`EventHandler::hub`](crate::EventHandler::hub).
    #[error("the event handler has no hub: return one from `EventHandler::hub`")]
    NoHub,
    /// The event of a message for event streams is invalid; nothing was sent.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
}

impl From<PublishError> for HubError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full => Self::Full,
            _ => Self::Closed,
        }
    }
}

/// For the functions that write event streams.
impl From<HubError> for StreamError {
    fn from(error: HubError) -> Self {
        Self::new(error)
    }
}

impl From<HubError> for Error {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Full => Self::Full,
            error => Self::application(error),
        }
    }
}
