//! The compression of a message that is being sent.

use std::mem;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::compressor::{BorrowedDeflater, Compression, Slice};
use crate::conn::frame_queue::FrameQueue;
use crate::deflate::SLICE_BYTES;
use crate::error::Error;
use crate::message::MessageRef;

/// How far the compression of one message is. Dropped before it completes, it has queued nothing.
#[derive(Debug, Default)]
pub(crate) enum DeflateJob<'a> {
    /// Nothing has been done yet.
    #[default]
    New,
    /// A big message, of which `done` bytes are compressed, into `out`.
    Deflating { deflater: BorrowedDeflater<'a>, out: Vec<u8>, done: usize },
    /// A compressed message that waits for space.
    Deflated { deflater: BorrowedDeflater<'a>, bytes: Bytes },
    /// A message that is sent as it is.
    Uncompressed,
}

impl<'a> DeflateJob<'a> {
    /// Compresses and queues the message.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        queue: FrameQueue<'_>,
        compression: &'a Compression,
        message: MessageRef<'_>,
    ) -> Poll<Result<(), Error>> {
        let payload_len = message.as_bytes().len();
        loop {
            match self {
                Self::New if payload_len <= SLICE_BYTES => {
                    return queue.poll_queue(cx, payload_len, |queue| compression.try_queue(queue, &message));
                }
                Self::New => {
                    // Checked first: a message without space must not occupy the deflater.
                    ready!(queue.poll_ready(cx, payload_len))?;
                    *self = match compression.borrow_deflater(payload_len) {
                        Some(deflater) => Self::Deflating { deflater, out: Vec::new(), done: 0 },
                        None => Self::Uncompressed,
                    };
                }
                Self::Deflating { deflater, out, done } => match deflater.push(message.as_bytes(), done, out) {
                    Slice::More => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Slice::Whole => {
                        let bytes = mem::take(out).into();
                        let Self::Deflating { deflater, .. } = mem::replace(self, Self::Uncompressed) else { continue };
                        *self = Self::Deflated { deflater, bytes };
                    }
                    Slice::NotSmaller => *self = Self::Uncompressed,
                },
                Self::Deflated { bytes, .. } => {
                    let try_queue =
                        |queue: FrameQueue<'_>| compression.try_queue_deflated(queue, message.kind(), bytes);
                    ready!(queue.poll_queue(cx, bytes.len(), try_queue))?;
                    if let Self::Deflated { deflater, .. } = mem::replace(self, Self::Uncompressed) {
                        deflater.complete();
                    }
                    return Poll::Ready(Ok(()));
                }
                Self::Uncompressed => {
                    let try_queue = |queue: FrameQueue<'_>| compression.try_queue_uncompressed(queue, &message);
                    return queue.poll_queue(cx, payload_len, try_queue);
                }
            }
        }
    }
}
