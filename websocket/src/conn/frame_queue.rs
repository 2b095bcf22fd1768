//! Frames into a connection's outbound queue.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tidegate_engine::{ByteSender, COPY_BYTES_MAX, SendError};

use crate::close::CloseFrame;
use crate::conn::encoding::masking_key_of;
use crate::error::Error;
use crate::frame::{Frame, encode_close};
use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::message::{Message, MessageRef};
use crate::reserved_bits::ReservedBits;
use crate::role::Role;

/// An upper bound of the bytes of a control frame.
const CONTROL_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES_MAX;

/// The outbound queue of one connection, as a server's frames: borrowed from its session or one of its senders. Where
/// the connection has an [`Encoding`](crate::conn::encoding::Encoding), that uses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameQueue<'a>(pub(crate) &'a ByteSender);

impl FrameQueue<'_> {
    /// Ready when a message with this payload can be queued.
    pub(crate) fn poll_ready(self, cx: &mut Context<'_>, payload_len: usize) -> Poll<Result<(), SendError>> {
        self.0.poll_ready(cx, payload_len + FRAME_HEADER_BYTES_MAX)
    }

    pub(crate) fn check_ready(self, payload_len: usize) -> Result<(), SendError> {
        self.0.check_ready(payload_len + FRAME_HEADER_BYTES_MAX)
    }

    /// Calls `try_queue` as soon as a message with this payload can be queued.
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

    /// Queues a message if there is space: a small one by copy, in one step; the payload of a large one by reference.
    pub(crate) fn try_queue(self, message: &Message) -> Result<(), SendError> {
        self.try_queue_message(&Frame::message(message), message)
    }

    /// Queues a message with reserved bits if there is space.
    pub(crate) fn try_queue_with_bits(self, message: &Message, bits: ReservedBits) -> Result<(), SendError> {
        self.try_queue_message(&Frame::message(message).reserved_bits(bits), message)
    }

    #[inline]
    fn try_queue_message(self, frame: &Frame<'_>, message: &Message) -> Result<(), SendError> {
        if message.len() <= COPY_BYTES_MAX {
            return self.try_queue_frame(frame, message.len());
        }
        self.0.try_append_with(&frame.header(None), message.clone().into_bytes())
    }

    /// Queues a borrowed message if there is space.
    #[inline]
    pub(crate) fn try_queue_ref(self, message: &MessageRef<'_>) -> Result<(), SendError> {
        match message.in_buffer() {
            Some((kind, payload)) if payload.len() <= COPY_BYTES_MAX => {
                self.try_queue_frame(&Frame::of_kind(kind, payload), payload.len())
            }
            _ => self.try_queue_owned(message),
        }
    }

    /// Queues a borrowed message that is long, or does not lie in a receive buffer.
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

    /// Queues a borrowed message, whatever is queued. Returns whether the queue is full now.
    #[inline]
    pub(crate) fn queue_in_order(self, message: &MessageRef<'_>) -> Result<bool, SendError> {
        match message.in_buffer() {
            Some((kind, payload)) if payload.len() <= COPY_BYTES_MAX => {
                let frame = Frame::of_kind(kind, payload);
                self.0.append_in_order(|out| frame.encode(None, out))
            }
            _ => self.queue_owned_in_order(message),
        }
    }

    /// Queues a borrowed message with reserved bits, whatever is queued. Returns whether the queue is full now.
    pub(crate) fn queue_with_bits_in_order(
        self,
        message: &MessageRef<'_>,
        bits: ReservedBits,
    ) -> Result<bool, SendError> {
        let frame = Frame::of_kind(message.kind(), message.as_bytes()).reserved_bits(bits);
        if message.as_bytes().len() <= COPY_BYTES_MAX {
            return self.0.append_in_order(|out| frame.encode(None, out));
        }
        self.0.append_with_in_order(&frame.header(None), message.to_message().into_bytes())
    }

    #[inline(never)]
    fn queue_owned_in_order(self, message: &MessageRef<'_>) -> Result<bool, SendError> {
        let frame = Frame::of_kind(message.kind(), message.as_bytes());
        if message.as_bytes().len() <= COPY_BYTES_MAX {
            return self.0.append_in_order(|out| frame.encode(None, out));
        }
        match message.frame() {
            Some(frame) => self.0.append_with_in_order(&[], frame.clone()),
            None => self.0.append_with_in_order(&frame.header(None), message.to_message().into_bytes()),
        }
    }

    /// Waits for space, then queues a frame by copy.
    pub(crate) async fn send_frame(self, frame: &Frame<'_>, payload_len: usize) -> Result<(), Error> {
        poll_fn(|cx| self.poll_queue(cx, payload_len, |queue| queue.try_queue_frame(frame, payload_len))).await
    }

    #[inline]
    pub(crate) fn try_queue_frame(self, frame: &Frame<'_>, payload_len: usize) -> Result<(), SendError> {
        self.0.try_append(payload_len + FRAME_HEADER_BYTES_MAX, |out| frame.encode(None, out))
    }
}

/// The outbound queue of one connection, for control frames, which a client masks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ControlQueue<'a> {
    bytes: &'a ByteSender,
    role: Role,
}

impl<'a> ControlQueue<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a ByteSender, role: Role) -> Self {
        Self { bytes, role }
    }

    pub(crate) fn bytes(self) -> &'a ByteSender {
        self.bytes
    }

    pub(crate) fn role(self) -> Role {
        self.role
    }

    /// Queues a control frame if there is space. It can come between the frames of a message that is sent in pieces.
    pub(crate) fn try_queue(self, frame: &Frame<'_>) -> Result<(), SendError> {
        let key = masking_key_of(self.role);
        match self.bytes.try_append(CONTROL_BYTES_MAX, |out| frame.encode(key, out)) {
            Err(SendError::Full) => self.bytes.try_append_interleaved(CONTROL_BYTES_MAX, |out| frame.encode(key, out)),
            queued => queued,
        }
    }

    /// Waits for space, then queues a control frame.
    pub(crate) async fn send(self, frame: &Frame<'_>) -> Result<(), Error> {
        loop {
            match self.try_queue(frame) {
                Err(SendError::Full) => poll_fn(|cx| self.poll_ready(cx)).await?,
                queued => return Ok(queued?),
            }
        }
    }

    /// Ready when a control frame can be queued.
    pub(crate) fn poll_ready(self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.bytes.poll_ready_interleaved(cx, CONTROL_BYTES_MAX)
    }

    /// Queues the last frame of this side, even above the high mark.
    pub(crate) fn queue_close(self, frame: Option<&CloseFrame>) -> Result<(), SendError> {
        let key = masking_key_of(self.role);
        self.bytes.append_last(|out| encode_close(frame, key, out))
    }
}
