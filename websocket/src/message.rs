//! Messages: what applications send and receive (RFC 6455 section 5.6).
//!
//! Control frames are never messages; they surface as their own [`Event`](crate::protocol::event::Event)s.

use bytes::Bytes;

use crate::buffer_pool;
use crate::opcode::Opcode;
use crate::utf8::Text;

/// A message, owned and cheap to clone.
///
/// ```
/// use tidegate_websocket::{Message, MessageKind};
/// let message = Message::from("hello");
/// assert_eq!(message.kind(), MessageKind::Text);
/// assert_eq!(message.as_text(), Some("hello"));
/// assert_eq!(Message::from(vec![1, 2, 3]).as_bytes(), [1, 2, 3]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, known to be UTF-8.
    Text(Text),
    /// Bytes of any content.
    Binary(Bytes),
}

impl Message {
    /// Returns the kind of message, text or binary.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// Returns the payload of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns the text of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the payload of either kind, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns the length of the payload in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(buffer_pool::copy(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

/// As [`MessageRef::to_message`].
impl From<MessageRef<'_>> for Message {
    fn from(message: MessageRef<'_>) -> Self {
        message.to_message()
    }
}

/// A borrowed message: borrowed from the connection that received it until its next read, or from a [`Message`].
///
/// ```
/// use tidegate_websocket::{Message, MessageRef, PayloadRef};
/// let message = Message::from("hello");
/// match MessageRef::from(&message).payload() {
///     PayloadRef::Text(text) => assert_eq!(text, "hello"),
///     PayloadRef::Binary(bytes) => panic!("{bytes:?} are not text"),
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct MessageRef<'a>(Source<'a>);

/// Where a borrowed message lies.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Message(&'a Message),
    Owned(&'a OwnedMessage),
}

/// A message that does not lie in a receive buffer, because it was assembled or is long: it can be shared without a
/// copy.
#[derive(Debug)]
pub(crate) struct OwnedMessage {
    pub(crate) message: Message,
    /// The message as a server's frame, in the same memory as the payload; empty if there is none.
    pub(crate) frame: Bytes,
}

/// The payload of a [`MessageRef`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadRef<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes of any content.
    Binary(&'a [u8]),
}

impl<'a> PayloadRef<'a> {
    /// Returns the bytes of either kind.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl<'a> MessageRef<'a> {
    pub(crate) const fn text(text: &'a str) -> Self {
        Self(Source::Text(text))
    }

    pub(crate) const fn binary(bytes: &'a [u8]) -> Self {
        Self(Source::Binary(bytes))
    }

    /// Returns a message of this kind; `None` for a text that is not UTF-8.
    #[inline]
    pub(crate) fn of_kind(kind: MessageKind, payload: &'a [u8]) -> Option<Self> {
        match kind {
            MessageKind::Binary => Some(Self::binary(payload)),
            MessageKind::Text => simdutf8::basic::from_utf8(payload).ok().map(Self::text),
        }
    }

    pub(crate) const fn owned(owned: &'a OwnedMessage) -> Self {
        Self(Source::Owned(owned))
    }

    /// Returns kind and payload of a message that lies in a receive buffer, as nearly all borrowed messages do.
    #[inline]
    pub(crate) const fn in_buffer(&self) -> Option<(MessageKind, &'a [u8])> {
        match self.0 {
            Source::Text(text) => Some((MessageKind::Text, text.as_bytes())),
            Source::Binary(bytes) => Some((MessageKind::Binary, bytes)),
            Source::Message(_) | Source::Owned(_) => None,
        }
    }

    /// Returns the message as a server's frame, if it lies in memory as one.
    pub(crate) fn frame(&self) -> Option<&'a Bytes> {
        match self.0 {
            Source::Owned(owned) if !owned.frame.is_empty() => Some(&owned.frame),
            _ => None,
        }
    }

    /// Returns the payload, to be matched as text or bytes.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> PayloadRef<'a> {
        match self.0 {
            Source::Text(text) => PayloadRef::Text(text),
            Source::Binary(bytes) => PayloadRef::Binary(bytes),
            Source::Message(message) | Source::Owned(OwnedMessage { message, .. }) => match message {
                Message::Text(text) => PayloadRef::Text(text),
                Message::Binary(bytes) => PayloadRef::Binary(bytes),
            },
        }
    }

    /// Returns the kind of message, text or binary.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> MessageKind {
        match self.0 {
            Source::Text(_) => MessageKind::Text,
            Source::Binary(_) => MessageKind::Binary,
            Source::Message(message) | Source::Owned(OwnedMessage { message, .. }) => message.kind(),
        }
    }

    /// Returns the payload of either kind.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self.0 {
            Source::Text(text) => text.as_bytes(),
            Source::Binary(bytes) => bytes,
            Source::Message(message) | Source::Owned(OwnedMessage { message, .. }) => message.as_bytes(),
        }
    }

    /// Returns the text of a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match self.payload() {
            PayloadRef::Text(text) => Some(text),
            PayloadRef::Binary(_) => None,
        }
    }

    /// Returns the message, owned: shared if it was assembled or fills most of its receive buffer, otherwise copied.
    #[must_use]
    pub fn to_message(&self) -> Message {
        match self.0 {
            Source::Text(text) => Message::from(text),
            Source::Binary(bytes) => Message::from(bytes),
            Source::Message(message) | Source::Owned(OwnedMessage { message, .. }) => message.clone(),
        }
    }
}

impl<'a> From<&'a Message> for MessageRef<'a> {
    fn from(message: &'a Message) -> Self {
        Self(Source::Message(message))
    }
}

impl<'a> From<&MessageRef<'a>> for MessageRef<'a> {
    fn from(message: &MessageRef<'a>) -> Self {
        *message
    }
}

impl<'a> From<&'a str> for MessageRef<'a> {
    fn from(text: &'a str) -> Self {
        Self(Source::Text(text))
    }
}

impl<'a> From<&'a String> for MessageRef<'a> {
    fn from(text: &'a String) -> Self {
        Self(Source::Text(text))
    }
}

impl<'a> From<&'a [u8]> for MessageRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Source::Binary(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for MessageRef<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl<'a> From<&'a Vec<u8>> for MessageRef<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(Source::Binary(bytes))
    }
}

/// Equal if the kind and the payload are.
impl PartialEq for MessageRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.payload() == other.payload()
    }
}

impl Eq for MessageRef<'_> {}

/// The two kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text, opcode 0x1.
    Text,
    /// Bytes of any content, opcode 0x2.
    Binary,
}

impl MessageKind {
    /// Returns the opcode of the message's first frame.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}
