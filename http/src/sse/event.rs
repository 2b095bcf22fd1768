//! One event, as it is written to the stream.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tidegate_engine::SendError;

use crate::message::content_stream::StreamError;
use crate::message::head::RequestHead;

/// An event of an event stream.
///
/// ```
/// use std::time::Duration;
/// use tidegate_http::Event;
///
/// let event = Event::data("two\nlines").name("news").id("7").retry(Duration::from_secs(5));
/// assert_eq!(event.as_str(), "data: two\ndata: lines\nevent: news\nid: 7\nretry: 5000\n");
/// ```
///
/// A name or an id with a line break would begin another field, so it is refused when the event is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an event does nothing until it is sent"]
pub struct Event {
    /// The lines of the event, without the empty one that ends it.
    text: String,
    invalid: Option<InvalidEvent>,
}

/// The part of an [`Event`] that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// The name has a line break.
    #[error("invalid event name: must have no line break")]
    Name,
    /// The id has a line break or NUL, which clients ignore.
    #[error("invalid event id: must have no line break and no NUL")]
    Id,
    /// The value has no JSON form.
    #[error("invalid event data: the value has no JSON form")]
    Json,
}

/// An event was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The event is invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// The connection does not take it: the stream has ended, or its queue is full.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl From<EventError> for StreamError {
    fn from(error: EventError) -> StreamError {
        StreamError::new(error)
    }
}

impl From<InvalidEvent> for StreamError {
    fn from(error: InvalidEvent) -> StreamError {
        StreamError::new(error)
    }
}

impl Event {
    /// Creates an event with data. Each line of the text becomes a `data` field; the client joins them with line feeds.
    pub fn data(data: impl AsRef<str>) -> Event {
        let mut event = Event { text: String::new(), invalid: None };
        event.push_lines("data: ", data.as_ref());
        event
    }

    /// Creates an event whose data is a value as JSON.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Event {
        match serde_json::to_string(value) {
            Ok(json) => Event::data(json),
            Err(_) => Event { text: String::new(), invalid: Some(InvalidEvent::Json) },
        }
    }

    /// Creates a comment, which clients ignore.
    pub fn comment(text: impl AsRef<str>) -> Event {
        let mut event = Event { text: String::new(), invalid: None };
        event.push_lines(": ", text.as_ref());
        event
    }

    /// Sets the name, by which scripts listen to the event. Default: `message`.
    pub fn name(mut self, name: impl AsRef<str>) -> Event {
        let name = name.as_ref();
        if name.contains(['\r', '\n']) {
            self.invalid.get_or_insert(InvalidEvent::Name);
        }
        self.push_lines("event: ", name);
        self
    }

    /// Sets the id. A client that reconnects sends the last one in
    /// [`Last-Event-ID`](RequestHead::last_event_id).
    pub fn id(mut self, id: impl AsRef<str>) -> Event {
        let id = id.as_ref();
        if id.contains(['\r', '\n', '\0']) {
            self.invalid.get_or_insert(InvalidEvent::Id);
        }
        self.push_lines("id: ", id);
        self
    }

    /// Sets the time that the client waits before it reconnects, in whole milliseconds.
    pub fn retry(mut self, after: Duration) -> Event {
        self.push_lines("retry: ", &after.as_millis().to_string());
        self
    }

    /// Returns the lines of the event, without the empty line that ends it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the bytes of the event as content of a response: as one chunk (RFC 9112 section 7.1) if the content is
    /// chunked.
    #[doc(hidden)]
    pub fn encode(&self, is_chunked: bool) -> Result<Bytes, InvalidEvent> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let text = match is_chunked {
            true => format!("{:x}\r\n{}\n\r\n", self.text.len() + 1, self.text),
            false => format!("{}\n", self.text),
        };
        Ok(text.into())
    }

    fn push_lines(&mut self, field: &str, text: &str) {
        let mut rest = text;
        loop {
            let end = rest.find(['\r', '\n']);
            self.text.push_str(field);
            self.text.push_str(&rest[..end.unwrap_or(rest.len())]);
            self.text.push('\n');
            let Some(end) = end else { return };
            let line_end = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
            rest = &rest[end + line_end..];
        }
    }
}

/// # Event streams
impl RequestHead {
    /// Returns the id of the last event that a reconnecting client received, to resume after it.
    pub fn last_event_id(&self) -> Option<&str> {
        self.header("last-event-id").filter(|id| !id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind_become_fields() {
        for (data, text) in [
            ("", "data: \n"),
            ("a", "data: a\n"),
            ("a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n"),
            ("\n", "data: \ndata: \n"),
            ("a\n\rb", "data: a\ndata: \ndata: b\n"),
            (" a: \u{e9}", "data:  a: \u{e9}\n"),
        ] {
            assert_eq!(Event::data(data).as_str(), text, "{data:?}");
        }
        assert_eq!(Event::comment("a\nb").as_str(), ": a\n: b\n");
    }

    #[test]
    fn an_event_is_one_chunk() {
        let event = Event::data("0123456789ab").id("1");
        assert_eq!(event.encode(true).unwrap(), "1a\r\ndata: 0123456789ab\nid: 1\n\n\r\n");
        assert_eq!(event.encode(false).unwrap(), "data: 0123456789ab\nid: 1\n\n");
    }

    #[test]
    fn fields_cannot_be_injected() {
        assert_eq!(Event::data("a").name("b\ndata: c").encode(true), Err(InvalidEvent::Name));
        assert_eq!(Event::data("a").id("b\rc").encode(true), Err(InvalidEvent::Id));
        assert_eq!(Event::data("a").id("b\0c").encode(false), Err(InvalidEvent::Id));
    }
}
