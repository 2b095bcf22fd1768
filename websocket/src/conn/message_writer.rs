//! Messages into a connection's queue, masked by a client and compressed where that was agreed on.
//!
//! The one place that chooses: a [`WebSocket`](crate::WebSocket), its [`Sender`](crate::Sender)s and sinks all send
//! through it.

use bytes::Bytes;
use tidegate_engine::SendError;

use crate::conn::encoding::{EncodedSend, Encoding};
use crate::conn::frame_queue::{ControlQueue, FrameQueue};
use crate::conn::prepared::PreparedMessage;
use crate::conn::send::{SendMessage, SendRef};
use crate::error::Error;
use crate::frame::Frame;
use crate::message::{Message, MessageRef};
use crate::role::Role;

/// The outbound queue of one connection, as messages: borrowed from its session or one of its senders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageWriter<'a> {
    pub(crate) queue: FrameQueue<'a>,
    encoding: Option<&'a Encoding>,
}

impl<'a> MessageWriter<'a> {
    #[inline]
    pub(crate) fn new(queue: FrameQueue<'a>, encoding: Option<&'a Encoding>) -> Self {
        Self { queue, encoding }
    }

    /// Returns our role.
    pub(crate) fn role(self) -> Role {
        self.encoding.map_or(Role::Server, Encoding::role)
    }

    /// Returns the queue for control frames.
    pub(crate) fn control(self) -> ControlQueue<'a> {
        ControlQueue::new(self.queue.0, self.role())
    }

    /// Waits for space, then queues a message.
    #[inline]
    pub(crate) fn send(self, message: Message) -> SendMessage<'a> {
        match self.encoding {
            None => SendMessage::plain(self.queue, message),
            Some(encoding) => SendMessage::encoded(EncodedSend::owned(self.queue, encoding, message)),
        }
    }

    /// Waits for space, then queues a message that was received and is borrowed.
    #[inline]
    pub(crate) fn send_ref(self, message: &'a MessageRef<'a>) -> SendRef<'a> {
        match self.encoding {
            None => SendRef::plain(self.queue, message),
            Some(encoding) => SendRef::encoded(EncodedSend::borrowed(self.queue, encoding, *message)),
        }
    }

    /// Waits for space, then queues borrowed text or bytes.
    #[inline]
    pub(crate) async fn send_borrowed(self, message: MessageRef<'_>) -> Result<(), Error> {
        let payload = message.as_bytes();
        match self.encoding {
            None => self.queue.send_frame(&Frame::of_kind(message.kind(), payload), payload.len()).await,
            Some(encoding) => EncodedSend::borrowed(self.queue, encoding, message).await,
        }
    }

    /// Queues a message if there is space.
    pub(crate) fn try_send(self, message: &Message) -> Result<(), SendError> {
        match self.encoding {
            None => self.queue.try_queue(message),
            Some(encoding) => encoding.try_queue(self.queue, &MessageRef::from(message)),
        }
    }

    /// Queues a server's borrowed message, whatever is queued. Returns whether the queue is full now.
    #[inline]
    pub(crate) fn queue_in_order(self, message: &MessageRef<'_>) -> Result<bool, SendError> {
        match self.encoding.and_then(Encoding::compression) {
            None => self.queue.queue_in_order(message),
            Some(compression) => compression.queue_in_order(self.queue, message),
        }
    }

    /// Queues an encoded message, whatever is queued. Returns whether the queue is full now.
    pub(crate) fn queue_prepared_in_order(self, message: &PreparedMessage) -> Result<bool, SendError> {
        self.queue.0.append_with_in_order(&[], self.frame_of(message))
    }

    /// Waits for space, then queues an encoded message.
    pub(crate) async fn send_prepared(self, message: &PreparedMessage) -> Result<(), Error> {
        Ok(self.queue.0.send(self.frame_of(message)).await?)
    }

    /// Queues an encoded message if there is space.
    pub(crate) fn try_send_prepared(self, message: &PreparedMessage) -> Result<(), SendError> {
        self.queue.0.try_send(self.frame_of(message))
    }

    fn frame_of(self, message: &PreparedMessage) -> Bytes {
        self.encoding.map_or_else(|| message.frame().clone(), |encoding| encoding.frame_of(message))
    }
}
