//! Hubs: one message to every WebSocket and every event stream that is registered.
//!
//! A hub is a register of connections over the engine's [`FanOut`]: a message is encoded once, handed over once to each
//! worker that serves a member, and sent from one shared buffer. `registration` is the membership of one connection,
//! `rooms` are the named parts of a hub, `broadcast` is a message on its way, `publishers` keep the order between a
//! handler's messages to the hub and to its own WebSocket.

mod broadcast;
mod config;
mod error;
mod policy;
mod publishers;
mod registration;
mod rooms;
mod slow;
mod variants;

use std::collections::HashSet;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_engine::{ByteSender, FanOut, JoinOptions, Publish, PublishBudget, SlowHook};
use tidegate_http::EventSender;

use broadcast::Target;
pub use broadcast::{Broadcast, Delivered};
pub use config::{HubConfig, MemberConfig};
pub use error::HubError;
pub use policy::SlowPolicy;
use policy::{last_event, last_frame, try_again_later};
use publishers::Publishers;
pub use registration::Registration;
use rooms::Rooms;
use slow::Register;
pub use slow::SlowMember;
use variants::{Variants, last_variants};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::compression::Compression;
use crate::conn::prepared::PreparedMessage;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::role::Role;
use crate::sync::lock;

/// A group of WebSockets that are sent the same messages. A clone is another handle to the same hub. Hubs work on any
/// thread, inside and outside of the engine, and can hold connections of several servers.
///
/// Each member can carry a value of `T`, for [`broadcast_filter`](Self::broadcast_filter) to select by.
///
/// All members get the hub's messages in one order, each member exactly those sent between its registration and its
/// leaving. What a handler publishes arrives at the WebSocket that it has registered itself before everything that is
/// sent there afterwards. A hub never waits for a member: [`SlowPolicy`] decides about one whose outbound queue is
/// full. [`HubConfig::pending_bytes_max`] bounds the messages on their way; publishers that are faster than the workers
/// wait, or are refused.
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
    register: Register<T>,
    publishers: Publishers,
    slow_hook: SlowHook,
}

impl<T> Hub<T> {
    /// Returns a hub without members.
    pub fn new(config: HubConfig) -> Self {
        let budget = PublishBudget::new(config.pending_bytes_max);
        let slow_hook = SlowHook::default();
        let everyone = FanOut::with_slow_hook(budget.clone(), slow_hook.clone());
        let rooms = Arc::new(Rooms::new(budget, slow_hook.clone()));
        Self {
            shared: Arc::new(Shared {
                config,
                everyone,
                rooms,
                variants: Arc::default(),
                register: Register::default(),
                publishers: Publishers::default(),
                slow_hook,
            }),
        }
    }

    /// Registers a WebSocket as a member until the [`Registration`] is dropped. It carries the default of `T`. It costs
    /// a lock of the hub and a message to the worker of the WebSocket.
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
        let sender = ws.into();
        let mut options = config.join_options(&self.shared.config, try_again_later(sender.role()));
        match sender.role() {
            Role::Server => {
                options.variant = self.shared.variants.enter(sender.compression().and_then(Compression::variant));
            }
            Role::Client => {
                options.variant = self.shared.variants.enter_masked();
                options.variant_only = true;
            }
        }
        self.add(sender.bytes(), data, options)
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
        let last = Bytes::from_static(last_event(events.is_chunked()));
        let mut options = config.join_options(&self.shared.config, last);
        options.variant = self.shared.variants.enter_events(events.is_chunked());
        options.variant_only = true;
        self.add(events.byte_sender(), data, options)
    }

    fn add(&self, sender: &ByteSender, data: T, options: JoinOptions) -> Result<Registration<T>, HubError> {
        let registration = Registration::new(self.clone(), sender.clone(), Arc::new(data), options);
        // Checked last: `close` removes those who were members before the check.
        if self.shared.everyone.budget().is_closed() { Err(HubError::Closed) } else { Ok(registration) }
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
        self.message(Target::Hub(self.shared.everyone.clone()), message)
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
        self.message(room, message)
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

    /// Closes the hub and the WebSockets of its members. From now on it refuses messages and members. Every earlier
    /// message comes first, unless it waits in the backlog of a slow member: that is dropped. Then each member, those
    /// of rooms included, gets a close frame and is unregistered. Returns once all frames are queued; it waits for no
    /// peer.
    ///
    /// The members' handlers find the end as after [`Sender::close`]: their next reads complete the closing handshake,
    /// and their sends fail with [`UsageError::CloseSent`](crate::UsageError::CloseSent). Closing again has no effect.
    ///
    /// ```
    /// # use tidegate_websocket::{CloseCode, Error, Hub};
    /// # async fn example(game: Hub) -> Result<(), Error> {
    /// game.broadcast("the game is over").queue().await?;
    /// game.close(CloseCode::NORMAL, "game over").await
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Usage`] for a code or reason that must not be sent; the hub then stays open.
    pub async fn close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let frame = CloseFrame::new(code, reason)?;
        let last = last_frame(Some(&frame), Role::Server);
        let variants: Vec<_> = last_variants(&frame).collect();
        let shared = &*self.shared;
        let budget = shared.everyone.budget();
        budget.close();
        // The messages to rooms have ways of their own: none may be overtaken.
        poll_fn(|cx| budget.poll_drained(cx)).await;
        shared.everyone.finish(last.clone(), variants.iter().cloned());
        shared.rooms.finish(&last, &variants);
        let former = std::mem::take(&mut *lock(&shared.register));
        // Dropping runs code of the application: not under the lock.
        drop(former);
        poll_fn(|cx| budget.poll_drained(cx)).await;
        Ok(())
    }

    fn message(&self, to: Target, message: impl Into<PreparedMessage>) -> Broadcast {
        let message = message.into();
        let publish = self.shared.publishers.name(Publish::new(message.frame().clone()));
        Broadcast::new(to, publish, message, &self.shared.variants)
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
