//! Reading one message in pieces.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Session;
use crate::error::Error;
use crate::message::MessageKind;
use crate::protocol::DeliveryMode;
use crate::protocol::event::Event;

/// A piece of a message.
#[derive(Debug)]
pub(crate) struct MessagePiece {
    pub(crate) kind: MessageKind,
    pub(crate) payload: PiecePayload,
    /// Whether the message ends here.
    pub(crate) last: bool,
}

/// Where a piece lies.
#[derive(Debug)]
pub(crate) enum PiecePayload {
    /// In the connection's buffer, until the next read.
    InPlace(Range<usize>),
    /// In separate memory: it was compressed, or assembled by a read that was dropped.
    Owned(Bytes),
}

impl Session {
    /// Reads the first piece of the next message; `None` as with [`poll_message`](Self::poll_message).
    pub(crate) fn poll_first_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<MessagePiece>, Error>> {
        // Only within this poll: a read that is dropped changes nothing for the next. A message whose memory is away
        // was begun by such a read, and goes on as it began.
        if !self.is_memory_away() {
            self.protocol.set_delivery(DeliveryMode::Pieces);
        }
        let polled = loop {
            match self.poll_event(cx) {
                // The rest of a message that the application did not read to its end.
                Poll::Ready(Ok(Some(Event::Piece { first: false, .. } | Event::Inflated { first: false, .. }))) => {}
                polled => break polled,
            }
        };
        self.protocol.set_delivery(DeliveryMode::Whole);
        polled.map_ok(|event| event.and_then(piece_of))
    }

    /// Reads the next piece of the present message.
    ///
    /// # Errors
    /// [`Error::Incomplete`] when the connection ends before the message does.
    pub(crate) fn poll_next_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<MessagePiece, Error>> {
        let event = ready!(self.poll_event(cx))?;
        Poll::Ready(event.and_then(piece_of).ok_or(Error::Incomplete))
    }

    /// Borrows the bytes of a piece, until the next read.
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
