//! The membership of a connection in a hub.

use std::fmt;
use std::sync::Arc;

use tidegate_engine::{ByteSender, JoinOptions, MemberId, Membership};

use super::rooms::JoinedRooms;
use super::{Broadcast, Hub, HubError};
use crate::conn::handler_scope::TaskId;
use crate::conn::prepared::PreparedMessage;
use crate::sync::lock;

/// The membership of a WebSocket in a [`Hub`]. Dropping it unregisters the WebSocket, even when a handler panics or its
/// future is dropped.
///
/// ```
/// use tidegate_websocket::{Hub, upgrade};
///
/// let hub: Hub = Hub::default();
/// let chat = upgrade(async move |mut ws| {
///     let member = hub.register(&ws)?; // until the handler ends
///     member.join("lobby")?;
///     while let Some(message) = ws.recv().await? {
///         // To everyone else in the room.
///         member.publish("lobby", message).queue().await?;
///     }
///     Ok(())
/// });
/// ```
#[must_use = "dropping it unregisters the WebSocket"]
pub struct Registration<T = ()> {
    hub: Hub<T>,
    id: MemberId,
    data: Arc<T>,
    everyone: Membership,
    sender: ByteSender,
    options: JoinOptions,
    rooms: JoinedRooms,
    /// The task of the handler that registered.
    task: Option<TaskId>,
}

impl<T> Registration<T> {
    /// Joins a connection to the hub. `options` names a variant that the member has entered, and leaves at the end.
    pub(super) fn new(hub: Hub<T>, sender: ByteSender, data: Arc<T>, options: JoinOptions) -> Self {
        let id = MemberId::next();
        lock(&hub.shared.register).insert(id, Arc::clone(&data));
        let everyone = hub.shared.everyone.join(&sender, id, options.clone());
        let task = hub.shared.publishers.enter(id, &sender);
        Self { hub, id, data, everyone, sender, options, rooms: JoinedRooms::default(), task }
    }

    /// Returns the hub.
    pub fn hub(&self) -> &Hub<T> {
        &self.hub
    }

    /// Returns the value that this member carries.
    pub fn data(&self) -> &T {
        &self.data
    }

    /// Returns whether the WebSocket still gets the hub's messages: false once the hub has removed it because its
    /// connection ended or was slow.
    pub fn is_member(&self) -> bool {
        self.everyone.is_member()
    }

    /// Joins a room of the hub, and creates it if it does not exist. From now on the member gets every message
    /// published to the room. Returns false if it was already in the room.
    ///
    /// # Errors
    /// [`HubError::RoomNameTooLong`] for a name of more than
    /// [`room_name_bytes_max`](super::HubConfig::room_name_bytes_max) bytes, [`HubError::TooManyRooms`] if it is
    /// already in [`rooms_max`](super::HubConfig::rooms_max) rooms, [`HubError::Closed`].
    pub fn join(&self, room: &str) -> Result<bool, HubError> {
        let shared = &self.hub.shared;
        if room.len() > shared.config.room_name_bytes_max {
            return Err(HubError::RoomNameTooLong);
        }
        if shared.everyone.budget().is_closed() {
            return Err(HubError::Closed);
        }
        let member = || (self.sender.clone(), self.id, self.options.clone());
        let joined = self.rooms.join(&shared.rooms, room, shared.config.rooms_max, member);
        // Checked again: `close` removes those who were members before.
        if shared.everyone.budget().is_closed() {
            self.rooms.leave(&shared.rooms, room);
            return Err(HubError::Closed);
        }
        joined.ok_or(HubError::TooManyRooms)
    }

    /// Leaves a room: the member gets no messages published to it from now on. Returns false if it was not in the room.
    /// It stays a member of the hub, also without rooms, until the registration is dropped.
    pub fn leave(&self, room: &str) -> bool {
        self.rooms.leave(&self.hub.shared.rooms, room)
    }

    /// Returns the rooms of this member, in no particular order.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.rooms.names()
    }

    /// Returns whether the member is in a room: false once the room has removed it because it was slow.
    pub fn is_in(&self, room: &str) -> bool {
        self.rooms.contains(room)
    }

    /// Returns the rooms that the member has joined and not left, also those that have removed it.
    pub(crate) fn joined_rooms(&self) -> Vec<Arc<str>> {
        self.rooms.joined_names()
    }

    /// Returns whether the member is in any room.
    pub(crate) fn is_in_any(&self) -> bool {
        self.rooms.is_any_member()
    }

    /// Makes the connection a member of the hub again, if the hub has removed it.
    ///
    /// # Errors
    /// [`HubError::Closed`].
    pub(crate) fn rejoin(&mut self) -> Result<(), HubError> {
        if self.is_member() {
            return Ok(());
        }
        let everyone = &self.hub.shared.everyone;
        let membership = everyone.join(&self.sender, self.id, self.options.clone());
        // Checked last: `close` removes those who were members before the check.
        if everyone.budget().is_closed() {
            return Err(HubError::Closed);
        }
        self.everyone = membership;
        Ok(())
    }

    /// Returns a message for the other members of a room.
    pub fn publish(&self, room: &str, message: impl Into<PreparedMessage>) -> Broadcast {
        self.hub.publish(room, message).except(self)
    }

    pub(super) fn id(&self) -> MemberId {
        self.id
    }
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        self.rooms.leave_all(&self.hub.shared.rooms);
        if let Some(task) = self.task {
            self.hub.shared.publishers.leave(task, self.id);
        }
        lock(&self.hub.shared.register).remove(&self.id);
        self.hub.shared.variants.leave(self.options.variant);
    }
}

impl<T> fmt::Debug for Registration<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("id", &self.id).field("is_member", &self.is_member()).finish()
    }
}
