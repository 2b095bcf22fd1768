//! Hubs: one message to every WebSocket and every event stream that is registered.
//!
//! A hub is a register of connections over the engine's [`FanOut`]: a message is encoded once, handed over once to each
//! worker that serves a member, and sent from one shared buffer. `registration` is the membership of one connection,
//! `rooms` are the named parts of a hub, `broadcast` is a message on its way.

mod broadcast;
mod error;
mod policy;
mod registration;
mod rooms;
mod variants;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use tidegate_engine::{FanOut, MemberId, PublishBudget};
use tidegate_http::EventSender;

use broadcast::Target;
pub use broadcast::{Broadcast, Delivered};
pub use error::HubError;
pub use policy::{HubConfig, MemberConfig, SlowPolicy};
use policy::{LAST_CHUNK, TRY_AGAIN_LATER};
pub use registration::Registration;
use rooms::Rooms;
use variants::Variants;

use crate::conn::compression::Compression;
use crate::conn::prepared::PreparedMessage;
use crate::conn::sender::Sender;
use crate::sync::lock;

/// A group of WebSockets that are sent the same messages. A clone is another handle to the same hub. Hubs work on any
/// thread, inside and outside of the engine, and can hold connections of several servers.
///
/// Each member can carry a value of `T`, for [`broadcast_filter`](Self::broadcast_filter) to select by.
///
/// All members get the hub's messages in one order, each member exactly those sent between its registration and its
/// leaving. A hub never waits for a member: [`SlowPolicy`] decides about one whose outbound queue is full.
/// [`HubConfig::pending_bytes_max`] bounds the messages on their way; publishers that are faster than the workers wait,
/// or are refused.
///
/// ```no_run
/// use tidegate_http::{Router, Server};
/// use tidegate_websocket::{Hub, upgrade};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// // Everyone gets what anyone sends.
/// let hub: Hub = Hub::default();
/// let chat = upgrade(async move |mut ws| {
///     let _member = hub.register(&ws)?;
///     while let Some(message) = ws.recv().await? {
///         hub.broadcast(message).queue().await?;
///     }
///     Ok(())
/// });
/// Server::builder(Router::new().get("/chat", chat)).bind("127.0.0.1:9001")?.run()
/// # }
/// ```
pub struct Hub<T = ()> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    config: HubConfig,
    everyone: FanOut,
    rooms: Arc<Rooms>,
    variants: Arc<Variants>,
    /// The values that members carry.
    register: Mutex<HashMap<MemberId, Arc<T>>>,
}

impl<T> Hub<T> {
    /// Returns a hub without members.
    pub fn new(config: HubConfig) -> Self {
        let budget = PublishBudget::new(config.pending_bytes_max);
        let (everyone, rooms) = (FanOut::new(budget.clone()), Arc::new(Rooms::new(budget)));
        Self {
            shared: Arc::new(Shared { config, everyone, rooms, variants: Arc::default(), register: Mutex::default() }),
        }
    }

    /// Registers a WebSocket as a member until the [`Registration`] is dropped. It carries the default of `T`.
    ///
    /// # Errors
    /// [`HubError::Closed`] after [`close`](Self::close).
    pub fn register(&self, ws: impl Into<Sender>) -> Result<Registration<T>, HubError>
    where
        T: Default,
    {
        self.register_with(ws, T::default(), MemberConfig::default())
    }

