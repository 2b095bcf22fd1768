//! The closing handshake of a session, and the failures that end it (RFC 6455 sections 5.5.1 and 7.1).
//!
//! [`Closing`](crate::close::Closing) decides what can be sent and what happens to the TCP connection; this file
//! tells it what happened and does what it says.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidegate_engine::{CloseCause, ReceiveError, SendError};

use super::Session;
use super::read_state::ReadState;
use crate::close::{CloseFrame, Transport};
use crate::close_code::CloseCode;
use crate::error::Error;
use crate::protocol_error::ProtocolError;

/// Minimum time, after the close timeout, in which a task on a busy thread can give up a peer before the engine resets
/// the connection.
const GIVE_UP_TIME_MIN: Duration = Duration::from_secs(1);

impl Session {
    /// Sends our close frame.
    pub(super) fn send_close(&mut self, frame: Option<&CloseFrame>) {
        let before = self.closing;
        if self.closing.send_close().is_ok()
            && let Err(SendError::Closed(cause)) = self.control_queue().queue_close(frame)
        {
            // Any other answer means that a close frame is queued, by this call or by a sender that was first.
            log::trace!("no close frame was sent: {cause}");
            self.closing = before;
            self.closing.lose();
        }
    }

    /// Notices that the engine or another sender has queued our close frame, or that sending has failed. Returns true
    /// if it was the keepalive, and leaves the state to [`lose_silent`](Self::lose_silent).
    pub(super) fn notice_farewell(&mut self) -> bool {
        if self.closing.transport() != Transport::Keep || !self.connection.sender().is_finished() {
            return false;
        }
        if self.is_silent() {
            return true;
        }
        match self.connection.sender().check_open() {
            Ok(()) => return false,
            Err(SendError::Closed(_)) => self.closing.lose(),
            Err(_) => {
                let _ = self.closing.send_close();
            }
        }
        self.await_close();
        false
    }

    /// Limits reading to the close timeout.
    fn await_close(&mut self) {
        self.read_state.await_close();
        if self.context.config.idle_timeout.is_some() {
            self.connection.set_idle_timeout(None);
        }
        let timeout = self.context.config.close_timeout;
        self.connection.set_read_deadline_in(timeout);
        // A peer that never stops sending keeps the read timeout from being checked, so this deadline needs no reader.
        // It resets the connection, so it leaves a task time to give up in order first.
        let all = timeout.saturating_add(timeout.max(GIVE_UP_TIME_MIN));
        self.connection.set_lifetime_deadline(self.connection.timer().now().checked_add(all));
    }

    /// Fails the connection (RFC 6455 section 7.1.7): the peer broke a rule.
    pub(super) fn fail(&mut self, error: ProtocolError) -> Error {
        self.end_gathering();
        self.fail_closing(error.close_code(), "");
        self.end_closed();
        Error::Protocol(error)
    }

    /// Sends a close frame, unless one was sent, and does not wait for the peer's.
    pub(super) fn fail_closing(&mut self, code: CloseCode, reason: &str) {
        self.closing.fail();
        if self.closing.transport() == Transport::SendClose {
            self.send_close(CloseFrame::new(code, reason).ok().as_ref());
        }
        self.shut_down();
    }

    /// Ends the sending side if nothing is left to send or to wait for: the handler can hold the WebSocket for as long
    /// as it likes, and the peer waits for the end.
    pub(super) fn shut_down(&self) {
        if let Transport::Shutdown | Transport::Close = self.closing.transport() {
            self.connection.sender().shutdown_write();
        }
    }

    pub(super) fn lose(&mut self) -> Error {
        self.read_state = ReadState::Over;
        self.closing.lose();
        self.shut_down();
        self.end_closed();
        Error::Lost
    }

    /// Completes the [`Closed`](crate::Closed) futures.
    fn end_closed(&self) {
        if let Some(attachments) = self.attachments() {
            attachments.closed.end();
        }
    }

    pub(super) fn fail_receiving(&mut self, error: ReceiveError) -> Error {
        match error {
            ReceiveError::Deadline if self.read_state == ReadState::IdleTimeout => {
                let frame = CloseFrame::new(CloseCode::GOING_AWAY, "idle").ok();
                self.send_close(frame.as_ref());
                self.await_close();
                Error::Idle
            }
            ReceiveError::Deadline if self.closing.transport() == Transport::Keep => Error::ReadDeadline,
            // Our close frame was not answered in time, or could not be sent.
            ReceiveError::Deadline => self.lose(),
            // The peer went on sending, so the read deadline was never looked at.
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
        // (Lost: our close frame could not be sent; a read reports why, unless one has.)
        if !poll_fn(|cx| self.poll_begin_close(cx, frame)).await? {
            return Ok(());
        }
        // Bounded by the read deadline. The peer's remaining input is read, because unread input would cause a reset.
        let mut refused = None;
        loop {
            match poll_fn(|cx| self.poll_message(cx)).await {
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.await_end().await;
                    return refused.map_or(Ok(()), Err);
                }
                // An error of a control handler leaves the connection as it was. The first one is returned at the end.
                Err(error) if self.read_state != ReadState::Over && !self.protocol.is_ended() => {
                    refused = refused.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a close frame, unless one was sent. Returns whether the peer's is to be read.
    pub(crate) fn poll_begin_close(
        &mut self,
        cx: &mut Context<'_>,
        frame: Option<&CloseFrame>,
    ) -> Poll<Result<bool, Error>> {
        if self.notice_farewell() {
            return Poll::Ready(Err(self.lose_silent()));
        }
        if self.closing.transport() == Transport::Keep {
            // What the handler has published to itself comes before the close frame.
            ready!(self.connection.sender().poll_published(cx));
            self.send_close(frame);
        }
        let awaits = matches!(self.closing.transport(), Transport::AwaitClose | Transport::Close);
        if awaits {
            self.await_close();
        }
        Poll::Ready(Ok(awaits))
    }

    /// Returns whether nothing more will be read.
    pub(crate) fn is_over(&self) -> bool {
        self.read_state == ReadState::Over || self.protocol.is_ended()
    }

    /// As a client, waits for the server's end of stream, within the close timeout, because the server closes the TCP
    /// connection first (RFC 6455 section 7.1.1). Then ends our side.
    async fn await_end(&mut self) {
        if self.closing.transport() != Transport::AwaitEnd {
            return;
        }
        while let Ok(true) = poll_fn(|cx| self.connection.poll_fill(cx)).await {
            let len = self.connection.buffer().len();
            self.connection.consume(len);
        }
        self.connection.sender().shutdown_write();
    }

    /// Gives the closing handshake up: what is queued is sent, then FIN.
    pub(crate) fn quit(&mut self) {
        self.closing.lose();
        self.end_closed();
    }

    /// Sends the close frame of a session that ends without waiting for the peer's.
    pub(crate) fn close_at_end(&mut self, code: CloseCode) {
        self.notice_farewell();
        if self.closing.transport() == Transport::Keep {
            self.send_close(CloseFrame::new(code, "").ok().as_ref());
        }
    }

    /// Lets queued bytes leave in the time of a closing connection, rather than in the time of a peer that is waited
    /// for. Frees the compressor, which senders can outlive. To be called before the session is dropped.
    pub(crate) fn end(&mut self) {
        if self.closing.transport() != Transport::Keep {
            self.connection.set_lifetime_deadline(None);
        }
        if let Some(compression) = self.compression() {
            compression.end();
        }
    }
}
