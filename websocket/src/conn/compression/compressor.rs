//! Messages through a connection's compressor into its queue.
//!
//! What the session and the senders of a connection share once permessage-deflate was negotiated; other connections have
//! none of it. A message is compressed and queued under one lock, so that messages leave in the order in which they refer
//! to each other. Big ones are compressed slice by slice, without the lock: what others send meanwhile goes as it is.

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

/// Larger messages are compressed by those alone who can wait: whoever must have them queued at once sends them as they
/// are. At the usual levels it is some milliseconds.
const AT_ONCE_BYTES_MAX: usize = 256 << 10;

thread_local! {
    /// Where short messages are compressed to.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A scratch that has grown larger than this is not kept.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// What was agreed on for one connection, and what it costs now; see [`WebSocket::compression`](crate::WebSocket::compression).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompressionStatus {
    /// The parameters, the same on both sides.
    pub params: DeflateParams,
    /// The level at which we compress; `None` while that is switched off.
    pub level: Option<CompressionLevel>,
    /// Bytes of heap held between messages, in both directions. 0 without context takeover.
    pub held_bytes: usize,
}

/// The compressor that the senders of one connection share.
#[derive(Debug)]
pub(crate) struct Compression {
    params: DeflateParams,
    deflater: Mutex<MessageDeflater>,
}

impl Compression {
    pub(crate) fn new(config: &DeflateConfig, params: DeflateParams) -> Self {
        Self { params, deflater: Mutex::new(MessageDeflater::new(config, &params, Role::Server)) }
    }

    pub(crate) const fn params(&self) -> DeflateParams {
        self.params
    }

    /// `inflating_bytes` is what is held for the other direction.
    pub(crate) fn status(&self, inflating_bytes: usize) -> CompressionStatus {
        let deflater = self.deflater();
        let held_bytes = deflater.held_bytes() + inflating_bytes;
        CompressionStatus { params: self.params, level: deflater.level(), held_bytes }
    }

    pub(crate) fn set_level(&self, level: Option<CompressionLevel>) {
        self.deflater().set_level(level);
    }

    /// How messages are compressed for this connection that are the same for others.
    pub(crate) fn variant(&self) -> Option<DeflatedVariant> {
        self.deflater().variant()
    }

    /// A prepared message as this connection gets it.
    pub(crate) fn frame_of(&self, message: &PreparedMessage) -> Bytes {
        let deflated = self.variant().and_then(|variant| message.deflated(variant));
        deflated.unwrap_or_else(|| message.frame().clone())
    }

    /// Queues a message if there is space, compressed if that makes it smaller.
    pub(crate) fn try_queue(&self, queue: FrameQueue<'_>, message: &MessageRef<'_>) -> Result<(), SendError> {
        let payload = message.as_bytes();
        if payload.len() > AT_ONCE_BYTES_MAX {
            return queue.try_queue_ref(message);
        }
        // Looked at first: what has no space is not compressed.
        queue.check_ready(payload.len())?;
        let mut scratch = SCRATCH.take();
        let mut deflater = self.deflater();
        let queued = match deflater.deflate(payload, &mut scratch) {
            true => {
                let queued = queue_deflated(queue, message.kind(), &mut scratch);
                if queued.is_err() {
                    deflater.forget();
                }
                queued
            }
            false => queue.try_queue_ref(message),
        };
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

    fn deflater(&self) -> MutexGuard<'_, MessageDeflater> {
        lock(&self.deflater)
    }
}

/// Queues a message that was compressed.
fn queue_deflated(queue: FrameQueue<'_>, kind: MessageKind, deflated: &mut Vec<u8>) -> Result<(), SendError> {
    let frame = Frame::deflated(kind, deflated);
    if deflated.len() <= COPY_BYTES_MAX {
        return queue.try_queue_frame(&frame, deflated.len());
    }
    let header = frame.header(None);
    queue.0.try_append_with(&header, Bytes::from(std::mem::take(deflated)))
}

/// A borrowed compressor.
#[derive(Debug)]
pub(crate) struct BorrowedDeflater<'a> {
    compression: &'a Compression,
    /// Until it is given back.
    deflater: Option<Box<Deflater>>,
}

/// What a slice has brought.
pub(crate) enum Slice {
    /// There is more to compress.
    More,
    /// The message is compressed.
    Whole,
    /// It would not become smaller.
    NotSmaller,
}

impl BorrowedDeflater<'_> {
    /// Compresses the next slice of `payload`, of which `done` bytes were.
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

    /// The message was queued: later ones may refer to it.
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
