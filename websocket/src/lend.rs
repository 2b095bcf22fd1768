//! Lending received messages: left in the buffer they were received in where they lie whole in one chunk, else kept until
//! the next read.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::COPY_BYTES_MAX;

use crate::event::Event;
use crate::failure::Error;
use crate::message::Message;
use crate::protocol::Plain;
use crate::session::Session;

/// A message to lend.
pub(crate) enum Lent {
    /// In the buffer.
    InPlace(Plain),
    /// In memory of its own: [`Session::lent`].
    Assembled,
    /// There are no more.
    Nothing,
}

impl Session {
    /// What [`poll_message`](Self::poll_message) finds, to be lent: left in the buffer, or kept until the next read.
    #[cold]
    pub(crate) fn poll_lent(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lent, Error>> {
        Poll::Ready(Ok(match ready!(self.poll_message(cx))? {
            Some(Event::InPlace { kind, range, .. }) => match Plain::of(kind, range.clone()) {
                Some(plain) => Lent::InPlace(plain),
                None => {
                    let payload = Bytes::copy_from_slice(&self.connection.buffer()[range]);
                    let message = self.whole(kind, payload)?;
                    self.lend(message);
                    Lent::Assembled
                }
            },
            Some(Event::Assembled { message, .. }) => {
                self.lend(message);
                Lent::Assembled
            }
            _ => Lent::Nothing,
        }))
    }

    /// A plain message in the memory it was received in, so that it can be sent on without a copy; `None` for a short one,
    /// and where it would have to be copied now.
    #[inline]
    pub(crate) fn share(&mut self, plain: Plain) -> Option<Result<Message, Error>> {
        if plain.end() as usize <= COPY_BYTES_MAX {
            return None;
        }
        let payload = self.connection.try_take_bytes(plain.range())?;
        self.used = 0;
        Some(self.whole(plain.kind(), payload))
    }

    /// Keeps a message until the next read.
    pub(crate) fn lend(&mut self, message: Message) -> &Message {
        self.rare().assembled.insert(message)
    }

    /// The message that is kept until the next read.
    pub(crate) fn lent(&self) -> Option<&Message> {
        self.rare.as_ref()?.assembled.as_ref()
    }
}
