//! Hubs: one message to every WebSocket that is registered.
//!
//! A hub is a register of connections over the engine's [`FanOut`]: a message is encoded once, handed over once to each
//! worker that serves a member, and leaves from one shared buffer. `registration` is a connection's part in it,
//! `rooms` are its parts under names, `broadcast` is a message on its way.

mod broadcast;
mod policy;
mod registration;
mod rooms;
mod variants;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use tidegate_engine::{FanOut, MemberId, Publish, PublishBudget, PublishError};

use broadcast::Target;
pub use broadcast::{Broadcast, Delivered};
pub use policy::{HubConfig, MemberConfig, SlowPolicy};
pub use registration::Registration;
use rooms::Rooms;
use variants::Variants;

use crate::conn::prepared::PreparedMessage;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::sync::lock;

/// What a hub can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// More is on its way to the members than [`HubConfig::pending_bytes_max`] allows (only
    /// [`Broadcast::try_queue`] says so; the others wait).
    #[error("the hub has too much on its way: wait for it with `queue`, or publish less")]
    Full,
    /// The member is in [`HubConfig::rooms_max`] rooms.
    #[error("the member is in as many rooms as the hub allows: leave one, or raise `rooms_max`")]
    TooManyRooms,
    /// The hub was closed.
    #[error("the hub is closed: nothing can be sent through it and nobody can be registered")]
    Closed,
}

impl From<PublishError> for HubError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full => Self::Full,
            _ => Self::Closed,
        }
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

/// WebSockets that are sent the same messages. Cloning it gives another handle of the same hub; it is usable from any
/// thread, inside and outside of the engine, and may hold connections of several servers.
///
/// Each member may carry a value of `T`, for [`broadcast_filter`](Self::broadcast_filter) to choose by.
///
/// All members get the hub's messages in one order, each member exactly those that were sent between its registering
/// and its leaving. No member is ever waited for: what becomes of one whose outbound queue is full is the hub's
/// [`SlowPolicy`]. What is on its way is bounded by [`HubConfig::pending_bytes_max`], so that publishers that are faster
/// than the workers wait, or are refused.
///
/// ```no_run
/// use tidegate_http::{Router, Server};
/// use tidegate_websocket::{Hub, WebSocket, upgrade};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// // Everybody gets what anybody sends.
/// let hub: Hub = Hub::default();
/// let app = Router::new().get(
///     "/chat",
///     upgrade(move |mut ws: WebSocket| {
///         let hub = hub.clone();
///         async move {
///             let _member = hub.register(&ws)?;
///             while let Some(message) = ws.recv().await? {
///                 hub.broadcast(message).queue().await?;
///             }
///             Ok(())
///         }
///     }),
/// );
/// Server::builder(app).bind("127.0.0.1:9001")?.run()
/// # }
/// ```
pub struct Hub<T = ()> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    config: HubConfig,
    everyone: FanOut,
    rooms: Arc<Rooms>,
    variants: Variants,
    /// What members carry.
    register: Mutex<HashMap<MemberId, Arc<T>>>,
}

impl<T> Hub<T> {
    /// A hub without members.
    pub fn new(config: HubConfig) -> Self {
        let budget = PublishBudget::new(config.pending_bytes_max);
        let (everyone, rooms) = (FanOut::new(budget.clone()), Arc::new(Rooms::new(budget)));
        Self {
            shared: Arc::new(Shared {
                config,
                everyone,
                rooms,
                variants: Variants::default(),
                register: Mutex::default(),
            }),
        }
    }

    /// Makes a WebSocket a member until the [`Registration`] is dropped; it carries `T`'s default.
    ///
    /// # Errors
    /// [`HubError::Closed`] after [`close`](Self::close).
    pub fn register(&self, ws: impl Into<Sender>) -> Result<Registration<T>, HubError>
    where
        T: Default,
    {
        self.register_with(ws, T::default(), MemberConfig::default())
    }

