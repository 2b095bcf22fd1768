//! Frames into a connection's outbound queue: what [`ByteSender`](crate::ByteSender) and the session share, borrowed from either.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tidegate_engine::{ByteSender, COPY_BYTES_MAX, SendError};

use crate::close::CloseFrame;
use crate::error::Error;
use crate::frame::{Frame, encode_close};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::message::{Message, MessageRef};
use crate::opcode::ReservedBits;

/// Bytes of the longest control frame that a server sends, and more.
const CONTROL_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES_MAX;

/// A way into the queue of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameQueue<'a>(pub(crate) &'a ByteSender);

impl FrameQueue<'_> {
    /// Ready when a message of this payload may be queued.
    pub(crate) fn poll_ready(self, cx: &mut Context<'_>, payload_len: usize) -> Poll<Result<(), SendError>> {
        self.0.poll_ready(cx, payload_len + FRAME_HEADER_BYTES_MAX)
    }

    pub(crate) fn check_ready(self, payload_len: usize) -> Result<(), SendError> {
        self.0.check_ready(payload_len + FRAME_HEADER_BYTES_MAX)
    }

    /// Queues what `try_queue` queues, as soon as a message of this payload may be.
    #[inline]
    pub(crate) fn poll_queue(
        self,
        cx: &mut Context<'_>,
        payload_len: usize,
        try_queue: impl Fn(Self) -> Result<(), SendError>,
    ) -> Poll<Result<(), Error>> {
        loop {
            match try_queue(self) {
                Err(SendError::Full) => ready!(self.poll_ready(cx, payload_len))?,
                queued => return Poll::Ready(queued.map_err(Error::from)),
            }
        }
    }

    /// Queues a message if there is space: small ones by copy, in one step; the payload of others by reference.
    pub(crate) fn try_queue(self, message: &Message) -> Result<(), SendError> {
        let frame = Frame::message(message);
        if message.len() <= COPY_BYTES_MAX {
            return self.try_queue_frame(&frame, message.len());
        }
        self.0.try_append_with(&frame.header(None), message.clone().into_bytes())
    }

    /// The same with reserved bits.
    pub(crate) fn try_queue_with_bits(self, message: &Message, bits: ReservedBits) -> Result<(), SendError> {
        let frame = Frame::message(message).reserved_bits(bits);
        if message.len() <= COPY_BYTES_MAX {
            return self.try_queue_frame(&frame, message.len());
        }
        self.0.try_append_with(&frame.header(None), message.clone().into_bytes())
    }

    /// The same for a borrowed message.
    #[inline]
    pub(crate) fn try_queue_ref(self, message: &MessageRef<'_>) -> Result<(), SendError> {
        match message.in_buffer() {
            Some((kind, payload)) if payload.len() <= COPY_BYTES_MAX => {
                self.try_queue_frame(&Frame::of_kind(kind, payload), payload.len())
            }
            _ => self.try_queue_owned(message),
        }
    }

    /// The same for one that is long, or lies in memory of its own.
    #[inline(never)]
    fn try_queue_owned(self, message: &MessageRef<'_>) -> Result<(), SendError> {
        let payload = message.as_bytes();
        if payload.len() <= COPY_BYTES_MAX {
            return self.try_queue_frame(&Frame::of_kind(message.kind(), payload), payload.len());
        }
        if let Some(frame) = message.frame() {
            return self.0.try_send(frame.clone());
        }
        self.check_ready(payload.len())?;
        self.try_queue(&message.to_message())
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

    /// Queues a control frame if there is space. It may stand between the frames of a message that is being streamed.
    pub(crate) fn try_queue_control(self, frame: &Frame<'_>) -> Result<(), SendError> {
        match self.try_queue_frame(frame, CONTROL_PAYLOAD_BYTES_MAX) {
            Err(SendError::Full) => self.0.try_append_between(CONTROL_BYTES_MAX, |out| frame.encode(None, out)),
            queued => queued,
        }
    }

    /// Waits for space, then queues a control frame.
    pub(crate) async fn send_control(self, frame: &Frame<'_>) -> Result<(), Error> {
        loop {
            match self.try_queue_control(frame) {
                Err(SendError::Full) => poll_fn(|cx| self.poll_ready_control(cx)).await?,
                queued => return Ok(queued?),
            }
        }
    }

    /// Ready when a control frame may be queued.
    pub(crate) fn poll_ready_control(self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.0.poll_ready_between(cx, CONTROL_BYTES_MAX)
    }

    /// Queues the last frame of this side, whatever the mark.
    pub(crate) fn queue_close(self, frame: Option<&CloseFrame>) -> Result<(), SendError> {
        self.0.append_last(|out| encode_close(frame, None, out))
    }

    #[inline]
    pub(crate) fn try_queue_frame(self, frame: &Frame<'_>, payload_len: usize) -> Result<(), SendError> {
        self.0.try_append(payload_len + FRAME_HEADER_BYTES_MAX, |out| frame.encode(None, out))
    }
}
