//! Frames into a connection's outbound queue: what [`Sender`](crate::Sender) and the session share, borrowed from either.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tidegate_engine::{COPY_BYTES_MAX, SendError, Sender};

use crate::close::CloseFrame;
use crate::failure::Error;
use crate::frame::{Frame, encode_close};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::message::Message;

/// A way into the queue of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet<'a>(pub(crate) &'a Sender);

impl Outlet<'_> {
    /// Ready when a message of this payload may be queued.
    pub(crate) fn poll_ready(self, cx: &mut Context<'_>, payload_len: usize) -> Poll<Result<(), SendError>> {
        self.0.poll_ready(cx, payload_len + FRAME_HEADER_BYTES_MAX)
    }

    /// Queues a message if there is space: small ones by copy, in one step; the payload of others by reference.
    pub(crate) fn try_queue(self, message: &Message) -> Result<(), SendError> {
        let frame = Frame::message(message);
        if message.len() <= COPY_BYTES_MAX {
            return self.try_queue_frame(&frame, message.len());
        }
        self.0.try_append_with(&frame.header(None), message.clone().into_bytes())
    }

    /// Waits for space, then queues a frame by copy.
    pub(crate) async fn send_frame(self, frame: &Frame<'_>, payload_len: usize) -> Result<(), Error> {
        loop {
            match self.try_queue_frame(frame, payload_len) {
                Err(SendError::Full) => poll_fn(|cx| self.poll_ready(cx, payload_len)).await?,
                queued => return Ok(queued?),
            }
        }
    }

    /// Queues a control frame if there is space.
    pub(crate) fn try_queue_control(self, frame: &Frame<'_>) -> Result<(), SendError> {
        self.try_queue_frame(frame, CONTROL_PAYLOAD_BYTES_MAX)
    }

    /// Queues the last frame of this side, whatever the mark.
    pub(crate) fn queue_close(self, frame: Option<&CloseFrame>) -> Result<(), SendError> {
        self.0.append_last(|out| encode_close(frame, None, out))
    }

    fn try_queue_frame(self, frame: &Frame<'_>, payload_len: usize) -> Result<(), SendError> {
        self.0.try_append(payload_len + FRAME_HEADER_BYTES_MAX, |out| frame.encode(None, out))
    }
}
