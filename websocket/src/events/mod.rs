//! Event handlers: WebSockets whose application is called for what happens, in place of a future that waits for it.
//!
//! The same engine, upgrade, hub, deadlines and limits as those of async handlers. A connection is a record in a table
//! of its thread ([`table`]): the application's state, and the session as the data that is left of it between messages.
//! `record` is the life of one connection, `flow` what a call leaves to be done after it, `socket`, `rooms` and `about`
//! what the application sees during a call, `handle` the way back for work that runs elsewhere. Where a thread has no
//! tables, a task serves the record (`serve`).

mod close_event;
mod flow;
mod handle;
mod record;
mod serve;
mod socket;
mod table;

// Here, because the documentation lists the methods of an `EventSocket` in this order.
mod rooms;

#[cfg(feature = "json")]
mod json;

mod about;

use std::sync::Arc;

pub use close_event::CloseEvent;
pub use handle::EventHandle;
pub use socket::EventSocket;

use crate::error::Error;
use crate::hub::Hub;
use crate::message::MessageRef;
use crate::serve::handler_error::Result;
use crate::serve::upgrade::Upgrade;
use serve::EventServe;

/// A WebSocket handler that is called for each event, instead of an async function that waits for them.
///
/// One value serves all connections of an [`upgrade_events`](upgrade_events()), on all threads. What belongs to one
/// connection is in its [`State`](Self::State), which lies in the connection's record. An idle connection has no
/// future, no task and no waker. Choose an event handler for very many connections, or for the last part of the speed;
/// an async one where a connection goes through steps that wait.
///
/// ```no_run
/// use tidegate_http::{Router, Server};
/// use tidegate_websocket::{self as websocket, EventHandler, EventSocket, MessageRef, upgrade_events};
///
/// struct Echo;
///
/// impl EventHandler for Echo {
///     type State = ();
///
///     fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
///         Ok(())
///     }
///
///     fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
///         Ok(ws.send(message)?)
///     }
/// }
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// Server::builder(Router::new().get("/ws", upgrade_events(Echo))).bind("127.0.0.1:9001")?.run()
/// # }
/// ```
///
/// # Calls
/// The calls for one connection come one after another, on the thread of its handler, in this order: `on_open` first,
/// `on_close` last, the others between them as things happen. They must not block: all connections of the thread wait.
/// Work that waits is [spawned](EventSocket::spawn), and comes back as a call.
///
/// An error closes the connection as that of an async handler does: see [`HandlerError`](crate::HandlerError). A panic
/// is logged with its route and peer and closes with 1011; the state is then dropped without `on_close`.
///
/// # Large messages
/// A message is delivered whole. While it arrives it takes memory, at most
/// [`message_bytes_max`](crate::WebSocketConfig::message_bytes_max) and within the budget of all connections. One that
/// is too large to hold, such as an upload to a disk, needs code that waits between its pieces:
/// [`WebSocket::recv_stream`](crate::WebSocket::recv_stream), in an async handler on another path of the router.
///
/// # Backpressure
/// A send that brings the outbound queue to its high mark succeeds. From then on no message is delivered, and further
/// sends fail with [`Error::Full`], until the queue has emptied to its low mark: then comes
/// [`on_drained`](Self::on_drained). Calls that handles have [posted](EventHandle::post) wait likewise. So a handler
/// that answers each message once, at once or after [spawned](EventSocket::spawn) work, never meets the error, whatever
/// its peer does: the peer's own sending is slowed down.
#[expect(unused_variables, reason = "the names are documentation")]
pub trait EventHandler: Send + Sync + Sized + 'static {
    /// What the application keeps for one connection. It stays on one thread and need not be `Send`.
    type State: 'static;

    /// A connection has opened. Its state is what this returns; an error closes it.
    ///
    /// # Errors
    /// Those of the application; see [`HandlerError`](crate::HandlerError) for the close codes.
    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> Result<Self::State>;

    /// A message has arrived. It is borrowed for the call; [`MessageRef::to_message`] keeps it.
    ///
    /// # Errors
    /// As [`on_open`](Self::on_open).
    fn on_message(&self, ws: &mut EventSocket<'_, Self>, state: &mut Self::State, message: MessageRef<'_>) -> Result;

    /// A ping has arrived, and its pong is queued. Default: nothing.
    ///
    /// # Errors
    /// As [`on_open`](Self::on_open).
    fn on_ping(&self, ws: &mut EventSocket<'_, Self>, state: &mut Self::State, payload: &[u8]) -> Result {
        Ok(())
    }

    /// A pong has arrived that does not answer the [keepalive](crate::WebSocketConfig::keepalive). Default: nothing.
    ///
    /// # Errors
    /// As [`on_open`](Self::on_open).
    fn on_pong(&self, ws: &mut EventSocket<'_, Self>, state: &mut Self::State, payload: &[u8]) -> Result {
        Ok(())
    }

    /// The outbound queue had reached its high mark and has emptied to its low mark. Default: nothing.
    ///
    /// # Errors
    /// As [`on_open`](Self::on_open).
    fn on_drained(&self, ws: &mut EventSocket<'_, Self>, state: &mut Self::State) -> Result {
        Ok(())
    }

    /// The [read deadline](EventSocket::set_read_deadline) has passed. It is cleared; set another to go on waiting for
    /// one. Default: [`Error::ReadDeadline`], which closes with 1001.
    ///
    /// # Errors
    /// As [`on_open`](Self::on_open).
    fn on_deadline(&self, ws: &mut EventSocket<'_, Self>, state: &mut Self::State) -> Result {
        Err(Error::ReadDeadline.into())
    }

    /// The connection has ended, however that was. Called once for each connection whose `on_open` has succeeded,
    /// unless a call panicked. Default: the state is dropped.
    fn on_close(&self, state: Self::State, event: &CloseEvent<'_>) {}

    /// Returns the hub of [`EventSocket::subscribe`] and [`EventSocket::publish`]. Default: none.
    fn hub(&self) -> Option<&Hub> {
        None
    }
}

/// An HTTP handler that upgrades requests to WebSockets and calls `handler` for their events: see [`EventHandler`].
///
/// All settings of [`upgrade`](crate::upgrade()) apply. Control handlers such as
/// [`Upgrade::on_ping`](crate::Upgrade::on_ping) are called before those of the event handler.
///
/// ```
/// use tidegate_http::Router;
/// use tidegate_websocket::{self as websocket, EventHandler, EventSocket, Hub, MessageRef, upgrade_events};
///
/// /// Everyone who has sent a name gets what the others say.
/// struct Chat {
///     hub: Hub,
/// }
///
/// impl EventHandler for Chat {
///     type State = Option<String>;
///
///     fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result<Option<String>> {
///         ws.send("your name?")?;
///         Ok(None)
///     }
///
///     fn on_message(
///         &self,
///         ws: &mut EventSocket<'_, Self>,
///         name: &mut Option<String>,
///         message: MessageRef<'_>,
///     ) -> websocket::Result {
///         let text = message.as_text().unwrap_or_default();
///         match name {
///             Some(name) => ws.publish("lobby", format!("{name}: {text}"))?,
///             None => {
///                 ws.subscribe("lobby")?;
///                 *name = Some(text.to_owned());
///             }
///         }
///         Ok(())
///     }
///
///     fn hub(&self) -> Option<&Hub> {
///         Some(&self.hub)
///     }
/// }
///
/// let app = Router::new().get("/chat", upgrade_events(Chat { hub: Hub::default() }));
/// ```
pub fn upgrade_events<H: EventHandler>(handler: H) -> Upgrade {
    Upgrade::of(Arc::new(EventServe::new(handler)))
}
