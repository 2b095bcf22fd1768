//! The rooms of a connection, and its membership in the hub of its handler.

use std::sync::Arc;

use super::{EventHandler, EventSocket};
use crate::conn::prepared::PreparedMessage;
use crate::hub::{Hub, HubError, Registration};

/// # Rooms
/// With a [hub](EventHandler::hub). Rooms and messages are those of the hub: async handlers and other threads use the
/// same. A connection is a member of the hub, and gets what is [broadcast](Hub::broadcast) to all members, while it is
/// in a room or [registered](Self::register). Others pay nothing for the hub.
impl<H: EventHandler> EventSocket<'_, H> {
    /// Joins a room of the handler's hub. Returns false if the connection was already in it. It also makes the
    /// connection a member of the hub, again if the hub has removed it for being slow.
    ///
    /// # Errors
    /// As [`Registration::join`](crate::Registration::join). [`HubError::NoHub`] if the handler has none.
    pub fn subscribe(&mut self, room: &str) -> Result<bool, HubError> {
        let joined = self.enter_hub().and_then(|registration| registration.join(room));
        if joined.is_err() {
            self.leave_hub_if_unneeded();
        }
        joined
    }

    /// Leaves a room. Returns false if the connection was not in it. With its last room the connection leaves the hub,
    /// unless it is [registered](Self::register).
    pub fn unsubscribe(&mut self, room: &str) -> bool {
        let was_in_it = self.registration().is_some_and(|registration| registration.leave(room));
        self.leave_hub_if_unneeded();
        was_in_it
    }

    /// Returns whether the connection is in a room.
    pub fn is_subscribed(&self, room: &str) -> bool {
        self.registration().is_some_and(|registration| registration.is_in(room))
    }

    /// Returns the rooms of the connection, in no particular order.
    pub fn subscriptions(&self) -> Vec<Arc<str>> {
        self.registration().map_or_else(Vec::new, Registration::rooms)
    }

    /// Makes the connection a member of the handler's hub for as long as it lives, in no room: it gets what is
    /// [broadcast](Hub::broadcast) to all members. Returns false if it already was a member, which it then stays
    /// without rooms.
    ///
    /// # Errors
    /// [`HubError::Closed`]. [`HubError::NoHub`] if the handler has no hub.
    pub fn register(&mut self) -> Result<bool, HubError> {
        let was_member = self.registration().is_some_and(Registration::is_member);
        self.enter_hub()?;
        self.flow.extra_mut().stays_in_hub = true;
        Ok(!was_member)
    }

    /// Leaves the hub and all rooms. Returns false if the connection was not a member.
    pub fn unregister(&mut self) -> bool {
        let was_member = self.registration().is_some_and(Registration::is_member);
        self.flow.leave_hub();
        was_member
    }

    /// Sends a message to a room of the handler's hub, except to this connection.
    ///
    /// # Errors
    /// As [`Broadcast::try_queue`](crate::Broadcast::try_queue). [`HubError::NoHub`] if the handler has none.
    pub fn publish(&mut self, room: &str, message: impl Into<PreparedMessage>) -> Result<(), HubError> {
        match self.registration() {
            Some(registration) => registration.publish(room, message).try_queue(),
            None => self.hub().ok_or(HubError::NoHub)?.publish(room, message).try_queue(),
        }
    }

    /// Returns the handler's hub.
    pub fn hub(&self) -> Option<&Hub> {
        self.handler.hub()
    }

    /// Returns the membership in the handler's hub, to publish with its options; `None` if there is none.
    ///
    /// ```
    /// use tidegate_websocket::{EventHandler, EventSocket, HubError};
    ///
    /// /// Sends a price to the others in a room. Slow ones get only the newest.
    /// fn publish_price<H: EventHandler>(ws: &EventSocket<'_, H>, price: &str) -> Result<(), HubError> {
    ///     match ws.registration() {
    ///         Some(member) => member.publish("prices", price).key("EURUSD").try_queue(),
    ///         None => Ok(()),
    ///     }
    /// }
    /// ```
    pub fn registration(&self) -> Option<&Registration> {
        self.flow.extra()?.registration.as_ref()
    }

    /// Makes the connection a member of the hub, unless it already is one.
    fn enter_hub(&mut self) -> Result<&Registration, HubError> {
        let hub = self.handler.hub().ok_or(HubError::NoHub)?;
        if self.registration().is_none() {
            let registration = hub.register(self.sender())?;
            self.flow.extra_mut().registration = Some(registration);
        }
        let registration = self.flow.extra_mut().registration.as_mut().ok_or(HubError::Closed)?;
        registration.rejoin()?;
        Ok(registration)
    }

    /// Leaves the hub if no room needs the membership.
    fn leave_hub_if_unneeded(&mut self) {
        let Some(extra) = self.flow.extra() else { return };
        if !extra.stays_in_hub && extra.registration.as_ref().is_some_and(|registration| !registration.is_in_any()) {
            self.flow.leave_hub();
        }
    }
}
