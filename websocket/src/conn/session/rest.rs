//! Receiving the rest of a large frame straight into the memory of its message.

use std::task::{Context, Poll};

use tidegate_engine::{Gathering, ReceiveError};

use super::Session;
use crate::protocol::event::Progress;
use crate::protocol::{Protocol, REST_BYTES_MIN};
use crate::protocol_error::ProtocolError;

impl Session {
    /// Waits for bytes of a frame of which `rest_bytes` are missing. Those of a large one are received into the memory
    /// of its message, and [`take_rest`](Self::take_rest) then has them.
    #[inline(never)]
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>, rest_bytes: u64) -> Poll<Result<bool, ReceiveError>> {
        if self.connection.is_idle()
            && self.is_worth_filling(rest_bytes)
            && let Some((memory, room_bytes)) = self.protocol.rest_memory()
        {
            let message_bytes = memory.len() + room_bytes;
            // Without memory in the budget, the message goes on piece by piece and waits for it where it has to.
            if self.open_message().gathering.try_reserve(message_bytes) {
                return self.poll_rest_into(cx, room_bytes);
            }
        }
        self.connection.poll_fill(cx)
    }

    /// Returns whether the rest of the frame goes into its message: if it is large, or the last part of such a rest.
    fn is_worth_filling(&self, rest_bytes: u64) -> bool {
        let message = self.cold.as_ref().and_then(|cold| cold.message.as_ref());
        let has_filled = message.is_some_and(|message| message.has_filled);
        let message_bytes = rest_bytes.saturating_add(self.protocol.gathered_bytes() as u64);
        let is_large = rest_bytes >= REST_BYTES_MIN as u64 && message_bytes > Gathering::STEP_BYTES as u64;
        !self.is_memory_away() && (has_filled || is_large)
    }

    /// Returns whether the memory of the open message is away, to be received into.
    pub(super) fn is_memory_away(&self) -> bool {
        let message = self.cold.as_ref().and_then(|cold| cold.message.as_ref());
        message.is_some_and(|message| message.filling.is_away())
    }

    fn poll_rest_into(&mut self, cx: &mut Context<'_>, room_bytes: usize) -> Poll<Result<bool, ReceiveError>> {
        let Self { connection, protocol, cold, .. } = self;
        let message = cold.as_mut().and_then(|cold| cold.message.as_mut());
        match (message, protocol.rest_memory()) {
            (Some(message), Some((memory, _))) => {
                connection.poll_fill_into(cx, memory, &mut message.filling, room_bytes)
            }
            _ => connection.poll_fill(cx),
        }
    }

    /// Takes the bytes that were received into the memory of the open message, with their event.
    #[inline]
    pub(super) fn take_rest(&mut self) -> Option<Result<Progress, ProtocolError>> {
        let message = self.cold.as_mut()?.message.as_mut()?;
        let (memory, kept_bytes) = self.connection.take_filled(&mut message.filling)?;
        message.has_filled = true;
        // They are gathered only from now on.
        let received = put_back(&mut self.protocol, memory, kept_bytes);
        self.open_message();
        Some(received)
    }
}

fn put_back(protocol: &mut Protocol, memory: Vec<u8>, kept_bytes: usize) -> Result<Progress, ProtocolError> {
    let event = protocol.receive_rest(memory, kept_bytes)?;
    Ok(Progress { consumed: 0, event })
}
