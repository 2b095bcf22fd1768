//! The memory of a large message that is being gathered, and the rate at which it arrives.
//!
//! Messages up to [`Gathering::STEP_BYTES`] have none of this. A larger one asks before each further piece.

use std::task::{Context, Poll};

use tidegate_engine::{Connection, Filling, Gathering, GatheringError};

use super::Session;
use super::cold_state::ColdState;
use crate::close_code::CloseCode;
use crate::error::Error;

/// The memory of the open message.
#[derive(Debug)]
pub(crate) struct OpenMessage {
    pub(super) gathering: Gathering,
    /// What the connection had received at the last look.
    received: u32,
    /// Where the memory is, while the rest of a frame is received straight into it.
    pub(super) filling: Filling,
    /// The first part of the open frame's rest was received that way, and so is what is left.
    pub(super) fills_frame: bool,
}

impl OpenMessage {
    /// Returns the memory of the open message. What has arrived since the last look is noted.
    pub(super) fn of<'a>(cold: &'a mut Option<Box<ColdState>>, connection: &Connection) -> &'a mut OpenMessage {
        let received = connection.received_bytes_total();
        let message = cold.get_or_insert_default().message.get_or_insert_with(|| {
            let gathering = Gathering::new(connection);
            Box::new(OpenMessage { gathering, received, filling: Filling::new(), fills_frame: false })
        });
        message.gathering.note_received(received.wrapping_sub(message.received) as usize);
        message.received = received;
        message
    }
}

impl Session {
    /// Waits until more of the open message can be gathered.
    ///
    /// # Errors
    /// [`Error::GivenUp`], with the close frame sent and the message dropped.
    #[cold]
    pub(super) fn poll_memory(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let held = self.protocol.gathered_bytes();
        let message = OpenMessage::of(&mut self.cold, &self.connection);
        message.gathering.poll_reserve(cx, held).map_err(|error| self.give_up(error))
    }

    /// Ready when the open message has arrived too slowly. Polled while there is nothing to read.
    #[cold]
    pub(super) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(message) = self.cold.as_mut().and_then(|cold| cold.message.as_mut()) else { return Poll::Pending };
        message.gathering.poll_too_slow(cx).map(|error| self.give_up(error))
    }

    /// Returns the memory of a message that is complete or given up.
    #[cold]
    pub(super) fn end_gathering(&mut self) {
        if let Some(cold) = &mut self.cold
            && self.protocol.gathered_bytes() == 0
        {
            cold.message = None;
        }
    }

    /// Drops the open message and closes the connection.
    fn give_up(&mut self, error: GatheringError) -> Error {
        self.protocol.give_up();
        self.end_gathering();
        let (code, reason) = match error {
            GatheringError::MemorySpent => (CloseCode::TRY_AGAIN_LATER, "no memory for a large message"),
            _ => (CloseCode::POLICY_VIOLATION, "the message arrives too slowly"),
        };
        self.fail_closing(code, reason);
        Error::GivenUp(error)
    }
}
