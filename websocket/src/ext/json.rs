//! Messages as JSON (feature `json`).

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

use crate::conn::sender::Sender;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::message::{Message, MessageRef};

#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
impl Message {
    /// Returns a text message with `value` as JSON.
    ///
    /// # Errors
    /// [`Error::Application`] if the value cannot be JSON: its `Serialize` fails, or a key of a map is not a string.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Ok(serde_json::to_string(value).map_err(Error::application)?.into())
    }

    /// Parses the message, text or binary, as JSON. The value can borrow from the message.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        MessageRef::from(self).json()
    }
}

impl<'a> MessageRef<'a> {
    /// Parses the message, text or binary, as JSON. The value can borrow from the receive buffer, until the next read.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Error> {
        let value = match self.as_text() {
            Some(text) => serde_json::from_str(text),
            None => serde_json::from_slice(self.as_bytes()),
        };
        value.map_err(Error::Json)
    }
}

/// # JSON
/// With the feature `json`.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
impl WebSocket {
    /// Waits for the next message, text or binary, and parses it as JSON; `None` as with [`recv`](Self::recv).
    ///
    /// Cancel-safe: a read that is dropped loses nothing.
    ///
    /// ```no_run
    /// # use tidegate_websocket::{self as websocket, WebSocket};
    /// #[derive(serde::Deserialize)]
    /// struct Question { a: i64, b: i64 }
    ///
    /// #[derive(serde::Serialize)]
    /// struct Answer { sum: i64 }
    ///
    /// async fn add(mut ws: WebSocket) -> websocket::Result {
    ///     while let Some(Question { a, b }) = ws.recv_json().await? {
    ///         ws.send_json(&Answer { sum: a + b }).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As `recv`, and [`Error::Json`] for a message that is not JSON or of another shape: the WebSocket stays open, and
    /// the next read gets the next message. Returned by a handler, that error closes with 1007.
    pub async fn recv_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        match self.recv_ref().await? {
            Some(message) => message.json().map(Some),
            None => Ok(None),
        }
    }

    /// Waits for space, then queues `value` as JSON text.
    ///
    /// # Errors
    /// As [`Message::from_json`] and [`Sender::send`].
    pub async fn send_json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.send(Message::from_json(value)?).await
    }
}

impl Sender {
    /// Waits for space, then queues `value` as JSON text.
    ///
    /// # Errors
    /// As [`Message::from_json`] and [`send`](Self::send).
    pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        self.send(Message::from_json(value)?).await
    }

    /// Queues `value` as JSON text if there is space.
    ///
    /// # Errors
    /// As [`Message::from_json`] and [`try_send`](Self::try_send).
    pub fn try_send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        self.try_send(Message::from_json(value)?)
    }
}
