//! Sends with a deadline: messages, and control frames of any opcode.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Instant;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::sender::Sender;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::frame::Frame;
use crate::message::Message;
use crate::opcode::Opcode;
use crate::usage_error::UsageError;

impl Sender {
    /// Waits for space until `deadline` at the latest, then queues a message. If there is space it is queued even after
    /// the deadline. The deadline does not bound when the message leaves: see [`flush`](Self::flush) and
    /// [`set_write_deadline`](WebSocket::set_write_deadline).
    ///
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # use tidegate_websocket::{Error, Sender};
    /// # async fn example(sender: Sender) -> Result<(), Error> {
    /// match sender.send_with_deadline("news", Instant::now() + Duration::from_secs(1)).await {
    ///     Err(Error::SendDeadline) => sender.abort(),
    ///     sent => sent?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::SendDeadline`] if there is no space by then; nothing was queued. Otherwise as [`send`](Self::send).
    pub async fn send_with_deadline(&self, message: impl Into<Message>, deadline: Instant) -> Result<(), Error> {
        self.until(deadline, self.send(message)).await
    }

    /// Waits for space until `deadline` at the latest, then queues a control frame of any opcode from 0x8 to 0xF. A
    /// close frame does not wait and is the last frame of this side. The reserved opcodes are for extensions that the
    /// peer agreed to.
    ///
    /// # Errors
    /// [`UsageError::NotControl`], [`UsageError::ControlTooLong`], and for the payload of a close frame as
    /// [`CloseFrame::new`], or [`UsageError::CloseCodeCut`]; otherwise as
    /// [`send_with_deadline`](Self::send_with_deadline).
    pub async fn send_control(&self, opcode: Opcode, payload: &[u8], deadline: Instant) -> Result<(), Error> {
        let frame = Frame::control(opcode, payload)?;
        if opcode == Opcode::Close {
            return Ok(self.control_queue().queue_close(close_frame(payload)?.as_ref())?);
        }
        self.until(deadline, self.control_queue().send(&frame)).await
    }

    async fn until(&self, deadline: Instant, send: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let mut send = pin!(send);
        let mut sleep = self.bytes().timer().sleep_until(deadline);
        poll_fn(|cx| {
            if let Poll::Ready(sent) = send.as_mut().poll(cx) {
                return Poll::Ready(sent);
            }
            ready!(Pin::new(&mut sleep).poll(cx));
            Poll::Ready(Err(Error::SendDeadline))
        })
        .await
    }
}

/// Returns the close frame with this payload, if it can be sent (RFC 6455 section 5.5.1).
fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame>, UsageError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(UsageError::CloseCodeCut) };
    };
    let reason = std::str::from_utf8(reason).map_err(|_| UsageError::NotUtf8)?;
    CloseFrame::new(CloseCode::new(u16::from_be_bytes(*code)), reason).map(Some)
}

/// # Sending with a deadline
impl WebSocket {
    /// Waits for space until `deadline` at the latest, then queues a message, as [`Sender::send_with_deadline`] does.
    ///
    /// # Errors
    /// As [`Sender::send_with_deadline`].
    pub async fn send_with_deadline(&mut self, message: impl Into<Message>, deadline: Instant) -> Result<(), Error> {
        self.sender().send_with_deadline(message, deadline).await
    }

    /// Waits for space until `deadline` at the latest, then queues a control frame, as [`Sender::send_control`] does.
    ///
    /// # Errors
    /// As [`Sender::send_control`].
    pub async fn send_control(&mut self, opcode: Opcode, payload: &[u8], deadline: Instant) -> Result<(), Error> {
        self.sender().send_control(opcode, payload, deadline).await
    }
}
