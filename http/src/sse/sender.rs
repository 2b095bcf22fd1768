//! Sending events from elsewhere than the function that writes the stream.

use std::fmt;

use tidegate_engine::{ByteSender, SendError};

use super::event::{Event, EventError};
use crate::message::content_connection::SharedContent;

/// Sends events to an event stream from any thread. [`EventStream::sender`](crate::EventStream::sender) returns it.
///
/// Events of several senders are never mixed. Once the stream has ended, sending fails.
///
/// ```
/// use std::thread;
/// use tidegate_engine::block_on;
/// use tidegate_http::{Event, Request, Response};
///
/// async fn count(_request: Request) -> Response {
///     Response::sse(|events| async move {
///         let sender = events.sender()?;
///         thread::spawn(move || (0..10).all(|n| block_on(sender.send(Event::data(n.to_string()))).is_ok()));
///         events.draining().await;
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone)]
pub struct EventSender {
    sender: ByteSender,
    is_chunked: bool,
}

impl EventSender {
    pub(super) fn new(content: SharedContent) -> EventSender {
        EventSender { sender: content.sender, is_chunked: content.is_chunked }
    }

    /// Waits for space in the connection's outbound queue, then queues the event.
    ///
    /// # Errors
    /// [`EventError::Invalid`], and [`EventError::Send`] once the stream has ended.
    pub async fn send(&self, event: Event) -> Result<(), EventError> {
        Ok(self.sender.send(event.encode(self.is_chunked)?).await?)
    }

    /// Queues the event if the connection's outbound queue has space.
    ///
    /// # Errors
    /// As [`send`](EventSender::send), and [`SendError::Full`].
    pub fn try_send(&self, event: Event) -> Result<(), EventError> {
        Ok(self.sender.try_send(event.encode(self.is_chunked)?)?)
    }

    /// Checks that the stream has not ended.
    ///
    /// # Errors
    /// As [`ByteSender::check_open`].
    pub fn check_open(&self) -> Result<(), SendError> {
        self.sender.check_open()
    }

    /// Returns the connection's writing side, for hubs: each append must be one whole event, encoded for this stream.
    #[doc(hidden)]
    pub fn byte_sender(&self) -> &ByteSender {
        &self.sender
    }

    /// Returns whether events are sent as chunks.
    #[doc(hidden)]
    pub fn is_chunked(&self) -> bool {
        self.is_chunked
    }
}

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSender").field("sender", &self.sender).finish_non_exhaustive()
    }
}
