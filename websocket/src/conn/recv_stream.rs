//! Reading one message in pieces, as they arrive: uploads and other messages that nobody wants to hold whole.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use crate::conn::session::{MessagePiece, PiecePayload, Session};
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::message::{MessageKind, PayloadRef};
use crate::opcode::ReservedBits;
use crate::protocol_error::ProtocolError;
use crate::utf8::{character_len, cut_character_start};

/// One message, read in pieces as it arrives; see [`WebSocket::recv_stream`].
///
/// A piece is what a segment brought of the message, at most a receive buffer, so reading a message of any size takes no
/// memory for it. Pieces say nothing about the peer's frames. Text comes as text: a character that two segments share is
/// a piece of its own.
///
/// Dropped before the end, the rest of the message is skipped by the next read, whichever kind that is. Control frames
/// between the pieces are answered as they are found, and the limit of a message's bytes holds for all of them together.
#[derive(Debug)]
pub struct RecvStream<'a> {
    session: &'a mut Session,
    kind: MessageKind,
    reserved_bits: ReservedBits,
    /// What has come and was not handed out.
    unread: Unread,
    /// Nothing comes after that.
    last: bool,
    /// The beginning of a character whose end has not come, or such a character that was handed out whole.
    cut: Character,
}

#[derive(Debug)]
enum Unread {
    Nothing,
    /// From here to the end of the piece.
    Piece(PiecePayload, usize),
}

/// The first bytes of a character, or all of them.
#[derive(Clone, Copy, Debug, Default)]
struct Character {
    bytes: [u8; 4],
    len: u8,
}

/// What the next piece to hand out is.
enum Found {
    /// This part of what is unread.
    Part(usize, usize),
    /// The character that was cut.
    Character,
}

impl WebSocket {
    /// Waits for the next message to begin, to read it in pieces; `None` is the end of the messages, as with
    /// [`recv`](Self::recv).
    ///
    /// Cancel-safe: dropped before it completes, it has read nothing.
    ///
    /// ```no_run
    /// # use tidegate_websocket::{Error, PayloadRef, WebSocket};
    /// /// Counts what is uploaded without holding it.
    /// async fn count(mut ws: WebSocket) -> Result<(), Error> {
    ///     while let Some(mut message) = ws.recv_stream().await? {
    ///         let mut bytes = 0;
    ///         while let Some(piece) = message.next().await? {
    ///             match piece {
    ///                 PayloadRef::Binary(piece) => bytes += piece.len(),
    ///                 PayloadRef::Text(piece) => bytes += piece.len(),
    ///             }
    ///         }
    ///         ws.send(format!("{bytes} bytes")).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_stream(&mut self) -> Result<Option<RecvStream<'_>>, Error> {
        let session = self.session_mut();
        let first = poll_fn(|cx| session.poll_first_piece(cx)).await?;
        Ok(first.map(|piece| RecvStream::new(session, piece)))
    }
}

impl<'a> RecvStream<'a> {
    fn new(session: &'a mut Session, first: MessagePiece) -> Self {
        let MessagePiece { kind, payload, last } = first;
        let reserved_bits = session.reserved_bits();
        Self { session, kind, reserved_bits, unread: Unread::Piece(payload, 0), last, cut: Character::default() }
    }

    /// Text or binary.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The reserved bits of the message's first frame: none, unless
    /// [`WebSocketConfig::reserved_bits`](crate::WebSocketConfig::reserved_bits) allows some.
    #[must_use]
    pub const fn reserved_bits(&self) -> ReservedBits {
        self.reserved_bits
    }

    /// The next piece, of the message's kind and never empty, borrowed until the next call; `None` at the end of the message.
    ///
    /// Cancel-safe: dropped before it completes, it has read nothing.
    ///
    /// # Errors
    /// As [`recv`](WebSocket::recv), and [`Error::Incomplete`] when the connection ended before the message did, be it by a
    /// close frame: what came is then not the whole. Text is checked as it comes, so earlier pieces of a message may have been
    /// handed out when [`Error::Protocol`] tells of a later one.
    pub async fn next(&mut self) -> Result<Option<PayloadRef<'_>>, Error> {
        let found = poll_fn(|cx| self.poll_found(cx)).await?;
        let Self { session, kind, unread, cut, .. } = self;
        let bytes = match (found, &*unread) {
            (Some(Found::Part(start, end)), Unread::Piece(payload, _)) => &session.piece_bytes(payload)[start..end],
            (Some(Found::Character), _) => cut.as_bytes(),
            _ => return Ok(None),
        };
        match kind {
            MessageKind::Binary => Ok(Some(PayloadRef::Binary(bytes))),
            // Checked when it was received; nothing but this check can tie that to these bytes.
            MessageKind::Text => match simdutf8::basic::from_utf8(bytes) {
                Ok(text) => Ok(Some(PayloadRef::Text(text))),
                Err(_) => Err(Error::Protocol(ProtocolError::InvalidUtf8)),
            },
        }
    }

    /// Finds what to hand out next.
    fn poll_found(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Found>, Error>> {
        loop {
            if let Some(found) = self.find() {
                return Poll::Ready(Ok(Some(found)));
            }
            if self.last {
                return Poll::Ready(Ok(None));
            }
            self.unread = Unread::Nothing;
            let MessagePiece { payload, last, .. } = ready!(self.session.poll_next_piece(cx))?;
            self.unread = Unread::Piece(payload, 0);
            self.last = last;
        }
    }

    /// What to hand out of the unread piece; `None` when that is used up.
    fn find(&mut self) -> Option<Found> {
        let Unread::Piece(payload, start) = &mut self.unread else { return None };
        let bytes = &self.session.piece_bytes(payload)[*start..];
        if self.kind == MessageKind::Binary {
            let found = Found::Part(*start, *start + bytes.len());
            *start += bytes.len();
            return (!bytes.is_empty()).then_some(found);
        }
        if self.cut.is_whole() {
            self.cut = Character::default();
        }
        if self.cut.len > 0 {
            *start += self.cut.extend(bytes);
            return self.cut.is_whole().then_some(Found::Character);
        }
        let whole = cut_character_start(bytes);
        let found = Found::Part(*start, *start + whole);
        *start += whole + self.cut.extend(&bytes[whole..]);
        (whole > 0).then_some(found)
    }
}

impl Character {
    /// Takes what belongs to this character, and says how many bytes that was.
    fn extend(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken).filter(|_| !self.is_whole()) {
            self.bytes[usize::from(self.len)] = *byte;
            self.len += 1;
            taken += 1;
        }
        taken
    }

    fn is_whole(&self) -> bool {
        self.len > 0 && usize::from(self.len) >= character_len(self.bytes[0])
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
