//! Lending received messages: left in the buffer they were received in where they lie whole in one chunk, else kept until
//! the next read.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::COPY_BYTES_MAX;

use crate::conn::session::Session;
use crate::error::Error;
use crate::frame::FrameHeader;
use crate::message::{Kept, Message, MessageKind, MessageRef};
use crate::opcode::ReservedBits;
use crate::protocol::ShortFrame;
use crate::protocol::event::Event;
use crate::protocol_error::ProtocolError;
use crate::utf8::check_utf8;

/// The future of [`WebSocket::recv_ref`](crate::WebSocket::recv_ref).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct RecvRef<'a> {
    /// Taken by the read that completes: the message borrows from it.
    pub(crate) session: Option<&'a mut Session>,
}

impl<'a> Future for RecvRef<'a> {
    type Output = Result<Option<MessageRef<'a>>, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(session) = &mut self.session else { return Poll::Ready(Ok(None)) };
        // Either way comes back in registers: a lent message that is returned through memory is waited for when it is used.
        let plain = match ready!(session.poll_plain(cx)) {
            Some(plain) => Some(plain),
            None => match ready!(session.poll_lent(cx))? {
                Borrowed::InPlace(plain) => Some(plain),
                Borrowed::Assembled => None,
                Borrowed::Nothing => return Poll::Ready(Ok(None)),
            },
        };
        let Some(session) = self.session.take() else { return Poll::Ready(Ok(None)) };
        let plain = match plain {
            Some(plain) => match session.share(plain) {
                None => Some(plain),
                Some(shared) => shared.map(|()| None)?,
            },
            None => None,
        };
        let Some(plain) = plain else { return Poll::Ready(Ok(session.lent().map(MessageRef::kept))) };
        Poll::Ready(match plain.kind() {
            MessageKind::Binary => Ok(Some(MessageRef::binary(session.payload(plain)))),
            MessageKind::Text => lend_text(session, plain),
        })
    }
}

/// Lends the text if it is that. Looked at before it is lent, because a session that lends cannot be told to fail.
#[inline]
fn lend_text(session: &mut Session, plain: ShortFrame) -> Result<Option<MessageRef<'_>>, Error> {
    if check_utf8(session.payload(plain)).is_err() {
        return Err(session.refuse_text());
    }
    match simdutf8::basic::from_utf8(session.payload(plain)) {
        Ok(text) => Ok(Some(MessageRef::text(text))),
        Err(_) => Err(Error::Protocol(ProtocolError::InvalidUtf8)),
    }
}

/// A message to lend.
pub(crate) enum Borrowed {
    /// In the buffer.
    InPlace(ShortFrame),
    /// In memory of its own: [`Session::lent`].
    Assembled,
    /// There are no more.
    Nothing,
}

impl Session {
    /// What [`poll_message`](Self::poll_message) finds, to be lent: left in the buffer, or kept until the next read.
    #[cold]
    pub(crate) fn poll_lent(&mut self, cx: &mut Context<'_>) -> Poll<Result<Borrowed, Error>> {
        Poll::Ready(Ok(match ready!(self.poll_message(cx))? {
            Some(Event::InPlace { kind, range, .. }) => match ShortFrame::of(kind, range.clone()) {
                Some(plain) => Borrowed::InPlace(plain),
                None => {
                    let payload = Bytes::copy_from_slice(&self.connection.buffer()[range]);
                    let message = self.whole(kind, payload)?;
                    self.lend(message);
                    Borrowed::Assembled
                }
            },
            Some(Event::Assembled { message, .. }) => {
                self.lend(message);
                Borrowed::Assembled
            }
            _ => Borrowed::Nothing,
        }))
    }

    /// A plain message in the memory it was received in, so that it can be sent on without a copy; `None` for a short one,
    /// and where it would have to be copied now. [`lent`](Self::lent) then has it.
    ///
    /// The end of its header, which has been read and is longer than a server's, becomes a server's: sent on, the message
    /// is one run of bytes.
    #[inline]
    pub(crate) fn share(&mut self, plain: ShortFrame) -> Option<Result<(), Error>> {
        if plain.end() as usize <= COPY_BYTES_MAX {
            return None;
        }
        self.share_long(plain)
    }

    fn share_long(&mut self, plain: ShortFrame) -> Option<Result<(), Error>> {
        let range = self.placed(plain);
        let header = FrameHeader {
            fin: true,
            reserved_bits: ReservedBits::NONE,
            opcode: plain.kind().opcode(),
            masking_key: None,
            payload_len: range.len() as u64,
        };
        let header = header.encode();
        let start = range.start.checked_sub(header.len())?;
        self.connection.buffer()[start..range.start].copy_from_slice(&header);
        let frame = self.connection.try_take_bytes(start..range.end)?;
        (self.begin, self.used) = (0, 0);
        let message = self.whole(plain.kind(), frame.slice(header.len()..));
        Some(message.map(|message| self.keep(Kept { message, frame })))
    }

    /// Keeps a message until the next read.
    fn lend(&mut self, message: Message) {
        self.keep(Kept { message, frame: Bytes::new() });
    }

    fn keep(&mut self, kept: Kept) {
        self.rare().kept = Some(kept);
    }

    /// The message that is kept until the next read.
    pub(crate) fn lent(&self) -> Option<&Kept> {
        self.rare.as_ref()?.kept.as_ref()
    }
}
