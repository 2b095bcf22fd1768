//! The future that sends a message on a connection with an encoding.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::Encoding;
use crate::conn::compression::DeflateJob;
use crate::conn::frame_queue::FrameQueue;
use crate::error::Error;
use crate::message::{Message, MessageRef};

/// Sends one message. One pointer in size, so the futures of connections without an encoding are no larger for it.
/// Dropped before it completes, it has queued nothing.
#[derive(Debug)]
pub(crate) struct EncodedSend<'a>(Box<State<'a>>);

#[derive(Debug)]
struct State<'a> {
    queue: FrameQueue<'a>,
    encoding: &'a Encoding,
    payload: Payload<'a>,
    job: DeflateJob<'a>,
}

#[derive(Debug)]
enum Payload<'a> {
    Owned(Message),
    Borrowed(MessageRef<'a>),
}

impl Payload<'_> {
    fn message(&self) -> MessageRef<'_> {
        match self {
            Self::Owned(message) => MessageRef::from(message),
            Self::Borrowed(message) => *message,
        }
    }
}

impl<'a> EncodedSend<'a> {
    pub(crate) fn owned(queue: FrameQueue<'a>, encoding: &'a Encoding, message: Message) -> Self {
        Self::new(queue, encoding, Payload::Owned(message))
    }

    pub(crate) fn borrowed(queue: FrameQueue<'a>, encoding: &'a Encoding, message: MessageRef<'a>) -> Self {
        Self::new(queue, encoding, Payload::Borrowed(message))
    }

    fn new(queue: FrameQueue<'a>, encoding: &'a Encoding, payload: Payload<'a>) -> Self {
        Self(Box::new(State { queue, encoding, payload, job: DeflateJob::default() }))
    }
}

impl Future for EncodedSend<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let State { queue, encoding, payload, job } = &mut *self.0;
        let message = payload.message();
        match *encoding {
            Encoding::Masked => {
                let try_queue = |queue: FrameQueue<'_>| queue.try_queue_masked_message(&message);
                queue.poll_queue(cx, message.as_bytes().len(), try_queue)
            }
            Encoding::Deflated(compression) => job.poll(cx, *queue, compression, message),
        }
    }
}
