//! Lending received messages: left in the buffer they were received in where they lie whole in one chunk, else kept until
//! the next read.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::COPY_BYTES_MAX;

use crate::conn::session::Session;
use crate::error::Error;
use crate::frame::FrameHeader;
use crate::message::{Kept, Message};
use crate::opcode::ReservedBits;
use crate::protocol::ShortFrame;
use crate::protocol::event::Event;

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
