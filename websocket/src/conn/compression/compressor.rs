//! The compressor of one connection, shared by its session and senders once permessage-deflate is negotiated.
//!
//! A message is compressed and queued under one lock, so messages leave in the order in which they refer to each other.
//! A big message is compressed slice by slice without the lock; what others send meanwhile is sent uncompressed.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tidegate_engine::{COPY_BYTES_MAX, SendError};

use crate::conn::frame_queue::FrameQueue;
use crate::conn::prepared::PreparedMessage;
use crate::deflate::{
    CompressionLevel, DeflateConfig, DeflateParams, DeflatedVariant, Deflater, MessageDeflater, SLICE_BYTES,
};
use crate::frame::Frame;
use crate::message::{MessageKind, MessageRef};
use crate::role::Role;
use crate::sync::lock;

/// The largest message that is compressed in one step, some milliseconds at the usual levels. Larger ones are
/// compressed only by futures, which can yield between slices; `try_` calls send them uncompressed.
const AT_ONCE_BYTES_MAX: usize = 256 << 10;

thread_local! {
    /// The output of short messages.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A scratch buffer that has grown larger is dropped.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// The agreed compression of one connection and its present cost; see
/// [`WebSocket::compression`](crate::WebSocket::compression).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
pub struct CompressionStatus {
    /// The agreed parameters.
    pub params: DeflateParams,
    /// Our level; `None` while we do not compress.
    pub level: Option<CompressionLevel>,
    /// Bytes of heap held between messages for both directions; 0 without context takeover.
    pub held_bytes: usize,
}

/// The compressor that the senders of one connection share.
#[derive(Debug)]
pub(crate) struct Compression {
    role: Role,
    params: DeflateParams,
    deflater: Mutex<MessageDeflater>,
}

impl Compression {
    pub(crate) fn new(config: &DeflateConfig, params: DeflateParams, role: Role) -> Self {
        Self { role, params, deflater: Mutex::new(MessageDeflater::new(config, &params, role)) }
    }

    /// Returns our role: a client's frames are masked.
    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    pub(crate) const fn params(&self) -> DeflateParams {
        self.params
    }

    /// Returns the status. `inflating_bytes` are held for the other direction.
    pub(crate) fn status(&self, inflating_bytes: usize) -> CompressionStatus {
        let deflater = self.deflater();
        let held_bytes = deflater.held_bytes() + inflating_bytes;
        CompressionStatus { params: self.params, level: deflater.level(), held_bytes }
    }

    pub(crate) fn set_level(&self, level: Option<CompressionLevel>) {
        self.deflater().set_level(level);
    }

    /// Frees the context of earlier messages: the connection has ended, and senders can outlive it.
    pub(crate) fn end(&self) {
        self.deflater().end();
    }

    /// Returns the way in which messages for many connections are compressed for this one; `None` if they are not.
    pub(crate) fn variant(&self) -> Option<DeflatedVariant> {
        self.deflater().variant()
    }

    /// Returns the frame of an encoded message for this connection.
    pub(crate) fn frame_of(&self, message: &PreparedMessage) -> Bytes {
        let deflated = self.variant().and_then(|variant| message.deflated(variant));
        deflated.unwrap_or_else(|| message.frame().clone())
    }

    /// Queues a message if there is space, compressed if that makes it smaller.
    pub(crate) fn try_queue(&self, queue: FrameQueue<'_>, message: &MessageRef<'_>) -> Result<(), SendError> {
        let payload_len = message.as_bytes().len();
        if payload_len > AT_ONCE_BYTES_MAX {
            return self.try_queue_uncompressed(queue, message);
        }
        // Checked first: a message without space need not be compressed.
        queue.check_ready(payload_len)?;
        self.queue_at_once(message, |deflated| match deflated {
            Some(deflated) => self.queue_deflated(queue, message.kind(), deflated),
            None => self.try_queue_uncompressed(queue, message),
        })
    }

    /// Queues a server's message, whatever is queued, compressed if that makes it smaller. Returns whether the queue is
    /// full now.
    pub(crate) fn queue_in_order(&self, queue: FrameQueue<'_>, message: &MessageRef<'_>) -> Result<bool, SendError> {
        if message.as_bytes().len() > AT_ONCE_BYTES_MAX {
            return queue.queue_in_order(message);
        }
        self.queue_at_once(message, |deflated| match deflated {
            Some(deflated) if deflated.len() <= COPY_BYTES_MAX => {
                let frame = Frame::deflated(message.kind(), deflated);
                queue.0.append_in_order(|out| frame.encode(None, out))
            }
            Some(deflated) => {
                let header = Frame::deflated(message.kind(), deflated).header(None);
                queue.0.append_with_in_order(&header, std::mem::take(deflated).into())
            }
            None => queue.queue_in_order(message),
        })
    }

    /// Calls `queue` with the compressed payload, or without if compression does not make it smaller.
    fn queue_at_once<T>(
        &self,
        message: &MessageRef<'_>,
        queue: impl FnOnce(Option<&mut Vec<u8>>) -> Result<T, SendError>,
    ) -> Result<T, SendError> {
        let mut scratch = SCRATCH.take();
        let mut deflater = self.deflater();
        let is_deflated = deflater.deflate(message.as_bytes(), &mut scratch);
        let queued = queue(is_deflated.then_some(&mut scratch));
        if is_deflated && queued.is_err() {
            deflater.forget();
        }
        drop(deflater);
        if scratch.capacity() <= SCRATCH_BYTES_MAX {
            SCRATCH.set(scratch);
        }
        queued
    }

    /// Borrows the deflater for a message that is compressed slice by slice; `None` if it is to be sent as it is.
    pub(crate) fn borrow_deflater(&self, payload_len: usize) -> Option<BorrowedDeflater<'_>> {
        let deflater = self.deflater().borrow_deflater(payload_len)?;
        Some(BorrowedDeflater { compression: self, deflater: Some(deflater) })
    }

    /// Queues a message as it is, if there is space.
    pub(super) fn try_queue_uncompressed(
        &self,
        queue: FrameQueue<'_>,
        message: &MessageRef<'_>,
    ) -> Result<(), SendError> {
        match self.role {
            Role::Server => queue.try_queue_ref(message),
            Role::Client => queue.try_queue_masked_message(message),
        }
    }

    /// Queues a compressed message if there is space: a server's large payload by reference.
    pub(super) fn try_queue_deflated(
        &self,
        queue: FrameQueue<'_>,
        kind: MessageKind,
        deflated: &Bytes,
    ) -> Result<(), SendError> {
        let frame = Frame::deflated(kind, deflated);
        match self.role {
            Role::Server => queue.0.try_append_with(&frame.header(None), deflated.clone()),
            Role::Client => queue.try_queue_masked(&frame),
        }
    }

    /// Queues a compressed message. Takes the buffer of a server's large one.
    fn queue_deflated(
        &self,
        queue: FrameQueue<'_>,
        kind: MessageKind,
        deflated: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let frame = Frame::deflated(kind, deflated);
        match self.role {
            Role::Client => queue.try_queue_masked(&frame),
            Role::Server if deflated.len() <= COPY_BYTES_MAX => queue.try_queue_frame(&frame, deflated.len()),
            Role::Server => {
                let header = frame.header(None);
                queue.0.try_append_with(&header, std::mem::take(deflated).into())
            }
        }
    }

    fn deflater(&self) -> MutexGuard<'_, MessageDeflater> {
        lock(&self.deflater)
    }
}