    /// Registers a WebSocket as a member that carries `data`, with its own settings.
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
        let sender = ws.into();
        let variant = self.shared.variants.enter(sender.compression().and_then(Compression::variant));
        let mut options = config.join_options(&self.shared.config, TRY_AGAIN_LATER);
        options.variant = variant;
        Ok(Registration::new(self.clone(), sender.bytes().clone(), Arc::new(data), options))
    }

    /// Registers an event stream as a member until the [`Registration`] is dropped. It carries the default of `T`. The
    /// hub's messages reach it as events: see [`Broadcast::event`].
    ///
    /// ```
    /// use tidegate_http::{Request, Response, Router};
    /// use tidegate_websocket::{Hub, upgrade};
    ///
    /// let hub: Hub = Hub::default();
    /// let news = hub.clone();
    /// let app = Router::new()
    ///     .get("/news", async move |_request: Request| {
    ///         let news = news.clone();
    ///         Response::sse(|events| async move {
    ///             let _member = news.register_events(&events.sender()?)?;
    ///             events.draining().await; // the hub sends until then
    ///             Ok(())
    ///         })
    ///     })
    ///     .get("/ws", upgrade(async move |mut ws| {
    ///         let _member = hub.register(&ws)?;
    ///         while let Some(message) = ws.recv().await? {
    ///             hub.broadcast(message).queue().await?;
    ///         }
    ///         Ok(())
    ///     }));
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_events(&self, events: &EventSender) -> Result<Registration<T>, HubError>
    where
        T: Default,
    {
        self.register_events_with(events, T::default(), MemberConfig::default())
    }

    /// Registers an event stream as a member that carries `data`, with its own settings.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_events_with(
        &self,
        events: &EventSender,
        data: T,
        config: MemberConfig,
    ) -> Result<Registration<T>, HubError> {
        if self.shared.everyone.budget().is_closed() {
            return Err(HubError::Closed);
        }
        let last = if events.is_chunked() { LAST_CHUNK } else { b"" };
        let mut options = config.join_options(&self.shared.config, last);
        options.variant = self.shared.variants.enter_events(events.is_chunked());
        options.variant_only = true;
        Ok(Registration::new(self.clone(), events.byte_sender().clone(), Arc::new(data), options))
    }

    /// Returns a message for every member. It is sent when the [`Broadcast`] is awaited or queued.
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
        Broadcast::new(Target::Hub(self.shared.everyone.clone()), message.into(), &self.shared.variants)
    }

    /// Returns an encoded message for every member. Nothing is encoded or copied again.
    pub fn broadcast_prepared(&self, message: &PreparedMessage) -> Broadcast {
        self.broadcast(message)
    }

    /// Returns a message for the members whose value `filter` accepts. The filter runs now, on the calling thread, for
    /// every member: members that register later do not get the message. To reach the same few members repeatedly, use
    /// rooms.
    pub fn broadcast_filter(
        &self,
        message: impl Into<PreparedMessage>,
        mut filter: impl FnMut(&T) -> bool,
    ) -> Broadcast {
        // The application's code runs without the lock: it can use the hub.
        let members: Vec<_> = lock(&self.shared.register).iter().map(|(id, data)| (*id, Arc::clone(data))).collect();
        let chosen: HashSet<_> = members.iter().filter(|(_, data)| filter(data)).map(|(id, _)| *id).collect();
        self.broadcast(message).only(chosen)
    }

    /// Returns a message for the members in a room ([`Registration::join`]), or for nobody if the room does not exist.
    /// The cost does not depend on the hub's other members.
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
        Broadcast::new(room, message.into(), &self.shared.variants)
    }

    /// Returns the number of members in a room.
    pub fn room_len(&self, room: &str) -> usize {
        self.shared.rooms.find(room).len()
    }

    /// Returns the names of the rooms that members have joined and not left, in no particular order.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.shared.rooms.names()
    }

    /// Returns the number of members. A member that was removed because its connection ended or was slow does not
    /// count, even while its [`Registration`] exists.
    pub fn len(&self) -> usize {
        self.shared.everyone.len()
    }

    /// Returns whether the hub has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the hub: from now on it refuses messages and members. Waits until every earlier message is in the queues
    /// of its members, or in the backlogs of slow ones. The connections stay open, and their handlers do not notice.
    pub async fn close(&self) {
        let budget = self.shared.everyone.budget();
        budget.close();
        poll_fn(|cx| budget.poll_drained(cx)).await;
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
