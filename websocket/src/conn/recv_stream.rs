//! Reading one message in pieces, as they arrive: for uploads and other messages too large to hold whole.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use crate::conn::session::{MessagePiece, PiecePayload, Session};
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::message::{MessageKind, PayloadRef};
use crate::protocol_error::ProtocolError;
use crate::reserved_bits::ReservedBits;
use crate::utf8::{character_len, cut_character_start};

/// One message, read in pieces as it arrives; see [`WebSocket::recv_stream`].
///
/// A piece is the part of the message that one received segment brought, at most a receive buffer, so a message of any
/// size takes no memory. Of a compressed message, a piece is the payload of up to 1 KiB of input: at most about a
/// megabyte, and usually far less. Pieces do not correspond to the peer's frames. Pieces of text are text: a character
/// that is split between two segments is a piece by itself.
///
/// ```
/// use tidegate_websocket::{self as websocket, PayloadRef, WebSocket};
///
/// /// Stores each message without holding it in memory. (Files block: a real server writes on another thread.)
/// async fn store(mut ws: WebSocket) -> websocket::Result {
///     while let Some(mut message) = ws.recv_stream().await? {
///         let mut file = std::fs::File::create("upload")?;
///         while let Some(piece) = message.next().await? {
///             let bytes = match piece {
///                 PayloadRef::Text(text) => text.as_bytes(),
///                 PayloadRef::Binary(bytes) => bytes,
///             };
///             std::io::Write::write_all(&mut file, bytes)?;
///         }
///         ws.send("stored").await?;
///     }
///     Ok(())
/// }
/// ```
///
/// If the stream is dropped before the end, the next read skips the rest of the message. Control frames between the
/// pieces are answered as they are found. The limit of a message's bytes applies to all pieces together.
#[derive(Debug)]
pub struct RecvStream<'a> {
    session: &'a mut Session,
    kind: MessageKind,
    reserved_bits: ReservedBits,
    /// The piece that has arrived and was not handed out.
    unread: Unread,
    /// Whether the unread piece is the last.
    last: bool,
    /// The beginning of a split character, or the whole character while it is handed out.
    cut: Character,
}

#[derive(Debug)]
enum Unread {
    Nothing,
    /// The piece from this byte on.
    Piece(PiecePayload, usize),
}

/// The first bytes of a character, or all of them.
#[derive(Clone, Copy, Debug, Default)]
struct Character {
    bytes: [u8; 4],
    len: u8,
}

/// The next piece to hand out.
enum NextPiece {
    /// This part of the unread piece.
    Part(usize, usize),
    /// The character that was split.
    Character,
}

/// # Reading in pieces
impl WebSocket {
    /// Waits for the next message to begin, to read it in pieces. `None` is the end of the messages, as with
    /// [`recv`](Self::recv).
    ///
    /// Cancel-safe: a read that is dropped loses nothing.
    ///
    /// ```no_run
    /// # use tidegate_websocket::{Error, PayloadRef, WebSocket};
    /// /// Counts the bytes of an upload without holding them.
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

    /// Returns the kind of message, text or binary.
    #[must_use]
    pub const fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Returns the reserved bits of the message's first frame: none, unless
    /// [`WebSocketConfig::reserved_bits`](crate::WebSocketConfig::reserved_bits) allows some.
    #[must_use]
    pub const fn reserved_bits(&self) -> ReservedBits {
        self.reserved_bits
    }

    /// Waits for the next piece and borrows it until the next call. It has the message's kind and is never empty.
    /// `None` is the end of the message.
    ///
    /// Cancel-safe: a read that is dropped loses nothing.
    ///
    /// # Errors
    /// As [`recv`](WebSocket::recv), and [`Error::Incomplete`] when the connection ended inside the message, even by a
    /// close frame: the pieces so far are then not the whole message. Text is checked as it arrives, so earlier pieces
    /// can have been handed out before [`Error::Protocol`] reports a later one.
    pub async fn next(&mut self) -> Result<Option<PayloadRef<'_>>, Error> {
        let found = poll_fn(|cx| self.poll_found(cx)).await?;
        let Self { session, kind, unread, cut, .. } = self;
        let bytes = match (found, &*unread) {
            (Some(NextPiece::Part(start, end)), Unread::Piece(payload, _)) => &session.piece_bytes(payload)[start..end],
            (Some(NextPiece::Character), _) => cut.as_bytes(),
            _ => return Ok(None),
        };
        match kind {
            MessageKind::Binary => Ok(Some(PayloadRef::Binary(bytes))),
            // Text was checked when it was received, but only this check ties that to these bytes.
            MessageKind::Text => match simdutf8::basic::from_utf8(bytes) {
                Ok(text) => Ok(Some(PayloadRef::Text(text))),
                Err(_) => Err(Error::Protocol(ProtocolError::InvalidUtf8)),
            },
        }
    }

    /// Finds the next piece to hand out.
    fn poll_found(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<NextPiece>, Error>> {
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

    /// Finds what to hand out of the unread piece; `None` when that is used up.
    fn find(&mut self) -> Option<NextPiece> {
        let Unread::Piece(payload, start) = &mut self.unread else { return None };
        let bytes = &self.session.piece_bytes(payload)[*start..];
        if self.kind == MessageKind::Binary {
            let found = NextPiece::Part(*start, *start + bytes.len());
            *start += bytes.len();
            return (!bytes.is_empty()).then_some(found);
        }
        if self.cut.is_whole() {
            self.cut = Character::default();
        }
        if self.cut.len > 0 {
            *start += self.cut.extend(bytes);
            return self.cut.is_whole().then_some(NextPiece::Character);
        }
        let whole = cut_character_start(bytes);
        let found = NextPiece::Part(*start, *start + whole);
        *start += whole + self.cut.extend(&bytes[whole..]);
        (whole > 0).then_some(found)
    }
}

impl Character {
    /// Takes the bytes that belong to this character, and returns their number.
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