/// A deflater borrowed from its connection for one message. Dropping it returns it.
#[derive(Debug)]
pub(crate) struct BorrowedDeflater<'a> {
    compression: &'a Compression,
    /// `Some` until it is returned.
    deflater: Option<Box<Deflater>>,
}

/// The result of a slice.
pub(crate) enum Slice {
    /// There is more to compress.
    More,
    /// The message is compressed.
    Whole,
    /// Compression would not make the message smaller.
    NotSmaller,
}

impl BorrowedDeflater<'_> {
    /// Compresses the next slice of `payload`, whose first `done` bytes are compressed.
    pub(crate) fn push(&mut self, payload: &[u8], done: &mut usize, out: &mut Vec<u8>) -> Slice {
        let Some(deflater) = &mut self.deflater else { return Slice::NotSmaller };
        let end = payload.len().min(*done + SLICE_BYTES);
        let is_last = end == payload.len();
        let pushed = deflater.push(&payload[*done..end], is_last, out, payload.len());
        *done = end;
        match pushed {
            Err(_) => Slice::NotSmaller,
            Ok(()) if is_last => Slice::Whole,
            Ok(()) => Slice::More,
        }
    }

    /// Notes that the message was queued: later ones can refer to it.
    pub(crate) fn complete(mut self) {
        self.return_deflater(true);
    }

    fn return_deflater(&mut self, is_sent: bool) {
        if let Some(deflater) = self.deflater.take() {
            self.compression.deflater().return_deflater(deflater, is_sent);
        }
    }
}

impl Drop for BorrowedDeflater<'_> {
    fn drop(&mut self) {
        self.return_deflater(false);
    }
}
