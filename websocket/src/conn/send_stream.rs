//! Sending one message in pieces, as they come to hand (RFC 6455 section 5.4).

use std::future::poll_fn;
use std::marker::PhantomData;

use bytes::Bytes;
use tidegate_engine::{COPY_BYTES_MAX, ExclusiveSender, SendError};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::frame_queue::FrameQueue;
use crate::conn::sender::Sender;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::frame::MessageEncoder;
use crate::limits::FRAME_HEADER_BYTES_MAX;
use crate::message::MessageKind;
use crate::protocol_error::UsageError;
use crate::utf8::Utf8Validator;

/// One message, sent in pieces; see [`Sender::send_stream`].
///
/// Each piece is a frame, sent as it is even where compression was agreed on. Until [`finish`](Self::finish) nothing but control frames stands between them: the connection's
/// other senders wait with their messages, their `try_` calls say [`Error::Full`], and what hubs send follows the
/// message, within the bounds of the queue. The size of the message is unbounded; what is queued of it is not, so
/// [`write`](Self::write) waits for a slow peer.
///
/// A close frame waits for no message, be it ours, the answer to the peer's or that of a shutdown: it ends the message where
/// it is, and later calls fail with [`UsageError::CloseSent`]. What hubs sent meanwhile is then dropped.
///
/// Dropped before [`finish`](Self::finish), a message of which a piece was sent can neither go on nor end: the connection is
/// closed with 1011, so that the peer does not take a part for the whole. One of which nothing was sent leaves no trace.
#[derive(Debug)]
pub struct SendStream<'a> {
    hold: ExclusiveSender,
    encoder: MessageEncoder,
    validator: Option<Utf8Validator>,
    finished: bool,
    /// The WebSocket, whose own sends would wait for this one.
    borrowed: PhantomData<&'a mut ()>,
}

impl WebSocket {
    /// Begins a message that is sent in pieces. To read meanwhile, use [`Sender::send_stream`].
    ///
    /// ```no_run
    /// # use tidegate_websocket::{Error, MessageKind, WebSocket};
    /// # async fn example(mut ws: WebSocket) -> Result<(), Error> {
    /// let mut message = ws.send_stream(MessageKind::Text).await?;
    /// for line in 0..1_000_000 {
    ///     message.write(format!("line {line}\n").as_bytes()).await?;
    /// }
    /// message.finish().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Sender::send_stream`].
    pub async fn send_stream(&mut self, kind: MessageKind) -> Result<SendStream<'_>, Error> {
        Ok(SendStream::new(self.session().connection.sender().hold().await?, kind))
    }
}

impl Sender {
    /// Begins a message that is sent in pieces, once no other is: one message at a time is.
    ///
    /// Until it is finished, sends of the same connection wait for it, so a task must not wait for such a send before it
    /// finishes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_stream(&self, kind: MessageKind) -> Result<SendStream<'static>, Error> {
        Ok(SendStream::new(self.bytes().hold().await?, kind))
    }
}

impl SendStream<'_> {
    fn new(hold: ExclusiveSender, kind: MessageKind) -> Self {
        let validator = (kind == MessageKind::Text).then(Utf8Validator::new);
        Self { hold, encoder: MessageEncoder::new(kind), validator, finished: false, borrowed: PhantomData }
    }

    /// Waits for space, then queues a piece by copy. A piece of text may end inside a character; an empty one is left out.
    ///
    /// Cancel-safe: dropped before it completes, it has queued nothing.
    ///
    /// # Errors
    /// [`UsageError::NotUtf8`] if the piece cannot continue the text: it is left out, and another may follow. Otherwise as
    /// [`Sender::send`]; the message is then lost.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let validator = self.check(piece)?;
        let Self { hold, encoder, .. } = self;
        if !piece.is_empty() {
            let len = piece.len() + FRAME_HEADER_BYTES_MAX;
            queue(hold, len, || hold.try_append(len, |out| encoder.next(piece).not_final().encode(None, out))).await?;
            self.encoder.advance();
        }
        self.validator = validator;
        Ok(())
    }

    /// The same for a piece that is queued by reference if it is long.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_bytes(&mut self, piece: Bytes) -> Result<(), Error> {
        if piece.len() <= COPY_BYTES_MAX {
            return self.write(&piece).await;
        }
        let validator = self.check(&piece)?;
        let header = self.encoder.next(&piece).not_final().header(None);
        let hold = &self.hold;
        queue(hold, header.len() + piece.len(), || hold.try_append_with(&header, piece.clone())).await?;
        self.encoder.advance();
        self.validator = validator;
        Ok(())
    }

    /// Waits for space, then ends the message.
    ///
    /// # Errors
    /// [`UsageError::NotUtf8`] if text ends inside a character: the connection is closed as if this had not been called.
    /// Otherwise as [`Sender::send`].
    pub async fn finish(mut self) -> Result<(), Error> {
        if self.validator.is_some_and(|validator| !validator.is_complete()) {
            return Err(UsageError::NotUtf8.into());
        }
        let Self { hold, encoder, .. } = &self;
        let last = encoder.next(&[]);
        let len = FRAME_HEADER_BYTES_MAX;
        queue(hold, len, || hold.try_append(len, |out| last.encode(None, out))).await?;
        self.finished = true;
        Ok(())
    }

    /// The validator as it is after `piece`.
    fn check(&self, piece: &[u8]) -> Result<Option<Utf8Validator>, UsageError> {
        let mut validator = self.validator;
        if let Some(validator) = &mut validator {
            validator.push(piece).map_err(|_| UsageError::NotUtf8)?;
        }
        Ok(validator)
    }
}

/// Queues what `try_queue` queues, as soon as there is space for `len` bytes.
async fn queue(
    hold: &ExclusiveSender,
    len: usize,
    try_queue: impl Fn() -> Result<(), SendError>,
) -> Result<(), SendError> {
    loop {
        match try_queue() {
            Err(SendError::Full) => poll_fn(|cx| hold.poll_ready(cx, len)).await?,
            queued => return queued,
        }
    }
}

impl Drop for SendStream<'_> {
    fn drop(&mut self) {
        if !self.finished && self.encoder.is_begun() {
            let frame = CloseFrame::new(CloseCode::INTERNAL_ERROR, "message not finished").ok();
            if let Err(error) = FrameQueue(self.hold.sender()).queue_close(frame.as_ref()) {
                log::debug!("a message was not finished: {error}");
            }
        }
    }
}
