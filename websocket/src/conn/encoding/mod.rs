//! The frames of connections that differ from a server's plain ones: a client's are masked (RFC 6455 section 5.3), and
//! the messages of either side can be compressed.
//!
//! Most connections of a server do neither. They have no encoding, so the choice costs each of their messages a look at
//! one pointer.

mod keys;
mod masked;
mod send_encoded;

use bytes::Bytes;
use tidegate_engine::SendError;

use crate::conn::compression::Compression;
use crate::conn::frame_queue::FrameQueue;
use crate::conn::prepared::PreparedMessage;
use crate::frame::Frame;
use crate::message::MessageRef;
use crate::role::Role;

pub(crate) use keys::{masking_key_of, random_nonce, random_u64};
pub(crate) use masked::masked_frame;
pub(crate) use send_encoded::EncodedSend;

/// What is done to the messages of one connection before they are queued.
#[derive(Debug)]
pub(crate) enum Encoding {
    /// They are masked: we are the client.
    Masked,
    /// They are compressed, and masked if we are the client.
    Deflated(Compression),
}

impl Encoding {
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Masked => Role::Client,
            Self::Deflated(compression) => compression.role(),
        }
    }

    /// Returns the compressor, if compression was agreed on.
    pub(crate) fn compression(&self) -> Option<&Compression> {
        match self {
            Self::Masked => None,
            Self::Deflated(compression) => Some(compression),
        }
    }

    /// Queues a message if there is space.
    pub(crate) fn try_queue(&self, queue: FrameQueue<'_>, message: &MessageRef<'_>) -> Result<(), SendError> {
        match self {
            Self::Masked => queue.try_queue_masked_message(message),
            Self::Deflated(compression) => compression.try_queue(queue, message),
        }
    }

    /// Returns the frame of an encoded message for this connection. A client's is masked by itself and not compressed.
    pub(crate) fn frame_of(&self, message: &PreparedMessage) -> Bytes {
        match self {
            Self::Deflated(compression) if compression.role() == Role::Server => compression.frame_of(message),
            Self::Masked | Self::Deflated(_) => masked_frame(&Frame::of_kind(message.kind(), &message.payload())),
        }
    }
}
