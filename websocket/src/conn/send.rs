//! The futures that send a message.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::conn::encoding::EncodedSend;
use crate::conn::frame_queue::FrameQueue;
use crate::error::Error;
use crate::message::{Message, MessageRef};

/// The future of [`Sender::send`](crate::Sender::send) and [`WebSocket::send`](crate::WebSocket::send). Dropped before
/// it completes, it has queued nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SendMessage<'a>(MessageState<'a>);

/// No larger than the plain message needs.
#[derive(Debug)]
enum MessageState<'a> {
    Plain { queue: FrameQueue<'a>, message: Option<Message> },
    Encoded(EncodedSend<'a>),
}

impl<'a> SendMessage<'a> {
    #[inline]
    pub(super) fn plain(queue: FrameQueue<'a>, message: Message) -> Self {
        Self(MessageState::Plain { queue, message: Some(message) })
    }

    pub(super) fn encoded(send: EncodedSend<'a>) -> Self {
        Self(MessageState::Encoded(send))
    }
}

impl Future for SendMessage<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            MessageState::Plain { queue, message: slot } => {
                let Some(message) = slot else { return Poll::Ready(Ok(())) };
                ready!(queue.poll_queue(cx, message.len(), |queue| queue.try_queue(message)))?;
                *slot = None;
                Poll::Ready(Ok(()))
            }
            MessageState::Encoded(send) => Pin::new(send).poll(cx),
        }
    }
}

/// The future of [`Sender::send_ref`](crate::Sender::send_ref). Dropped before it completes, it has queued nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct SendRef<'a>(RefState<'a>);

/// No larger than the plain message needs.
#[derive(Debug)]
enum RefState<'a> {
    Plain { queue: FrameQueue<'a>, message: &'a MessageRef<'a> },
    Encoded(EncodedSend<'a>),
}

impl<'a> SendRef<'a> {
    #[inline]
    pub(super) fn plain(queue: FrameQueue<'a>, message: &'a MessageRef<'a>) -> Self {
        Self(RefState::Plain { queue, message })
    }

    pub(super) fn encoded(send: EncodedSend<'a>) -> Self {
        Self(RefState::Encoded(send))
    }
}

impl Future for SendRef<'_> {
    type Output = Result<(), Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            RefState::Plain { queue, message } => {
                queue.poll_queue(cx, message.as_bytes().len(), |queue| queue.try_queue_ref(message))
            }
            RefState::Encoded(send) => Pin::new(send).poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_make_no_future_larger() {
        let pointer = size_of::<FrameQueue<'_>>();
        assert_eq!(size_of::<SendMessage<'_>>(), pointer + size_of::<Message>());
        assert_eq!(size_of::<SendRef<'_>>(), pointer + size_of::<&MessageRef<'_>>());
    }
}
