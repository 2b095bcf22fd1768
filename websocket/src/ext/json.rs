//! Messages as JSON (feature `json`).

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};

use crate::conn::sender::Sender;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::message::{Message, MessageRef};

impl Message {
    /// A text message of `value` as JSON.
    ///
    /// # Errors
    /// [`Error::Application`] if the value cannot be JSON: its `Serialize` fails, or a key of a map is no string.
    pub fn from_json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Ok(serde_json::to_string(value).map_err(Error::application)?.into())
    }

    /// The value that the message, text or binary, is the JSON of; it may borrow from the message.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        MessageRef::from(self).json()
    }
}

impl<'a> MessageRef<'a> {
    /// As [`Message::json`]: what is borrowed lies in the receive buffer until the next read.
    ///
    /// # Errors
    /// As there.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Error> {
        let value = match self.as_text() {
            Some(text) => serde_json::from_str(text),
            None => serde_json::from_slice(self.as_bytes()),
        };
        value.map_err(Error::Json)
    }
}

impl WebSocket {
    /// The next message, text or binary, as the value that it is the JSON of; `None` as [`recv`](Self::recv) says it.
    ///
    /// Cancel-safe as `recv` is.
    ///
    /// ```no_run
    /// # use tidegate_websocket::{Error, WebSocket};
    /// #[derive(serde::Deserialize)]
    /// struct Question { a: i64, b: i64 }
    ///
    /// #[derive(serde::Serialize)]
    /// struct Answer { sum: i64 }
    ///
    /// async fn add(mut ws: WebSocket) -> Result<(), Error> {
    ///     while let Some(Question { a, b }) = ws.recv_json().await? {
    ///         ws.send_json(&Answer { sum: a + b }).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As `recv`, and [`Error::Json`] for a message that is no JSON or of another shape: the WebSocket stays open, and the
    /// next read gets the next message. Returned by a handler, that error closes with 1007.
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
