//! What a WebSocket is made of, and what reading it does.
//!
//! Feeds the sans-I/O [`Protocol`] from the connection's buffer, in place, and does what [`Closing`] says. Owned by a
//! [`WebSocket`](crate::WebSocket) while the handler has one, and by the task around the handler for the closing
//! handshake after it. Control frames are answered as they come, whichever read finds them.

mod control;
mod keepalive;
#[cfg(feature = "futures")]
mod outgoing;
mod pieces;

use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_engine::{CloseCause, Connection, ReceiveError, SendError};

use crate::close::closing_handshake::{Closing, Transport};
use crate::close::{CloseCode, CloseFrame};
use crate::config::WebSocketConfig;
use crate::conn::closed::Closed;
use crate::conn::compressor::Compression;
use crate::conn::context::{ConnContext, context_of};
use crate::conn::frame_queue::FrameQueue;
use crate::error::Error;
use crate::frame::{ReservedBits, Role};
use crate::message::{Kept, Message, MessageKind};
use crate::protocol::ShortFrame;
use crate::protocol::event::Event;
use crate::protocol::{Protocol, ProtocolConfig};
use crate::protocol_error::ProtocolError;
use crate::utf8::Text;

use keepalive::Keepalive;
pub(crate) use pieces::{MessagePiece, PiecePayload};

/// Payloads from this size on keep the memory they were received in, if they fill at least half of it; smaller ones
/// are copied, which costs less.
const TAKE_BYTES_MIN: usize = 2048;

/// Close 1001, unmasked: what the engine itself says to every WebSocket when a graceful shutdown begins.
const GOING_AWAY: &[u8] = &[0x88, 0x02, 0x03, 0xE9];

/// The least that a task has, on a busy thread, to give up a peer after the close timeout, before the engine does.
const GIVE_UP_TIME_MIN: Duration = Duration::from_secs(1);

/// What a [`WebSocket`] is made of; it outlives the handler for the closing handshake.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) protocol: Protocol,
    pub(crate) closing: Closing,
    idle_timeout_on: bool,
    /// Compression was agreed on.
    compresses: bool,
    /// A final error has been reported.
    over: bool,
    /// Bytes at the start of the connection's buffer that earlier messages have used: dropped together once it is read to
    /// its end, or anything but the next short message is looked for.
    pub(crate) begin: u32,
    /// Bytes behind those that the last event has used and the next read is done with.
    pub(crate) used: u32,
    config: Arc<WebSocketConfig>,
    /// What an idle connection does not have.
    pub(crate) rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The message last lent out that did not lie in the buffer.
    pub(crate) kept: Option<Kept>,
    /// The payload of a pong that waits for space.
    pong: Option<Box<[u8]>>,
    peer_close: Option<CloseFrame>,
    /// The reserved bits of the message that was read last.
    reserved_bits: ReservedBits,
    keepalive: Option<Box<Keepalive>>,
    /// A message that a sink took before there was space for it.
    outgoing: Option<Message>,
}

impl Session {
    pub(crate) fn new(connection: Connection, config: Arc<WebSocketConfig>) -> Self {
        connection.set_farewell(GOING_AWAY);
        connection.set_write_timeout(config.write_timeout);
        let mut protocol = ProtocolConfig::new(Role::Server);
        protocol.message_bytes_max = config.message_bytes_max;
        protocol.frames.message_bits = config.reserved_bits;
        protocol.frames.reserved_control = config.control.reserved.is_some();
        protocol.deflate = config.compression.as_ref().map(|compression| compression.params());
        let mut session = Self {
            connection,
            protocol: Protocol::new(protocol),
            closing: Closing::new(Role::Server),
            idle_timeout_on: config.idle_timeout.is_some(),
            compresses: config.compression.is_some(),
            over: false,
            begin: 0,
            used: 0,
            config,
            rare: None,
        };
        session.renew_idle_timeout();
        session.set_keepalive(session.config.keepalive);
        session
    }

    #[inline]
    fn renew_idle_timeout(&self) {
        if let (true, Some(timeout)) = (self.idle_timeout_on, self.config.idle_timeout) {
            self.connection.set_read_deadline_in(timeout);
        }
    }

