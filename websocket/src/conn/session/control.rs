//! Handles control frames (RFC 6455 section 5.5): with the application's handler if it has one, otherwise as the
//! protocol requires.

use bytes::Bytes;

use super::Session;
use crate::close::CloseFrame;
use crate::close::Transport;
use crate::error::Error;
use crate::limits::CONTROL_PAYLOAD_BYTES_MAX;
use crate::protocol::event::{ControlPayload, Event};

impl Session {
    /// Handles a control frame that lies in the buffer.
    ///
    /// # Errors
    /// Those of the application's handlers; the frame counts as handled all the same.
    pub(super) fn on_control(&mut self, event: Event) -> Result<(), Error> {
        let mut copy = [0; CONTROL_PAYLOAD_BYTES_MAX];
        match event {
            Event::Ping(payload) => {
                let payload = self.copy_payload(&payload, &mut copy);
                self.on_ping(payload)?;
            }
            Event::Pong(payload) => {
                let payload = self.copy_payload(&payload, &mut copy);
                self.on_pong(payload)?;
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

    /// Handles a control frame, and returns a ping or a pong with its payload in separate memory; `None` for a pong of
    /// the keepalive and for other control frames.
    pub(super) fn surface_control(&mut self, event: Event) -> Result<Option<Event>, Error> {
        match event {
            Event::Ping(payload) => {
                let payload = Bytes::copy_from_slice(payload.bytes(self.connection.buffer()));
                self.on_ping(&payload)?;
                Ok(Some(Event::Ping(ControlPayload::Assembled(payload))))
            }
            Event::Pong(payload) => {
                let payload = Bytes::copy_from_slice(payload.bytes(self.connection.buffer()));
                let is_unasked = self.on_pong(&payload)?;
                Ok(is_unasked.then_some(Event::Pong(ControlPayload::Assembled(payload))))
            }
            event => self.on_control(event).map(|()| None),
        }
    }

    fn on_ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        match self.context.control.ping.clone() {
            Some(handler) => handler(&self.sender(), payload),
            None => {
                self.answer_ping(payload);
                Ok(())
            }
        }
    }

    /// Returns false for a pong that answers the keepalive.
    fn on_pong(&mut self, payload: &[u8]) -> Result<bool, Error> {
        if self.take_pong(payload) {
            return Ok(false);
        }
        if let Some(handler) = self.context.control.pong.clone() {
            handler(&self.sender(), payload)?;
        }
        Ok(true)
    }

    fn copy_payload<'a>(&mut self, payload: &ControlPayload, copy: &'a mut [u8]) -> &'a [u8] {
        let payload = payload.bytes(self.connection.buffer());
        let copy = &mut copy[..payload.len()];
        copy.copy_from_slice(payload);
        copy
    }

    /// Echoes the peer's close frame, unless ours was sent before (RFC 6455 section 5.5.1), perhaps by the
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
        self.shut_down();
        if frame.is_some() {
            self.cold_mut().peer_close = frame;
        }
        handled
    }
}
