//! The futures that send a message.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::conn::compression::DeflatedSend;
use crate::conn::frame_queue::FrameQueue;
use crate::error::Error;
use crate::message::{Message, MessageRef};

/// The future of [`Sender::send`](crate::Sender::send) and [`WebSocket::send`](crate::WebSocket::send). Dropped before
/// it completes, it has queued nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SendMessage<'a>(MessageState<'a>);

/// No larger than the uncompressed message needs.
#[derive(Debug)]
enum MessageState<'a> {
    Uncompressed { queue: FrameQueue<'a>, message: Option<Message> },
    Deflated(DeflatedSend<'a>),
}

impl<'a> SendMessage<'a> {
    #[inline]
    pub(super) fn uncompressed(queue: FrameQueue<'a>, message: Message) -> Self {
        Self(MessageState::Uncompressed { queue, message: Some(message) })
    }

    pub(super) fn deflated(send: DeflatedSend<'a>) -> Self {
        Self(MessageState::Deflated(send))
    }
}

impl Future for SendMessage<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            MessageState::Uncompressed { queue, message: slot } => {
                let Some(message) = slot else { return Poll::Ready(Ok(())) };
                ready!(queue.poll_queue(cx, message.len(), |queue| queue.try_queue(message)))?;
                *slot = None;
                Poll::Ready(Ok(()))
            }
            MessageState::Deflated(send) => Pin::new(send).poll(cx),
        }
    }
}

/// The future of [`Sender::send_ref`](crate::Sender::send_ref). Dropped before it completes, it has queued nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SendRef<'a>(RefState<'a>);

/// No larger than the uncompressed message needs.
#[derive(Debug)]
enum RefState<'a> {
    Uncompressed { queue: FrameQueue<'a>, message: &'a MessageRef<'a> },
    Deflated(DeflatedSend<'a>),
}

impl<'a> SendRef<'a> {
    #[inline]
    pub(super) fn uncompressed(queue: FrameQueue<'a>, message: &'a MessageRef<'a>) -> Self {
        Self(RefState::Uncompressed { queue, message })
    }

    pub(super) fn deflated(send: DeflatedSend<'a>) -> Self {
        Self(RefState::Deflated(send))
    }
}

impl Future for SendRef<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            RefState::Uncompressed { queue, message } => {
                queue.poll_queue(cx, message.as_bytes().len(), |queue| queue.try_queue_ref(message))
            }
            RefState::Deflated(send) => Pin::new(send).poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_makes_no_future_larger() {
        let pointer = size_of::<FrameQueue<'_>>();
        assert_eq!(size_of::<SendMessage<'_>>(), pointer + size_of::<Message>());
        assert_eq!(size_of::<SendRef<'_>>(), pointer + size_of::<&MessageRef<'_>>());
    }
}