    /// See [`WebSocket::set_idle_timeout`](crate::WebSocket::set_idle_timeout).
    pub(crate) fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.set_read_deadline(None);
        Arc::make_mut(&mut self.config).idle_timeout = timeout;
        self.idle_timeout_on = self.closing.transport() == Transport::Keep && timeout.is_some();
        self.renew_idle_timeout();
    }

    /// See [`WebSocket::set_read_deadline`](crate::WebSocket::set_read_deadline).
    pub(crate) fn set_read_deadline(&mut self, deadline: Option<Instant>) {
        self.notice_farewell();
        if self.closing.transport() == Transport::Keep {
            self.idle_timeout_on = false;
            self.connection.set_read_deadline(deadline);
        }
    }

    /// Drops the bytes of the last event: to be called once nothing of them is borrowed.
    pub(crate) fn release(&mut self) {
        let done = std::mem::take(&mut self.begin) + std::mem::take(&mut self.used);
        if done > 0 {
            self.connection.consume(done as usize);
        }
    }

    /// The next whole message, owned, as [`poll_message`](Self::poll_message) reports it. Short messages that lie in the
    /// buffer, nearly all, are read without an event.
    #[inline]
    pub(crate) fn poll_owned(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        match self.poll_plain(cx) {
            Poll::Ready(Some(plain)) => Poll::Ready(self.own(plain).map(Some)),
            Poll::Ready(None) => self.poll_other(cx),
            Poll::Pending => Poll::Pending,
        }
    }

    /// A short whole message that begins the buffer, left there until [`release`](Self::release). `None` when
    /// [`poll_message`](Self::poll_message) has to look.
    #[inline]
    pub(crate) fn poll_plain(&mut self, cx: &mut Context<'_>) -> Poll<Option<ShortFrame>> {
        if self.rare.is_some() && !self.settle_for_plain(cx) {
            return Poll::Ready(None);
        }
        if self.over {
            return Poll::Ready(None);
        }
        self.begin += std::mem::take(&mut self.used);
        if self.begin as usize == self.connection.buffer().len() && !self.protocol.is_ended() {
            self.release();
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                // Both are said again when they are asked for again.
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => {
                    self.notice_farewell();
                    return Poll::Pending;
                }
            }
        }
        let input = &mut self.connection.buffer()[self.begin as usize..];
        let plain = self.protocol.try_short_frame(input);
        match plain {
            Some(plain) => {
                self.used = plain.end();
                self.renew_idle_timeout();
            }
            None => self.release(),
        }
        Poll::Ready(plain)
    }

    /// The payload of a plain message, which the next read drops.
    #[inline]
    pub(crate) fn payload(&mut self, plain: ShortFrame) -> &[u8] {
        &self.connection.buffer()[self.begin as usize..][plain.range()]
    }

    /// Where in the connection's buffer the payload lies.
    pub(crate) fn placed(&self, plain: ShortFrame) -> Range<usize> {
        let (begin, range) = (self.begin as usize, plain.range());
        begin + range.start..begin + range.end
    }

    #[inline]
    fn own(&mut self, plain: ShortFrame) -> Result<Message, Error> {
        let payload = self.payload(plain);
        if payload.len() >= TAKE_BYTES_MIN {
            return self.take(plain);
        }
        let message = match plain.kind() {
            MessageKind::Binary => Message::from(payload),
            MessageKind::Text => match Text::copy_from_utf8(payload) {
                Ok(text) => Message::Text(text),
                Err(_) => return Err(self.refuse_text()),
            },
        };
        if (self.begin + self.used) as usize == self.connection.buffer().len() {
            // An owned message pins no receive buffer.
            self.release();
        }
        Ok(message)
    }

    /// The same for a payload that is worth more than what taking its memory over costs.
    fn take(&mut self, plain: ShortFrame) -> Result<Message, Error> {
        let range = self.placed(plain);
        (self.begin, self.used) = (0, 0);
        let payload = self.connection.take_bytes(range);
        self.whole(plain.kind(), payload)
    }

    pub(crate) fn whole(&mut self, kind: MessageKind, payload: Bytes) -> Result<Message, Error> {
        match kind {
            MessageKind::Binary => Ok(Message::Binary(payload)),
            MessageKind::Text => match Text::from_utf8(payload) {
                Ok(text) => Ok(Message::Text(text)),
                Err(_) => Err(self.refuse_text()),
            },
        }
    }

    /// The peer sent text that is none: tells it.
    #[cold]
    pub(crate) fn refuse_text(&mut self) -> Error {
        let error = self.protocol.refuse_text();
        self.fail(error)
    }

    fn poll_other(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        let Some(event) = ready!(self.poll_message(cx))? else { return Poll::Ready(Ok(None)) };
        let message = event.into_message(self.connection.buffer()).map_err(Error::from);
        self.release();
        Poll::Ready(message)
    }

    /// The next whole message; `None` once the closing handshake is over, or a final error has been reported. What is
    /// left of a message whose first pieces were handed out is dropped.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        loop {
            match ready!(self.poll_event(cx)) {
                Ok(Some(Event::Piece { .. } | Event::Inflated { .. })) => {}
                event => return Poll::Ready(event),
            }
        }
    }

    /// The next message or piece of one.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        if self.rare.is_some() {
            self.settle();
        }
        self.release();
        loop {
            if self.rare.is_some() && self.poll_pong(cx).is_pending() {
                return Poll::Pending;
            }
            if self.over || self.protocol.is_ended() {
                return Poll::Ready(Ok(None));
            }
            match self.connection.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(self.lose())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.fail_receiving(error))),
                Poll::Pending => {
                    self.notice_farewell();
                    return self.poll_keepalive(cx).map(Err);
                }
            }
            match self.step()? {
                // More of a big message is there: others first.
                Some(Event::Inflating) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(event) => return Poll::Ready(Ok(Some(event))),
                None => {}
            }
        }
    }

    /// Receives from the buffer up to the next event; messages are the caller's, the rest is done here.
    #[inline]
    fn step(&mut self) -> Result<Option<Event>, Error> {
        let progress = match self.protocol.receive(self.connection.buffer()) {
            Ok(progress) => progress,
            Err(error) => return Err(self.fail(error)),
        };
        match progress.event {
            Some(
                event
                @ (Event::InPlace { .. } | Event::Assembled { .. } | Event::Piece { .. } | Event::Inflated { .. }),
            ) => {
                self.used = progress.consumed as u32;
                self.renew_idle_timeout();
                self.note_reserved_bits(&event);
                Ok(Some(event))
            }
            Some(Event::Inflating) => {
                self.connection.consume(progress.consumed);
                Ok(Some(Event::Inflating))
            }
            event => {
                let handled = event.map_or(Ok(()), |event| self.on_control(event));
                self.renew_idle_timeout();
                self.connection.consume(progress.consumed);
                handled.map(|()| None)
            }
        }
    }

    pub(crate) fn frame_queue(&self) -> FrameQueue<'_> {
        FrameQueue(self.connection.sender())
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes back the message that was lent out, and frees what an idle connection does not need.
    fn settle(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.kept = None;
            rare.reserved_bits = ReservedBits::NONE;
            let done = rare.pong.is_none() && rare.peer_close.is_none() && rare.outgoing.is_none();
            if done && rare.keepalive.is_none() {
                self.rare = None;
            }
        }
    }

    pub(crate) fn config(&self) -> &WebSocketConfig {
        &self.config
    }

    /// The compressor of what is sent, if that was agreed on.
    #[inline]
    pub(crate) fn compression(&self) -> Option<&Compression> {
        if self.compresses { self.config.compression.as_deref() } else { None }
    }

    pub(crate) fn shared_compression(&self) -> Option<Arc<Compression>> {
        self.config.compression.clone()
    }

    /// What most connections have none of.
    pub(crate) fn context(&self) -> Option<&ConnContext> {
        self.config.context.as_deref()
    }

    pub(crate) fn extras_mut(&mut self) -> &ConnContext {
        context_of(&mut self.config)
    }

    pub(crate) fn closed(&mut self) -> Closed {
        context_of(&mut self.config).closed.closed(self.connection.sender())
    }

    pub(crate) fn peer_close(&self) -> Option<&CloseFrame> {
        self.rare.as_ref()?.peer_close.as_ref()
    }

    fn send_close(&mut self, frame: Option<&CloseFrame>) {
        let before = self.closing;
        if self.closing.send_close().is_ok()
            && let Err(SendError::Closed(cause)) = self.frame_queue().queue_close(frame)
        {
            // Any other answer means that one is queued: by this call, or by a sender that was first.
            log::trace!("no close frame was sent: {cause}");
            self.closing = before;
            self.closing.lose();
        }
    }

    /// The engine, or a sender elsewhere, may have queued a close frame of ours, or sending may have failed.
    fn notice_farewell(&mut self) {
        if self.closing.transport() != Transport::Keep || !self.connection.sender().is_finished() {
            return;
        }
        match self.connection.sender().check_open() {
            Ok(()) => return,
            Err(SendError::Closed(_)) => self.closing.lose(),
            Err(_) => {
                let _ = self.closing.send_close();
            }
        }
        self.await_close();
    }

    /// From now on reading ends with the close timeout.
    fn await_close(&mut self) {
        self.idle_timeout_on = false;
        let timeout = self.config.close_timeout;
        self.connection.set_read_deadline_in(timeout);
        // A peer that never stops sending keeps the read timeout from being looked at: this one needs no reader.
        // It resets, so whoever can give up in order has time to do so before.
        let all = timeout.saturating_add(timeout.max(GIVE_UP_TIME_MIN));
        self.connection.set_lifetime_deadline(Instant::now().checked_add(all));
    }

    /// The peer broke a rule: tells it which kind.
    fn fail(&mut self, error: ProtocolError) -> Error {
        self.closing.fail();
        if self.closing.transport() == Transport::SendClose {
            let frame = CloseFrame::new(error.close_code(), "").ok();
            self.send_close(frame.as_ref());
        }
        Error::Protocol(error)
    }

    fn lose(&mut self) -> Error {
        self.over = true;
        self.closing.lose();
        if let Some(context) = self.context() {
            context.closed.end();
        }
        Error::Lost
    }

    fn fail_receiving(&mut self, error: ReceiveError) -> Error {
        match error {
            ReceiveError::Deadline if self.idle_timeout_on => {
                self.idle_timeout_on = false;
                let frame = CloseFrame::new(CloseCode::GOING_AWAY, "idle").ok();
                self.send_close(frame.as_ref());
                self.await_close();
                Error::Idle
            }
            ReceiveError::Deadline if self.closing.transport() == Transport::Keep => Error::ReadDeadline,
            // Our close frame was not answered in time, or could not be sent.
            ReceiveError::Deadline => self.lose(),
            // It went on sending, so that the read deadline was never looked at.
            ReceiveError::Closed(CloseCause::LifetimeDeadline) if self.closing.transport() != Transport::Keep => {
                self.lose()
            }
            error => {
                self.lose();
                Error::from(error)
            }
        }
    }

    /// Sends a close frame, unless one was sent, and waits for the peer's.
    pub(crate) async fn close(&mut self, frame: Option<&CloseFrame>) -> Result<(), Error> {
        self.notice_farewell();
        if self.closing.transport() == Transport::Keep {
            self.send_close(frame);
        }
        // (Lost: our close frame could not be sent; reading tells why, unless it has.)
        if !matches!(self.closing.transport(), Transport::AwaitClose | Transport::Close) {
            return Ok(());
        }
        self.await_close();
        // Bounded by the read deadline; what the peer still sends is read, so that nothing resets the connection.
        while poll_fn(|cx| self.poll_message(cx)).await?.is_some() {}
        Ok(())
    }

    /// Closes without waiting: for those who have no one to wait.
    pub(crate) fn close_and_forget(mut self, code: CloseCode) {
        self.notice_farewell();
        if self.closing.transport() == Transport::Keep {
            self.send_close(CloseFrame::new(code, "").ok().as_ref());
        }
    }
}

impl Drop for Session {
    /// What was accepted still leaves, in the time that closing connections have: no longer in that of a peer that was
    /// waited for.
    fn drop(&mut self) {
        if self.closing.transport() != Transport::Keep {
            self.connection.set_lifetime_deadline(None);
        }
    }
}
