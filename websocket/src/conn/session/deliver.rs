//! Reading for an application that is called for what arrives, and borrows it during the call.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tidegate_engine::ByteSender;

use super::Session;
use super::cold_state::ColdState;
use crate::buffer_pool;
use crate::conn::context::ConnContext;
use crate::error::Error;
use crate::message::{MessageRef, OwnedMessage};
use crate::protocol::ShortFrame;
use crate::protocol::event::{ControlPayload, Event};
use crate::reserved_bits::ReservedBits;

/// What has arrived, borrowed from the session.
#[derive(Debug)]
pub(crate) enum Arrived<'a> {
    Message(MessageRef<'a>),
    /// A ping, which has been answered.
    Ping(&'a [u8]),
    Pong(&'a [u8]),
}

/// The parts of a session that are not read from, during a call for what has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) sender: &'a ByteSender,
    pub(crate) context: &'a ConnContext,
    /// Nothing of it is read unless the application asks.
    cold: &'a Option<Box<ColdState>>,
}

impl<'a> Around<'a> {
    #[inline]
    pub(super) fn new(sender: &'a ByteSender, context: &'a ConnContext, cold: &'a Option<Box<ColdState>>) -> Self {
        Self { sender, context, cold }
    }

    /// Returns the time between the last answered ping of the keepalive and its pong.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.cold.as_ref()?.keepalive.as_ref()?.rtt()
    }

    /// Returns the reserved bits of the last message that was read.
    pub(crate) fn reserved_bits(&self) -> ReservedBits {
        self.cold.as_ref().map_or(ReservedBits::NONE, |cold| cold.reserved_bits)
    }
}

impl Session {
    /// Calls `deliver` for the next message, ping or pong. `None` once the closing handshake is over or a final error
    /// has been reported.
    #[inline]
    pub(crate) fn poll_deliver<R>(
        &mut self,
        cx: &mut Context<'_>,
        deliver: impl FnOnce(Arrived<'_>, Around<'_>) -> R,
    ) -> Poll<Result<Option<R>, Error>> {
        let Some(frame) = ready!(self.poll_short_frame(cx)) else { return self.poll_deliver_event(cx, deliver) };
        match self.share_message(frame) {
            None => Poll::Ready(self.deliver_in_place(frame, deliver)),
            Some(message) => {
                let message = message?;
                Poll::Ready(Ok(Some(deliver(Arrived::Message(MessageRef::owned(&message)), self.around()))))
            }
        }
    }

    /// Delivers a message that lies in the buffer.
    #[inline]
    fn deliver_in_place<R>(
        &mut self,
        frame: ShortFrame,
        deliver: impl FnOnce(Arrived<'_>, Around<'_>) -> R,
    ) -> Result<Option<R>, Error> {
        let range = self.cursor.payload(frame);
        let (buffer, sender) = self.connection.buffer_and_sender();
        let Some(message) = MessageRef::of_kind(frame.kind(), &buffer[range]) else { return Err(self.refuse_text()) };
        let around = Around::new(sender, &self.context, &self.cold);
        Ok(Some(deliver(Arrived::Message(message), around)))
    }

    /// Delivers what [`poll_message`](Self::poll_message) finds.
    #[inline(never)]
    fn poll_deliver_event<R>(
        &mut self,
        cx: &mut Context<'_>,
        deliver: impl FnOnce(Arrived<'_>, Around<'_>) -> R,
    ) -> Poll<Result<Option<R>, Error>> {
        let message = match ready!(self.poll_message(cx))? {
            Some(Event::InPlace { kind, range, .. }) => match ShortFrame::of(kind, range.clone()) {
                Some(frame) => return Poll::Ready(self.deliver_in_place(frame, deliver)),
                None => {
                    let payload = buffer_pool::copy(&self.connection.buffer()[range]);
                    self.owned_message(kind, payload)?
                }
            },
            Some(Event::Assembled { message, .. }) => message,
            Some(Event::Ping(ControlPayload::Assembled(payload))) => {
                return Poll::Ready(Ok(Some(deliver(Arrived::Ping(&payload), self.around()))));
            }
            Some(Event::Pong(ControlPayload::Assembled(payload))) => {
                return Poll::Ready(Ok(Some(deliver(Arrived::Pong(&payload), self.around()))));
            }
            _ => return Poll::Ready(Ok(None)),
        };
        let message = OwnedMessage { message, frame: Bytes::new() };
        Poll::Ready(Ok(Some(deliver(Arrived::Message(MessageRef::owned(&message)), self.around()))))
    }

    /// Returns the parts that can be used while nothing is borrowed from the buffer.
    pub(crate) fn around(&self) -> Around<'_> {
        Around::new(self.connection.sender(), &self.context, &self.cold)
    }
}
