//! The events that [`Protocol`](crate::protocol::Protocol) reports.
//!
//! Events own their data or name its place in the input. They never borrow, so the input can be moved and handed on
//! together with the event.

use std::ops::Range;

use bytes::Bytes;

use crate::close::CloseFrame;
use crate::message::{Message, MessageKind};
use crate::opcode::Opcode;
use crate::protocol_error::ProtocolError;
use crate::reserved_bits::ReservedBits;
use crate::utf8::Text;

/// The result of a step of receiving.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The consumed bytes of the input. Ranges in the event lie inside them.
    pub consumed: usize,
    /// The event in them; `None` means that all of the input was consumed and more is needed.
    pub event: Option<Event>,
}

/// An event for the application or the owner of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A whole message that lies in the input in one piece and was not copied. Text has been checked.
    InPlace {
        /// Text or binary.
        kind: MessageKind,
        /// The reserved bits of its first frame; empty unless allowed.
        reserved_bits: ReservedBits,
        /// The place of the unmasked payload in the input.
        range: Range<usize>,
    },
    /// A whole message that arrived in several pieces.
    Assembled {
        /// The reserved bits of its first frame, without that of compression; empty unless allowed.
        reserved_bits: ReservedBits,
        /// The message.
        message: Message,
    },
    /// A piece of a message, under [`DeliveryMode::Pieces`](crate::protocol::DeliveryMode::Pieces). Pieces of text are
    /// checked but can end inside a character.
    Piece {
        /// Text or binary.
        kind: MessageKind,
        /// The reserved bits of the message's first frame with the first piece, then those of the piece's frame; empty
        /// unless allowed.
        reserved_bits: ReservedBits,
        /// The place of the unmasked piece in the input. The last piece can be empty.
        range: Range<usize>,
        /// Whether the message begins here.
        first: bool,
        /// Whether the message ends here.
        last: bool,
    },
    /// A piece of the payload of a compressed message, under
    /// [`DeliveryMode::Pieces`](crate::protocol::DeliveryMode::Pieces), checked like other pieces. It does not lie in
    /// the input. At most 1 KiB of input is inflated to one piece, at most about a thousand times as long. (Feature
    /// `compression`.)
    Inflated {
        /// Text or binary.
        kind: MessageKind,
        /// The reserved bits of the message's first frame, without that of compression; empty unless allowed.
        reserved_bits: ReservedBits,
        /// The payload. The last piece can be empty.
        bytes: Bytes,
        /// Whether the message begins here.
        first: bool,
        /// Whether the message ends here.
        last: bool,
    },
    /// A slice of a big compressed message has been inflated, and more is in the input. Let other connections work
    /// before [`receive`](crate::protocol::Protocol::receive) is called again. The step can have consumed no input.
    /// (Feature `compression`.)
    Inflating,
    /// A ping: answer with a pong of the same payload (RFC 6455 section 5.5.2).
    Ping(ControlPayload),
    /// A pong, in answer to a ping or not (RFC 6455 section 5.5.3).
    Pong(ControlPayload),
    /// A control frame of opcode 0xB-0xF, if [`FrameRules::reserved_control`](crate::frame::FrameRules) is set.
    ReservedControl {
        /// The opcode.
        opcode: Opcode,
        /// The reserved bits of the frame; empty unless allowed.
        reserved_bits: ReservedBits,
        /// The payload.
        payload: ControlPayload,
    },
    /// The peer's close frame; `None` when it has no code (1005). Everything after it is ignored.
    Close(Option<CloseFrame>),
}

impl Event {
    /// Returns the whole message of this event, copied out of `input` if it lies there; `None` for other events.
    ///
    /// `input` must be the bytes that were given to [`receive`](crate::protocol::Protocol::receive).
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`] only if `input` is not the received input: text is checked again, because nothing
    /// ties the range to the bytes. That costs little compared to the copy.
    ///
    /// # Panics
    /// If the event's range is not inside `input`.
    pub fn into_message(self, input: &[u8]) -> Result<Option<Message>, ProtocolError> {
        match self {
            Self::Assembled { message, .. } => Ok(Some(message)),
            Self::InPlace { kind: MessageKind::Binary, range, .. } => Ok(Some(Message::from(&input[range]))),
            Self::InPlace { kind: MessageKind::Text, range, .. } => match Text::copy_from_utf8(&input[range]) {
                Ok(text) => Ok(Some(Message::Text(text))),
                Err(_) => Err(ProtocolError::InvalidUtf8),
            },
            _ => Ok(None),
        }
    }
}

/// The payload of a control frame, at most 125 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlPayload {
    /// The place of the unmasked payload in the input.
    InPlace(Range<usize>),
    /// A payload that arrived in several pieces.
    Assembled(Bytes),
}

impl ControlPayload {
    /// Returns the bytes. `input` must be the bytes that were given to [`receive`](crate::protocol::Protocol::receive).
    ///
    /// # Panics
    /// If the range is not inside `input`.
    #[must_use]
    pub fn bytes<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self {
            Self::InPlace(range) => &input[range.clone()],
            Self::Assembled(bytes) => bytes,
        }
    }
}