    /// Makes a WebSocket a member that carries `data`, with settings of its own.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_with(
        &self,
        ws: impl Into<Sender>,
        data: T,
        config: MemberConfig,
    ) -> Result<Registration<T>, HubError> {
        if self.shared.everyone.budget().is_closed() {
            return Err(HubError::Closed);
        }
        Ok(Registration::new(self.clone(), &ws.into(), Arc::new(data), &config))
    }

    /// A message for every member. It is sent when the [`Broadcast`] is awaited or queued.
    ///
    /// ```
    /// # use tidegate_websocket::{Hub, HubError};
    /// # async fn example(hub: Hub) -> Result<(), HubError> {
    /// let delivered = hub.broadcast("to everybody").await?;
    /// println!("{} got it; the first that did not: {:?}", delivered.count, delivered.first_error);
    /// # Ok(())
    /// # }
    /// ```
    pub fn broadcast(&self, message: impl Into<PreparedMessage>) -> Broadcast {
        Broadcast::new(Target::Hub(self.shared.everyone.clone()), self.publish_of(message))
    }

    /// A message that was encoded before, for every member: nothing is encoded or copied again.
    pub fn broadcast_prepared(&self, message: &PreparedMessage) -> Broadcast {
        self.broadcast(message)
    }

    /// A message for the members whose value `filter` accepts. It looks at all of them, now, on the present thread:
    /// members that register later do not get the message, and rooms are the better way to the same few again and again.
    pub fn broadcast_filter(
        &self,
        message: impl Into<PreparedMessage>,
        mut filter: impl FnMut(&T) -> bool,
    ) -> Broadcast {
        // The application's code runs without the lock: it may use the hub.
        let members: Vec<_> = lock(&self.shared.register).iter().map(|(id, data)| (*id, Arc::clone(data))).collect();
        let chosen: HashSet<_> = members.iter().filter(|(_, data)| filter(data)).map(|(id, _)| *id).collect();
        let publish = self.publish_of(message).only(chosen);
        Broadcast::new(Target::Hub(self.shared.everyone.clone()), publish)
    }

    /// A message for the members that are in a room ([`Registration::join`]); for nobody if there is none of this name.
    /// Who else is in the hub makes no difference to what it costs.
    ///
    /// ```
    /// # use tidegate_websocket::{Hub, HubError, Registration};
    /// # async fn example(hub: Hub, member: Registration) -> Result<(), HubError> {
    /// member.join("news")?;
    /// hub.publish("news", "to all who read news").await?;
    /// hub.publish("news", "to all but the member itself").except(&member).queue().await?;
    /// member.leave("news");
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self, room: &str, message: impl Into<PreparedMessage>) -> Broadcast {
        let room = Target::Room(Arc::clone(&self.shared.rooms), room.into());
        Broadcast::new(room, self.publish_of(message))
    }

    /// Members that are in a room now.
    pub fn room_len(&self, room: &str) -> usize {
        self.shared.rooms.find(room).len()
    }

    /// The names of the rooms that somebody is in, in no order.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.shared.rooms.names()
    }

    /// Members now. One that was removed because its connection ended or was slow is none, although its
    /// [`Registration`] may still be there.
    pub fn len(&self) -> usize {
        self.shared.everyone.len()
    }

    /// Whether the hub has no member now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the hub: from now on it refuses messages and members. Waits until every message sent before has been
    /// handed to the queues of its members, or is kept for slow ones. The connections stay open, and their handlers see
    /// nothing of it.
    pub async fn close(&self) {
        let budget = self.shared.everyone.budget();
        budget.close();
        poll_fn(|cx| budget.poll_drained(cx)).await;
    }

    /// A message as the members take it.
    fn publish_of(&self, message: impl Into<PreparedMessage>) -> Publish {
        self.shared.variants.publish(&message.into())
    }
}

impl<T> Default for Hub<T> {
    fn default() -> Self {
        Self::new(HubConfig::default())
    }
}

impl<T> Clone for Hub<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Hub<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("members", &self.len()).finish_non_exhaustive()
    }
}
