//! Reading one message in pieces.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Session;
use crate::error::Error;
use crate::message::MessageKind;
use crate::protocol::Delivery;
use crate::protocol::event::Event;

/// A piece of a message.
#[derive(Debug)]
pub(crate) struct MessagePiece {
    pub(crate) kind: MessageKind,
    pub(crate) payload: PiecePayload,
    /// Does the message end here?
    pub(crate) last: bool,
}

/// Where a piece lies.
#[derive(Debug)]
pub(crate) enum PiecePayload {
    /// In the connection's buffer, until the next read.
    InPlace(Range<usize>),
    /// In memory of its own: it was compressed, or gathered by a read that was given up.
    Owned(Bytes),
}

impl Session {
    /// The first piece of the next message; `None` as [`poll_message`](Self::poll_message) says it.
    pub(crate) fn poll_first_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MessagePiece>, Error>> {
        // Only while this polls: a read that is given up changes nothing for the next.
        self.protocol.set_delivery(Delivery::Pieces);
        let polled = loop {
            match self.poll_event(cx) {
                // Of a message that the application read no further.
                Poll::Ready(Ok(Some(Event::Piece { first: false, .. } | Event::Inflated { first: false, .. }))) => {}
                polled => break polled,
            }
        };
        self.protocol.set_delivery(Delivery::Whole);
        polled.map_ok(|event| event.and_then(piece_of))
    }

    /// The next piece of the message whose earlier ones were read.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when the connection ends before the message does.
    pub(crate) fn poll_next_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<MessagePiece, Error>> {
        let event = ready!(self.poll_event(cx))?;
        Poll::Ready(event.and_then(piece_of).ok_or(Error::Incomplete))
    }

    /// The bytes of a piece, until the next read.
    pub(crate) fn piece_bytes<'a>(&'a mut self, payload: &'a PiecePayload) -> &'a [u8] {
        match payload {
            PiecePayload::InPlace(range) => &self.connection.buffer()[range.clone()],
            PiecePayload::Owned(bytes) => bytes,
        }
    }
}

fn piece_of(event: Event) -> Option<MessagePiece> {
    Some(match event {
        Event::Piece { kind, range, last, .. } => MessagePiece { kind, payload: PiecePayload::InPlace(range), last },
        Event::Inflated { kind, bytes, last, .. } => MessagePiece { kind, payload: PiecePayload::Owned(bytes), last },
        Event::InPlace { kind, range, .. } => MessagePiece { kind, payload: PiecePayload::InPlace(range), last: true },
        Event::Assembled { message, .. } => {
            MessagePiece { kind: message.kind(), payload: PiecePayload::Owned(message.into_bytes()), last: true }
        }
        _ => return None,
    })
}
