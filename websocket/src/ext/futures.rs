//! WebSockets for the combinators of the `futures` crates (feature `futures`).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use tidegate_engine::{CloseCause, SendError};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::message_writer::MessageWriter;
use crate::conn::sender::Sender;
use crate::conn::session::Session;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::message::Message;

/// The messages to come, as [`recv`](WebSocket::recv) gives them: after an error that is not final there may be more.
impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.session_mut().poll_owned(cx).map(Result::transpose)
    }
}

/// As [`MessageSink`].
impl Sink<Message> for WebSocket {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.session_mut().with_sink(|writer, taken| writer.poll_taken(taken, cx))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.session_mut().with_sink(|writer, taken| writer.take(taken, message))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.session_mut().with_sink(|writer, taken| writer.poll_flushed(taken, cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.session_mut().with_sink(|writer, taken| writer.poll_closed(taken, cx))
    }
}

impl WebSocket {
    /// Both halves, for combinators: neither waits for the other, and there is no lock between them. (What
    /// `StreamExt::split` makes of a WebSocket has one; it works as well.)
    ///
    /// ```no_run
    /// # use futures_util::{StreamExt, TryStreamExt};
    /// # use tidegate_websocket::{Error, WebSocket};
    /// async fn shout(ws: WebSocket) -> Result<(), Error> {
    ///     let (sink, stream) = ws.split();
    ///     stream.map_ok(|message| message.as_text().unwrap_or("?").to_uppercase().into()).forward(sink).await
    /// }
    /// ```
    pub fn split(self) -> (MessageSink, MessageStream) {
        (self.sender().into(), MessageStream { ws: self })
    }
}

/// The reading half of a WebSocket, and its owner: dropping it ends the connection as dropping the WebSocket does.
#[derive(Debug)]
pub struct MessageStream {
    ws: WebSocket,
}

impl MessageStream {
    /// The WebSocket.
    pub fn into_inner(self) -> WebSocket {
        self.ws
    }
}

impl Stream for MessageStream {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.ws).poll_next(cx)
    }
}

/// A sink of messages: one is taken ahead of the outbound queue's space, the next waits until there is some. Flushed, all
/// is in the kernel's hands. Closed, close 1000 follows, unless another close frame was sent; the sink is closed once that
/// has left, or the connection has ended in order. Made of a [`Sender`], it is usable from any thread.
#[derive(Debug)]
pub struct MessageSink {
    sender: Sender,
    taken: Option<Message>,
}

impl MessageSink {
    /// The sender below, for what is no message.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }
}

impl From<Sender> for MessageSink {
    fn from(sender: Sender) -> Self {
        Self { sender, taken: None }
    }
}

impl Sink<Message> for MessageSink {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { sender, taken } = &mut *self;
        sender.writer().poll_taken(taken, cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let Self { sender, taken } = &mut *self;
        sender.writer().take(taken, message)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { sender, taken } = &mut *self;
        sender.writer().poll_flushed(taken, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Self { sender, taken } = &mut *self;
        sender.writer().poll_closed(taken, cx)
    }
}

impl Session {
    /// Works with the writer and the message that was taken ahead of the space for it.
    fn with_sink<R>(&mut self, work: impl FnOnce(MessageWriter<'_>, &mut Option<Message>) -> R) -> R {
        let mut taken = self.cold.as_mut().and_then(|cold| cold.sink_message.take());
        let result = work(self.writer(), &mut taken);
        if taken.is_some() {
            self.cold_mut().sink_message = taken;
        }
        result
    }
}

/// A sink's messages. `taken` is the one that was taken ahead of the space for it.
impl MessageWriter<'_> {
    /// Queues a message, or takes it ahead of the space for it.
    fn take(self, taken: &mut Option<Message>, message: Message) -> Result<(), Error> {
        match self.try_send(&message) {
            Err(SendError::Full) => *taken = Some(message),
            queued => queued?,
        }
        Ok(())
    }

    /// Queues the message that was taken; one that cannot be queued is dropped with the error.
    fn poll_taken(self, taken: &mut Option<Message>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(message) = taken else { return Poll::Ready(Ok(())) };
        let queued = ready!(self.queue.poll_queue(cx, message.len(), |_| self.try_send(message)));
        *taken = None;
        Poll::Ready(queued)
    }

    fn poll_flushed(self, taken: &mut Option<Message>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_taken(taken, cx))?;
        self.queue.0.poll_flush(cx).map_err(Error::from)
    }

    fn poll_closed(self, taken: &mut Option<Message>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match ready!(self.poll_taken(taken, cx)) {
            // A close frame is what was asked for.
            Err(error) if !error.is_close_sent() => return Poll::Ready(Err(error)),
            _ => {}
        }
        let frame = CloseFrame::new(CloseCode::NORMAL, "").ok();
        match self.queue.queue_close(frame.as_ref()).map_err(Error::from) {
            // The closing handshake was quicker than whoever polls this.
            Err(Error::Closed(CloseCause::Dropped)) => Poll::Ready(Ok(())),
            Err(error) if !error.is_close_sent() => Poll::Ready(Err(error)),
            _ => match ready!(self.queue.0.poll_flush(cx)) {
                Err(SendError::Closed(CloseCause::Dropped)) | Ok(()) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err(error.into())),
            },
        }
    }
}
