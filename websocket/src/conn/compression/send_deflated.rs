//! The future that sends a message on a connection with compression.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::compressor::{BorrowedDeflater, Compression, Slice};
use crate::conn::frame_queue::FrameQueue;
use crate::deflate::SLICE_BYTES;
use crate::error::Error;
use crate::message::{Message, MessageRef};

/// Sends one message. One pointer in size, so the futures of connections without compression are no larger for it.
/// Dropped before it completes, it has queued nothing.
#[derive(Debug)]
pub(crate) struct DeflatedSend<'a>(Box<State<'a>>);

#[derive(Debug)]
struct State<'a> {
    queue: FrameQueue<'a>,
    compression: &'a Compression,
    payload: Payload<'a>,
    job: Job<'a>,
}

#[derive(Debug)]
enum Payload<'a> {
    Owned(Message),
    Borrowed(MessageRef<'a>),
}

#[derive(Debug)]
enum Job<'a> {
    /// Nothing has been done yet.
    New,
    /// A big message, of which `done` bytes are compressed, into `out`.
    Deflating { deflater: BorrowedDeflater<'a>, out: Vec<u8>, done: usize },
    /// A compressed message that waits for space.
    Deflated { deflater: BorrowedDeflater<'a>, bytes: Bytes },
    /// A message that is sent as it is.
    Uncompressed,
}

impl Payload<'_> {
    fn message(&self) -> MessageRef<'_> {
        match self {
            Self::Owned(message) => MessageRef::from(message),
            Self::Borrowed(message) => *message,
        }
    }
}

impl<'a> DeflatedSend<'a> {
    pub(crate) fn owned(queue: FrameQueue<'a>, compression: &'a Compression, message: Message) -> Self {
        Self::new(queue, compression, Payload::Owned(message))
    }

    pub(crate) fn borrowed(queue: FrameQueue<'a>, compression: &'a Compression, message: MessageRef<'a>) -> Self {
        Self::new(queue, compression, Payload::Borrowed(message))
    }

    fn new(queue: FrameQueue<'a>, compression: &'a Compression, payload: Payload<'a>) -> Self {
        Self(Box::new(State { queue, compression, payload, job: Job::New }))
    }
}

impl Future for DeflatedSend<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let State { queue, compression, payload, job } = &mut *self.0;
        let (queue, message) = (*queue, payload.message());
        let payload_len = message.as_bytes().len();
        loop {
            match job {
                Job::New if payload_len <= SLICE_BYTES => {
                    return queue.poll_queue(cx, payload_len, |queue| compression.try_queue(queue, &message));
                }
                Job::New => {
                    // Checked first: a message without space must not occupy the deflater.
                    ready!(queue.poll_ready(cx, payload_len))?;
                    *job = match compression.borrow_deflater(payload_len) {
                        Some(deflater) => Job::Deflating { deflater, out: Vec::new(), done: 0 },
                        None => Job::Uncompressed,
                    };
                }
                Job::Deflating { deflater, out, done } => match deflater.push(message.as_bytes(), done, out) {
                    Slice::More => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Slice::Whole => {
                        let bytes = mem::take(out).into();
                        let Job::Deflating { deflater, .. } = mem::replace(job, Job::Uncompressed) else { continue };
                        *job = Job::Deflated { deflater, bytes };
                    }
                    Slice::NotSmaller => *job = Job::Uncompressed,
                },
                Job::Deflated { bytes, .. } => {
                    let try_queue = |queue: FrameQueue<'_>| queue.try_queue_deflated(message.kind(), bytes.clone());
                    ready!(queue.poll_queue(cx, bytes.len(), try_queue))?;
                    if let Job::Deflated { deflater, .. } = mem::replace(job, Job::Uncompressed) {
                        deflater.complete();
                    }
                    return Poll::Ready(Ok(()));
                }
                Job::Uncompressed => {
                    return queue.poll_queue(cx, payload_len, |queue| queue.try_queue_ref(&message));
                }
            }
        }
    }
}
