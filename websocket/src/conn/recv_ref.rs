//! Reading borrowed messages: those that lie whole in one chunk stay in the receive buffer, the session owns others
//! until the next read.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::COPY_BYTES_MAX;

use crate::buffer_pool;
use crate::conn::session::Session;
use crate::error::Error;
use crate::frame::FrameHeader;
use crate::message::{MessageKind, MessageRef, OwnedMessage};
use crate::protocol::ShortFrame;
use crate::protocol::event::Event;
use crate::protocol_error::ProtocolError;
use crate::reserved_bits::ReservedBits;
use crate::utf8::check_utf8;

/// The future of [`WebSocket::recv_ref`](crate::WebSocket::recv_ref).
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct RecvRef<'a> {
    /// Taken by the read that completes: the message borrows from it.
    pub(crate) session: Option<&'a mut Session>,
}

/// Where a borrowed message lies.
enum Borrowed {
    /// In the buffer.
    InPlace(ShortFrame),
    /// In separate memory: [`Session::borrowed`].
    Owned,
    /// There are no more messages.
    End,
}

impl<'a> Future for RecvRef<'a> {
    type Output = Result<Option<MessageRef<'a>>, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(session) = &mut self.session else { return Poll::Ready(Ok(None)) };
        // Either way comes back in registers: one that returned through memory would be waited for when it is used.
        let frame = match ready!(session.poll_short_frame(cx)) {
            Some(frame) => Some(frame),
            None => match ready!(session.poll_borrowed_event(cx))? {
                Borrowed::InPlace(frame) => Some(frame),
                Borrowed::Owned => None,
                Borrowed::End => return Poll::Ready(Ok(None)),
            },
        };
        let Some(session) = self.session.take() else { return Poll::Ready(Ok(None)) };
        let frame = match frame {
            Some(frame) => match session.share_message(frame) {
                None => Some(frame),
                Some(shared) => {
                    session.cold_mut().borrowed = Some(shared?);
                    None
                }
            },
            None => None,
        };
        let Some(frame) = frame else { return Poll::Ready(Ok(session.borrowed().map(MessageRef::owned))) };
        Poll::Ready(match frame.kind() {
            MessageKind::Binary => Ok(Some(MessageRef::binary(session.payload(frame)))),
            MessageKind::Text => borrow_text(session, frame),
        })
    }
}

/// Borrows the text if it is UTF-8. It is checked before it is borrowed, because a borrowed session cannot fail.
#[inline]
fn borrow_text(session: &mut Session, frame: ShortFrame) -> Result<Option<MessageRef<'_>>, Error> {
    if check_utf8(session.payload(frame)).is_err() {
        return Err(session.refuse_text());
    }
    match simdutf8::basic::from_utf8(session.payload(frame)) {
        Ok(text) => Ok(Some(MessageRef::text(text))),
        Err(_) => Err(Error::Protocol(ProtocolError::InvalidUtf8)),
    }
}

impl Session {
    /// Reads the next whole message through [`poll_message`](Self::poll_message). It stays in the buffer, or is owned
    /// by the session until the next read.
    #[cold]
    fn poll_borrowed_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Borrowed, Error>> {
        let message = match ready!(self.poll_message(cx))? {
            Some(Event::InPlace { kind, range, .. }) => match ShortFrame::of(kind, range.clone()) {
                Some(frame) => return Poll::Ready(Ok(Borrowed::InPlace(frame))),
                None => {
                    let payload = buffer_pool::copy(&self.connection.buffer()[range]);
                    self.owned_message(kind, payload)?
                }
            },
            Some(Event::Assembled { message, .. }) => message,
            _ => return Poll::Ready(Ok(Borrowed::End)),
        };
        self.cold_mut().borrowed = Some(OwnedMessage { message, frame: Bytes::new() });
        Poll::Ready(Ok(Borrowed::Owned))
    }

    /// Takes over the memory of a long message, so that it can be sent on without a copy. `None` for a short message,
    /// and where taking it over would copy.
    ///
    /// The end of its header, which has been read and is longer than a server's, becomes a server's: sent on, the
    /// message is one run of bytes.
    #[inline]
    pub(crate) fn share_message(&mut self, frame: ShortFrame) -> Option<Result<OwnedMessage, Error>> {
        if frame.end() as usize <= COPY_BYTES_MAX {
            return None;
        }
        self.share_long_message(frame)
    }

    fn share_long_message(&mut self, frame: ShortFrame) -> Option<Result<OwnedMessage, Error>> {
        let range = self.cursor.payload(frame);
        let header = FrameHeader {
            fin: true,
            reserved_bits: ReservedBits::NONE,
            opcode: frame.kind().opcode(),
            masking_key: None,
            payload_len: range.len() as u64,
        };
        let header = header.encode();
        let start = range.start.checked_sub(header.len())?;
        self.connection.buffer()[start..range.start].copy_from_slice(&header);
        let bytes = self.connection.try_take_bytes(start..range.end)?;
        self.cursor.rewind();
        let message = self.owned_message(frame.kind(), bytes.slice(header.len()..));
        Some(message.map(|message| OwnedMessage { message, frame: bytes }))
    }

    /// Returns the borrowed message that lies in separate memory.
    fn borrowed(&self) -> Option<&OwnedMessage> {
        self.cold.as_ref()?.borrowed.as_ref()
    }
}
