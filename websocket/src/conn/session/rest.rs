//! Receiving the rest of a large frame straight into the memory of its message.

use std::task::{Context, Poll};

use tidegate_engine::{Gathering, ReceiveError};

use super::Session;
use super::gathering::OpenMessage;
use crate::protocol::REST_BYTES_MIN;
use crate::protocol::event::Progress;
use crate::protocol_error::ProtocolError;

impl Session {
    /// Waits for bytes of a frame of which `rest_bytes` are missing. Those of a large one are received into the memory
    /// of its message, and [`take_rest`](Self::take_rest) then has them.
    #[inline(never)]
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>, rest_bytes: u64) -> Poll<Result<bool, ReceiveError>> {
        let fills = self.connection.is_idle() && self.is_worth_filling(rest_bytes);
        let Self { connection, protocol, cold, .. } = self;
        if fills && let Some((memory, room_bytes)) = protocol.rest_memory() {
            let message = OpenMessage::of(cold, connection);
            // Without memory in the budget, the message goes on piece by piece and waits for it where it has to.
            if message.gathering.try_reserve(memory.len() + room_bytes) {
                return connection.poll_fill_into(cx, memory, &mut message.filling, room_bytes);
            }
        }
        connection.poll_fill(cx)
    }

    /// Returns whether the rest of the frame goes into its message: if it is large, or the last part of such a rest.
    fn is_worth_filling(&self, rest_bytes: u64) -> bool {
        let message = self.cold.as_ref().and_then(|cold| cold.message.as_ref());
        let fills_frame = message.is_some_and(|message| message.fills_frame);
        let message_bytes = rest_bytes.saturating_add(self.protocol.gathered_bytes() as u64);
        let is_large = rest_bytes >= REST_BYTES_MIN as u64 && message_bytes > Gathering::STEP_BYTES as u64;
        !self.is_memory_away() && (fills_frame || is_large)
    }

    /// Returns whether the memory of the open message is away, to be received into.
    pub(super) fn is_memory_away(&self) -> bool {
        let message = self.cold.as_ref().and_then(|cold| cold.message.as_ref());
        message.is_some_and(|message| message.filling.is_away())
    }

    /// Takes the bytes that were received into the memory of the open message, with their event.
    #[inline]
    pub(super) fn take_rest(&mut self) -> Option<Result<Progress, ProtocolError>> {
        let message = self.cold.as_mut()?.message.as_mut()?;
        let (memory, kept_bytes) = self.connection.take_filled(&mut message.filling)?;
        let received = self.protocol.receive_rest(memory, kept_bytes);
        // Notes that they have arrived: `poll_memory` was not asked, as the message seemed empty without its memory.
        OpenMessage::of(&mut self.cold, &self.connection).fills_frame = self.protocol.rest_bytes() > 0;
        Some(received.map(|event| Progress { consumed: 0, event }))
    }
}
