//! Reads the next message, or piece of one, and handles the control frames before it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::Gathering;

use super::Session;
use super::read_state::ReadState;
use crate::error::Error;
use crate::message::{Message, MessageKind};
use crate::protocol::ShortFrame;
use crate::protocol::event::Event;
use crate::utf8::Text;

impl Session {
    /// Fast path: finds the next message if it is short and lies whole in the buffer, where it stays until
    /// [`release`](Self::release). `None` when [`poll_message`](Self::poll_message) has to look.
    #[inline]
    pub(crate) fn poll_short_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<ShortFrame>> {
        if self.cold.is_some() && !self.is_cold_state_idle() {
            return Poll::Ready(None);
        }
        if self.read_state == ReadState::Over {
            return Poll::Ready(None);
        }
        self.cursor.advance();
        if self.cursor.begin() == self.connection.buffer().len() && !self.protocol.is_ended() {
            self.release();
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                // The end and an error are reported again when the slow path asks again.
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending if self.notice_farewell() => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let input = &mut self.connection.buffer()[self.cursor.begin()..];
        let frame = self.protocol.try_short_frame(input);
        match frame {
            Some(frame) => {
                self.cursor.set_len(frame.end());
                self.renew_idle_timeout();
            }
            None => self.release(),
        }
        Poll::Ready(frame)
    }

    /// Borrows the payload of the current message, until the next read.
    #[inline]
    pub(crate) fn payload(&mut self, frame: ShortFrame) -> &[u8] {
        &self.connection.buffer()[self.cursor.begin()..][frame.range()]
    }

    /// Consumes the bytes of the current message and of those before it. Nothing of them can be borrowed any more.
    pub(crate) fn release(&mut self) {
        let done = self.cursor.rewind();
        if done > 0 {
            self.connection.consume(done);
        }
    }

    /// Reads the next whole message; `None` once the closing handshake is over or a final error has been reported.
    /// Drops the rest of a message whose first pieces were handed out.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            match ready!(self.poll_event(cx)) {
                Ok(Some(Event::Piece { .. } | Event::Inflated { .. })) => {}
                event => return Poll::Ready(event),
            }
        }
    }

    /// Reads the next message or piece of one.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        if self.cold.is_some() {
            self.free_cold_state_if_idle();
        }
        self.release();
        loop {
            if self.cold.is_some() && self.poll_pong(cx).is_pending() {
                return Poll::Pending;
            }
            if self.read_state == ReadState::Over || self.protocol.is_ended() {
                return Poll::Ready(Ok(None));
            }
            let filled = match self.protocol.rest_bytes() {
                0 => self.connection.poll_fill(cx),
                rest_bytes => self.poll_rest(cx, rest_bytes),
            };
            match filled {
                Poll::Ready(Ok(true)) if self.protocol.gathered_bytes() >= Gathering::STEP_BYTES => {
                    ready!(self.poll_memory(cx))?;
                }
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(_) if self.is_silent() => return Poll::Ready(Err(self.lose_silent())),
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(self.lose())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail_receiving(error))),
                Poll::Pending if self.notice_farewell() => return Poll::Ready(Err(self.lose_silent())),
                Poll::Pending if self.cold.is_some() => return self.poll_too_slow(cx).map(Err),
                Poll::Pending => return Poll::Pending,
            }
            match self.step()? {
                // There is more of a big message: other connections first.
                Some(Event::Inflating) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(event) => return Poll::Ready(Ok(Some(event))),
                None => {}
            }
        }
    }

    /// Receives from the buffer up to the next event. Returns messages and handles the rest.
    #[inline]
    fn step(&mut self) -> Result<Option<Event>, Error> {
        let received = match self.take_rest() {
            Some(received) => received,
            None => self.protocol.receive(self.connection.buffer()),
        };
        let progress = match received {
            Ok(progress) => progress,
            Err(error) => return Err(self.fail(error)),
        };
        match progress.event {
            Some(
                event
                @ (Event::InPlace { .. } | Event::Assembled { .. } | Event::Piece { .. } | Event::Inflated { .. }),
            ) => {
                self.cursor.set_len(progress.consumed as u32);
                self.renew_idle_timeout();
                if self.cold.is_some() {
                    self.end_gathering();
                }
                self.note_reserved_bits(&event);
                Ok(Some(event))
            }
            Some(Event::Inflating) => {
                self.connection.consume(progress.consumed);
                Ok(Some(Event::Inflating))
            }
            Some(event @ (Event::Ping(_) | Event::Pong(_))) if self.surfaces_control => {
                let surfaced = self.surface_control(event);
                self.renew_idle_timeout();
                self.connection.consume(progress.consumed);
                surfaced
            }
            event => {
                let handled = event.map_or(Ok(()), |event| self.on_control(event));
                self.renew_idle_timeout();
                self.connection.consume(progress.consumed);
                handled.map(|()| None)
            }
        }
    }

    /// Remembers the reserved bits of a message until the next read.
    #[inline]
    fn note_reserved_bits(&mut self, event: &Event) {
        let (Event::InPlace { reserved_bits, .. }
        | Event::Assembled { reserved_bits, .. }
        | Event::Piece { reserved_bits, .. }
        | Event::Inflated { reserved_bits, .. }) = event
        else {
            return;
        };
        if !reserved_bits.is_empty() {
            self.cold_mut().reserved_bits = *reserved_bits;
        }
    }

    /// Returns a message of a payload in separate memory. Text is checked.
    pub(crate) fn owned_message(&mut self, kind: MessageKind, payload: Bytes) -> Result<Message, Error> {
        match kind {
            MessageKind::Binary => Ok(Message::Binary(payload)),
            MessageKind::Text => match Text::from_utf8(payload) {
                Ok(text) => Ok(Message::Text(text)),
                Err(_) => Err(self.refuse_text()),
            },
        }
    }

    /// Closes with 1007: the peer sent invalid UTF-8.
    #[cold]
    pub(crate) fn refuse_text(&mut self) -> Error {
        let error = self.protocol.refuse_text();
        self.fail(error)
    }
}
