//! What [`Protocol`](crate::protocol::Protocol) reports.
//!
//! Events own their data or say where in the input it is; they never borrow, so the input can be kept, moved and
//! handed on together with the event.

use std::ops::Range;

use bytes::Bytes;

use crate::close::CloseFrame;
use crate::message::{Message, MessageKind};
use crate::opcode::{Opcode, ReservedBits};
use crate::protocol_error::ProtocolError;
use crate::utf8::Text;

/// A step of receiving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done with. Ranges in the event lie inside them.
    pub consumed: usize,
    /// What they brought; `None` means that all of the input was consumed and more is needed.
    pub event: Option<Event>,
}

/// Something the application or the connection's owner must know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A whole message that lies in the input in one piece: nothing was copied. If it is text, it is UTF-8.
    InPlace {
        /// Text or binary.
        kind: MessageKind,
        /// Reserved bits of its first frame, empty unless allowed.
        reserved_bits: ReservedBits,
        /// Where in the input the payload is, unmasked.
        range: Range<usize>,
    },
    /// A whole message that came in several pieces.
    Assembled {
        /// Reserved bits of its first frame, empty unless allowed; without that of a compression that has been undone.
        reserved_bits: ReservedBits,
        /// The message.
        message: Message,
    },
    /// A piece of a message, under [`Delivery::Pieces`](crate::protocol::Delivery::Pieces). Pieces of text are checked
    /// but may end inside a character.
    Piece {
        /// Text or binary.
        kind: MessageKind,
        /// Reserved bits of the piece's frame, empty unless allowed.
        reserved_bits: ReservedBits,
        /// Where in the input the piece is, unmasked; may be empty in the last piece.
        range: Range<usize>,
        /// Does the message begin here?
        first: bool,
        /// Does the message end here?
        last: bool,
    },
    /// A piece of a compressed message's payload, under [`Delivery::Pieces`](crate::protocol::Delivery::Pieces), checked
    /// as other pieces are. It lies nowhere in the input; one piece of the input makes at most about a thousand times its
    /// own bytes, and is never more than 1 KiB.
    Inflated {
        /// Text or binary.
        kind: MessageKind,
        /// The payload; may be empty in the last piece.
        bytes: Bytes,
        /// Does the message begin here?
        first: bool,
        /// Does the message end here?
        last: bool,
    },
    /// A slice of a big compressed message has been inflated, and there is more in the input: a place to let others
    /// work before [`receive`](crate::protocol::Protocol::receive) is called again. It may have consumed nothing.
    Inflating,
    /// A ping: answer with a pong of the same payload (RFC 6455 section 5.5.2).
    Ping(ControlPayload),
    /// A pong, asked for or not (RFC 6455 section 5.5.3).
    Pong(ControlPayload),
    /// A control frame of opcode 0xB-0xF, if [`FrameRules::reserved_control`](crate::frame::FrameRules) is set.
    ReservedControl {
        /// Which.
        opcode: Opcode,
        /// Reserved bits of the frame, empty unless allowed.
        reserved_bits: ReservedBits,
        /// Its payload.
        payload: ControlPayload,
    },
    /// The peer's close frame, `None` when it gave no code (1005). Whatever comes after it is ignored.
    Close(Option<CloseFrame>),
}

impl Event {
    /// The whole message of this event, copied out of `input` if it lies there; `None` for other events.
    ///
    /// `input` must be the bytes that were given to [`receive`](crate::protocol::Protocol::receive).
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`] only if `input` is not what was received: text is checked again here, which costs
    /// little beside the copy, because nothing ties the range to the bytes.
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
pub enum ControlPayload {
    /// It lies here in the input, unmasked.
    InPlace(Range<usize>),
    /// It came in several pieces.
    Assembled(Bytes),
}

impl ControlPayload {
    /// The bytes. `input` must be the bytes that were given to [`receive`](crate::protocol::Protocol::receive).
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
