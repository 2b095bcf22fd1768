//! A message on its way to the members of a hub.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tidegate_engine::{FanOut, MemberId, Publish, PublishError, Receipt};
use tidegate_http::Event;

use super::rooms::Rooms;
use super::variants::Variants;
use super::{HubError, Registration};
use crate::conn::prepared::PreparedMessage;
use crate::error::Error;

/// The outcome of a broadcast.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Delivered {
    /// Members whose outbound queues took the message.
    pub count: usize,
    /// Slow members whose backlogs hold the message until they have space, unless a newer one replaces it
    /// ([`SlowPolicy::DropOldest`](super::SlowPolicy::DropOldest),
    /// [`SlowPolicy::Conflate`](super::SlowPolicy::Conflate)).
    pub backlogged: usize,
    /// Why the first of the other members did not get it: [`Error::Full`] for a slow member, whatever its policy did.
    pub first_error: Option<Error>,
}

/// A message to be sent to members of a hub.
///
/// Awaiting it sends it and waits for the outcome for every member. [`queue`](Self::queue) and
/// [`try_queue`](Self::try_queue) send it without an outcome. Use them for many messages: those that are queued
/// together leave together.
///
/// # Errors
/// Awaiting it fails with [`HubError::Closed`] after the hub was closed. A member that did not get the message is no
/// error: see [`Delivered`].
///
/// ```
/// use tidegate_websocket::{Hub, HubError};
///
/// # async fn example(hub: Hub) -> Result<(), HubError> {
/// hub.broadcast("to all members").queue().await?;
/// hub.publish("lobby", "to a room").try_queue()?;
/// let delivered = hub.broadcast("with an outcome").await?;
/// println!("{} members, {} of them slow", delivered.count, delivered.backlogged);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is sent unless it is awaited or queued"]
pub struct Broadcast {
    to: Target,
    /// The message without variants: which of them members take is looked up when it is sent.
    publish: Publish,
    message: PreparedMessage,
    event: Option<Box<Event>>,
    variants: Arc<Variants>,
    receipt: Option<Receipt>,
}

/// The receivers of a message: those who are members when it is sent.
#[derive(Debug)]
pub(super) enum Target {
    Hub(FanOut),
    Room(Arc<Rooms>, Box<str>),
}

impl Target {
    fn members(&self) -> FanOut {
        match self {
            Self::Hub(members) => members.clone(),
            Self::Room(rooms, name) => rooms.find(name),
        }
    }
}

impl Broadcast {
    /// `publish` is the uncompressed frame of `message`.
    pub(super) fn new(to: Target, publish: Publish, message: PreparedMessage, variants: &Arc<Variants>) -> Self {
        Self { to, publish, message, event: None, variants: Arc::clone(variants), receipt: None }
    }

    /// Restricts the message to these members.
    pub(super) fn only(mut self, members: HashSet<MemberId>) -> Self {
        self.publish = self.publish.only(members);
        self
    }

    /// Sets what [event streams](crate::Hub::register_events) among the members get. Default: an event whose data is
    /// the text of the message, and nothing for a binary message.
    ///
    /// ```
    /// use tidegate_http::Event;
    /// # use tidegate_websocket::{Hub, HubError};
    /// # fn example(hub: &Hub) -> Result<(), HubError> {
    /// let price = "EURUSD 1.0831";
    /// hub.broadcast(price).event(Event::data(price).name("price").id("4711")).try_queue()
    /// # }
    /// ```
    pub fn event(mut self, event: Event) -> Self {
        self.event = Some(Box::new(event));
        self
    }

    /// Excludes a member, usually the sender of the message.
    pub fn except<T>(mut self, member: &Registration<T>) -> Self {
        self.publish = self.publish.except(member.id());
        self
    }

    /// Sets the subject of the message, for [`SlowPolicy::Conflate`](super::SlowPolicy::Conflate). Members
    /// that keep up get every message.
    ///
    /// ```
    /// # use tidegate_websocket::{Hub, HubError};
    /// # fn example(hub: &Hub) -> Result<(), HubError> {
    /// hub.broadcast("EURUSD 1.0831").key("EURUSD").try_queue()
    /// # }
    /// ```
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.publish = self.publish.key(key);
        self
    }

    /// Waits until the hub has space for the message, then sends it without waiting for the outcome.
    ///
    /// # Errors
    /// [`HubError::Closed`], [`HubError::Event`].
    pub async fn queue(self) -> Result<(), HubError> {
        loop {
            match self.to.members().publish(self.publish()?) {
                Err(PublishError::Full) => poll_fn(|cx| self.poll_ready(cx)).await?,
                answer => return Ok(answer?),
            }
        }
    }

    /// Sends the message if the hub has space for it, without waiting for the outcome.
    ///
    /// # Errors
    /// [`HubError::Full`] above [`HubConfig::pending_bytes_max`](super::HubConfig::pending_bytes_max),
    /// [`HubError::Closed`], [`HubError::Event`].
    pub fn try_queue(self) -> Result<(), HubError> {
        Ok(self.to.members().publish(self.publish()?)?)
    }

    /// Returns the message in the variants that the members take now.
    fn publish(&self) -> Result<Publish, HubError> {
        Ok(self.variants.add_to(self.publish.clone(), &self.message, self.event.as_deref())?)
    }

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), PublishError>> {
        self.to.members().budget().poll_ready(cx, self.publish.bytes().len())
    }
}

impl Future for Broadcast {
    type Output = Result<Delivered, HubError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(receipt) = &mut self.receipt {
                return Pin::new(receipt).poll(cx).map(|delivered| {
                    let first_error = delivered.first_error.map(Error::from);
                    Ok(Delivered { count: delivered.count, backlogged: delivered.backlogged, first_error })
                });
            }
            match self.to.members().publish_counted(self.publish()?) {
                Ok(receipt) => self.receipt = Some(receipt),
                Err(PublishError::Full) => match self.poll_ready(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(ready) => ready?,
                },
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
