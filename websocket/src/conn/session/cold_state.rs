//! State that an idle connection does not need.

use super::Session;
use super::gathering::OpenMessage;
use super::keepalive::Keepalive;
use crate::close::CloseFrame;
use crate::message::{Message, OwnedMessage};
use crate::reserved_bits::ReservedBits;

/// State that few connections need at a time, on the heap while it is needed.
#[derive(Debug, Default)]
pub(crate) struct ColdState {
    /// The borrowed message that does not lie in the buffer, until the next read.
    pub(crate) borrowed: Option<OwnedMessage>,
    /// The payload of a pong that waits for space.
    pub(super) pong: Option<Box<[u8]>>,
    pub(super) peer_close: Option<CloseFrame>,
    /// The reserved bits of the last message that was read.
    pub(super) reserved_bits: ReservedBits,
    pub(super) keepalive: Option<Keepalive>,
    /// The memory of the open message, if that is large.
    pub(super) message: Option<Box<OpenMessage>>,
    /// A message that a sink took before there was space for it.
    pub(crate) sink_message: Option<Message>,
}

impl ColdState {
    /// Returns whether the next short message can be delivered without a look at this. The keepalive needs no reader,
    /// and its pongs are no messages.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        let is_between = self.borrowed.is_none() && self.message.is_none() && self.sink_message.is_none();
        is_between && self.pong.is_none() && self.peer_close.is_none() && self.reserved_bits.is_empty()
    }
}

impl Session {
    pub(crate) fn cold_mut(&mut self) -> &mut ColdState {
        self.cold.get_or_insert_default()
    }

    /// Drops what lasts until the next read, and the whole state if nothing else is in it.
    pub(super) fn free_cold_state_if_idle(&mut self) {
        if let Some(cold) = &mut self.cold {
            cold.borrowed = None;
            cold.reserved_bits = ReservedBits::NONE;
            let is_idle = cold.pong.is_none() && cold.peer_close.is_none() && cold.sink_message.is_none();
            if is_idle && cold.keepalive.is_none() && cold.message.is_none() {
                self.cold = None;
            }
        }
    }

    /// Returns whether the next short frame can be read at once: no pong waits, the peer has not closed, no large
    /// message is open.
    pub(super) fn is_cold_state_idle(&mut self) -> bool {
        self.free_cold_state_if_idle();
        let Some(cold) = &self.cold else { return true };
        cold.pong.is_none() && cold.peer_close.is_none() && cold.message.is_none()
    }
}
