//! What is done with control frames as they come (RFC 6455 section 5.5).

use std::sync::Arc;
use std::task::{Context, Poll};

use tidegate_engine::SendError;

use super::Session;
use crate::close::CloseFrame;
use crate::close::Transport;
use crate::conn::frame_queue::FrameQueue;
use crate::conn::sender::Sender;
use crate::error::Error;
use crate::frame::Frame;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use crate::opcode::ReservedBits;
use crate::protocol::event::{ControlPayload, Event};

impl Session {
    /// Does what is to be done with a control frame that lies in the buffer.
    ///
    /// # Errors
    /// Those of the application's handlers; the frame is done with all the same.
    pub(super) fn on_control(&mut self, event: Event) -> Result<(), Error> {
        let mut copy = [0; CONTROL_PAYLOAD_BYTES_MAX];
        match event {
            Event::Ping(payload) => {
                let payload = self.copy_payload(&payload, &mut copy);
                match self.context.control.ping.clone() {
                    Some(handler) => handler(&self.sender(), payload)?,
                    None => self.answer_ping(payload),
                }
            }
            Event::Pong(payload) => {
                let payload = self.copy_payload(&payload, &mut copy);
                if !self.take_pong(payload)
                    && let Some(handler) = self.context.control.pong.clone()
                {
                    handler(&self.sender(), payload)?;
                }
            }
            Event::ReservedControl { opcode, payload, .. } => {
                let payload = self.copy_payload(&payload, &mut copy);
                if let Some(handler) = self.context.control.reserved.clone() {
                    handler(&self.sender(), opcode, payload)?;
                }
            }
            Event::Close(frame) => self.on_close(frame)?,
            _ => {}
        }
        Ok(())
    }

    fn copy_payload<'a>(&mut self, payload: &ControlPayload, copy: &'a mut [u8]) -> &'a [u8] {
        let payload = payload.bytes(self.connection.buffer());
        let copy = &mut copy[..payload.len()];
        copy.copy_from_slice(payload);
        copy
    }

    fn sender(&self) -> Sender {
        Sender::new(self.connection.sender().clone(), self.shared_compression())
    }

    /// Answers a ping, or keeps the answer until there is space.
    fn answer_ping(&mut self, payload: &[u8]) {
        if let Ok(frame) = Frame::pong(payload)
            && self.frame_queue().try_queue_control(&frame) == Err(SendError::Full)
        {
            self.rare().pong = Some(payload.into());
        }
    }

    /// Queues the pong that waits for space: a peer that pings and never reads must not fill memory with pongs. Nothing
    /// is received meanwhile; the write timeout ends the wait.
    pub(super) fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let frame_queue = FrameQueue(self.connection.sender());
        let Some(pong) = self.rare.as_deref_mut().and_then(|rare| rare.pong.as_deref()) else { return Poll::Ready(()) };
        while let Ok(frame) = Frame::pong(pong) {
            match frame_queue.try_queue_control(&frame) {
                Err(SendError::Full) => match frame_queue.poll_ready_control(cx) {
                    Poll::Pending => return Poll::Pending,
                    // There is space again.
                    Poll::Ready(_) => {}
                },
                // After our close frame no pong is due, and a failed connection reports itself when it is read.
                _ => break,
            }
        }
        self.rare().pong = None;
        self.settle();
        Poll::Ready(())
    }

    /// The peer's close frame came: echoes it, unless ours was sent before (RFC 6455 section 5.5.1), perhaps by the
    /// application's handler.
    fn on_close(&mut self, frame: Option<CloseFrame>) -> Result<(), Error> {
        self.notice_farewell();
        self.closing.receive_close();
        if let Some(attachments) = self.attachments() {
            attachments.note_close(frame.as_ref());
        }
        let handled = match self.context.control.close.clone() {
            Some(handler) => handler(&self.sender(), frame.as_ref()),
            None => Ok(()),
        };
        if self.closing.transport() == Transport::SendClose {
            self.send_close(frame.as_ref());
        }
        if frame.is_some() {
            self.rare().peer_close = frame;
        }
        handled
    }

    /// Remembers the reserved bits of a message until the next read.
    #[inline]
    pub(super) fn note_reserved_bits(&mut self, event: &Event) {
        let (Event::InPlace { reserved_bits, .. }
        | Event::Assembled { reserved_bits, .. }
        | Event::Piece { reserved_bits, .. }) = event
        else {
            return;
        };
        if !reserved_bits.is_empty() {
            self.rare().reserved_bits = *reserved_bits;
        }
    }

    pub(crate) fn reserved_bits(&self) -> ReservedBits {
        self.rare.as_ref().map_or(ReservedBits::NONE, |rare| rare.reserved_bits)
    }

    /// This connection's own handlers of control frames.
    pub(crate) fn control_mut(&mut self) -> &mut crate::conn::control_handlers::ControlHandlers {
        &mut Arc::make_mut(&mut self.context).control
    }
}
