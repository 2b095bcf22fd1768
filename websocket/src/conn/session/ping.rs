//! Answering the peer's pings (RFC 6455 section 5.5.3).

use std::task::{Context, Poll};

use tidegate_engine::SendError;

use super::Session;
use crate::conn::frame_queue::ControlQueue;
use crate::frame::Frame;

impl Session {
    /// Answers a ping, or keeps the answer until there is space.
    pub(super) fn answer_ping(&mut self, payload: &[u8]) {
        if let Ok(frame) = Frame::pong(payload)
            && self.control_queue().try_queue(&frame) == Err(SendError::Full)
        {
            self.cold_mut().pong = Some(payload.into());
        }
    }

    /// Queues the pong that waits for space. Nothing is received meanwhile, so a peer that pings and never reads cannot
    /// fill memory with pongs; the write timeout ends the wait.
    pub(super) fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let queue = ControlQueue::new(self.connection.sender(), self.closing.role());
        let Some(pong) = self.cold.as_deref_mut().and_then(|cold| cold.pong.as_deref()) else { return Poll::Ready(()) };
        while let Ok(frame) = Frame::pong(pong) {
            match queue.try_queue(&frame) {
                Err(SendError::Full) => match queue.poll_ready(cx) {
                    Poll::Pending => return Poll::Pending,
                    // There is space again.
                    Poll::Ready(_) => {}
                },
                // After our close frame no pong is due, and a failed connection reports itself when it is read.
                _ => break,
            }
        }
        self.cold_mut().pong = None;
        self.free_cold_state_if_idle();
        Poll::Ready(())
    }
}
