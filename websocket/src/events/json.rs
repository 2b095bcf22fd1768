//! Answers as JSON (feature `json`). [`MessageRef::json`](crate::MessageRef::json) parses what has arrived.

use serde::Serialize;

use super::{EventHandler, EventSocket};
use crate::error::Error;
use crate::message::Message;

/// # JSON
/// With the feature `json`.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
impl<H: EventHandler> EventSocket<'_, H> {
    /// Queues `value` as JSON text.
    ///
    /// # Errors
    /// As [`Message::from_json`] and [`send`](Self::send).
    pub fn send_json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.send(&Message::from_json(value)?)
    }
}
