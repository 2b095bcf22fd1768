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

/// The messages of [`recv`](WebSocket::recv). After an error that is not final, more can follow.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "futures")))]
impl Stream for WebSocket {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.session_mut().poll_owned(cx).map(Result::transpose)
    }
}

/// Sends as a [`MessageSink`] does.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "futures")))]
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

/// # Combinators
/// With the feature `futures`.
#[cfg_attr(tidegate_docs, doc(cfg(feature = "futures")))]
impl WebSocket {
    /// Splits the WebSocket into two halves for combinators. Neither waits for the other, and there is no lock between
    /// them. (`StreamExt::split` works as well, with a lock.)
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

/// The reading half of a WebSocket, which owns it: dropping it ends the connection as dropping the WebSocket does.
/// [`WebSocket::split`] makes it.
///
/// ```no_run
/// # use futures_util::TryStreamExt;
/// # use tidegate_websocket::{Error, WebSocket};
/// # async fn example(ws: WebSocket) -> Result<(), Error> {
/// let (_sink, stream) = ws.split();
/// let bytes = stream.try_fold(0, async |sum, message| Ok(sum + message.len())).await?;
/// println!("{bytes} bytes of payload");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "futures")))]
pub struct MessageStream {
    ws: WebSocket,
}

impl MessageStream {
    /// Returns the WebSocket.
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

/// A sink of messages, made from a [`Sender`] and usable from any thread. It takes one message when the outbound queue
/// is full; the next waits for space. That message is lost if the sink is dropped, and other sends can overtake it:
/// flush first. Flushing waits until everything is in the kernel. Closing sends close 1000, unless another close frame
/// was sent, and waits until it has left or the connection has ended in order.
///
/// ```no_run
/// # use futures_util::{SinkExt, StreamExt};
/// # use tidegate_websocket::{Error, Message, MessageSink, WebSocket};
/// # async fn example(ws: &WebSocket) -> Result<(), Error> {
/// let mut sink = MessageSink::from(ws.sender());
/// let mut countdown = futures_util::stream::iter((0..3).rev()).map(|number| Ok(Message::from(number.to_string())));
/// sink.send_all(&mut countdown).await?;
/// sink.close().await
/// # }
/// ```
#[derive(Debug)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "futures")))]
pub struct MessageSink {
    sender: Sender,
    taken: Option<Message>,
}

impl MessageSink {
    /// Returns the sender below, for control frames.
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
    /// Calls `work` with the writer and the message that was taken when the queue was full.
    fn with_sink<R>(&mut self, work: impl FnOnce(MessageWriter<'_>, &mut Option<Message>) -> R) -> R {
        let mut taken = self.cold.as_mut().and_then(|cold| cold.sink_message.take());
        let result = work(self.writer(), &mut taken);
        if taken.is_some() {
            self.cold_mut().sink_message = taken;
        }
        result
    }
}

/// The messages of a sink. `taken` is the one that was taken when the queue was full.
impl MessageWriter<'_> {
    /// Queues a message, or takes it if the queue is full.
    fn take(self, taken: &mut Option<Message>, message: Message) -> Result<(), Error> {
        match self.try_send(&message) {
            Err(SendError::Full) => *taken = Some(message),
            queued => queued?,
        }
        Ok(())
    }

    /// Queues the taken message. If that fails it is dropped.
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
            // Closing is the purpose: it does not matter who sent the close frame.
            Err(error) if !error.is_close_sent() => return Poll::Ready(Err(error)),
            _ => {}
        }
        let frame = CloseFrame::new(CloseCode::NORMAL, "").ok();
        match self.control().queue_close(frame.as_ref()).map_err(Error::from) {
            // The closing handshake ended before this was polled.
            Err(Error::Closed(CloseCause::Dropped)) => Poll::Ready(Ok(())),
            Err(error) if !error.is_close_sent() => Poll::Ready(Err(error)),
            _ => match ready!(self.queue.0.poll_flush(cx)) {
                Err(SendError::Closed(CloseCause::Dropped)) | Ok(()) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err(error.into())),
            },
        }
    }
}
