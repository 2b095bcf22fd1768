//! Sending one message in pieces, as they become available (RFC 6455 section 5.4).

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::{Poll, ready};

use bytes::Bytes;
use tidegate_engine::{COPY_BYTES_MAX, ExclusiveSender, SendError};

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::encoding::masking_key_of;
use crate::conn::frame_queue::ControlQueue;
use crate::conn::sender::Sender;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::frame::MessageEncoder;
use crate::limits::FRAME_HEADER_BYTES_MAX;
use crate::message::MessageKind;
use crate::role::Role;
use crate::usage_error::UsageError;
use crate::utf8::Utf8Validator;

/// One message, sent in pieces; see [`Sender::send_stream`].
///
/// Each piece is one frame, uncompressed even where compression was agreed on. Until [`finish`](Self::finish) only
/// control frames come between the pieces: other senders of the connection wait, their `try_` calls return
/// [`Error::Full`], and the messages of hubs follow afterwards, within the bounds of the queue. The size of the message
/// is unbounded but its queued part is not, so [`write`](Self::write) waits for a slow peer.
///
/// A send of the task that holds the stream would wait for itself. It fails at once with [`UsageError::StreamOpen`], as
/// does another stream. The holder is the task that began the stream, then the one that wrote to it last. All branches
/// of a `join!` or `select!` are one task, and so is a thread with all of its calls of
/// [`block_on`](tidegate_engine::block_on).
///
/// A close frame does not wait for the message, whether it is ours, the answer to the peer's, or that of a shutdown. It
/// ends the message where it is, and later calls fail with [`UsageError::CloseSent`]. Messages that hubs sent meanwhile
/// are dropped.
///
/// ```
/// use tidegate_websocket::{self as websocket, MessageKind, WebSocket};
///
/// /// Sends a table as one message, row by row.
/// async fn export(mut ws: WebSocket, rows: Vec<[u32; 3]>) -> websocket::Result {
///     let mut message = ws.send_stream(MessageKind::Text).await?;
///     for [a, b, c] in rows {
///         message.write(format!("{a},{b},{c}\n").as_bytes()).await?;
///     }
///     message.finish().await?;
///     Ok(())
/// }
/// ```
///
/// If the stream is dropped after a piece was sent and before [`finish`](Self::finish), the connection is closed with
/// 1011 and a warning is logged, so the peer does not take a part for the whole. If no piece was sent, nothing happens.
#[derive(Debug)]
#[must_use = "the message ends with `finish`"]
pub struct SendStream<'a> {
    sender: ExclusiveSender,
    role: Role,
    encoder: MessageEncoder,
    validator: Option<Utf8Validator>,
    finished: bool,
    /// The WebSocket, whose sends would wait for this message.
    borrowed: PhantomData<&'a mut ()>,
}

/// # Sending in pieces
impl WebSocket {
    /// Waits for the queue, then begins a message that is sent in pieces. To read meanwhile, use
    /// [`Sender::send_stream`].
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
        let (sender, role) = (self.session().connection.sender(), self.session().closing.role());
        Ok(SendStream::new(sender.exclusive().await?, kind, role))
    }
}

impl Sender {
    /// Waits until no other message is being sent in pieces, then begins one.
    ///
    /// Until it is finished, all other sends of the connection wait, and those of the same task fail (see
    /// [`SendStream`]).
    ///
    /// # Errors
    /// [`UsageError::StreamOpen`] if the same task has a stream open; otherwise as [`send`](Self::send).
    pub async fn send_stream(&self, kind: MessageKind) -> Result<SendStream<'static>, Error> {
        Ok(SendStream::new(self.bytes().exclusive().await?, kind, self.role()))
    }
}

impl SendStream<'_> {
    fn new(sender: ExclusiveSender, kind: MessageKind, role: Role) -> Self {
        let validator = (kind == MessageKind::Text).then(Utf8Validator::new);
        Self { sender, role, encoder: MessageEncoder::new(kind), validator, finished: false, borrowed: PhantomData }
    }

    /// Waits for space, then queues a copy of a piece. A piece of text can end inside a character. An empty piece is
    /// ignored.
    ///
    /// Cancel-safe: dropped before it completes, it has queued nothing.
    ///
    /// # Errors
    /// [`UsageError::NotUtf8`] if the piece cannot continue the text: it is not sent, and another piece can follow.
    /// Otherwise as [`Sender::send`]; the message is then lost.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let validator = self.check(piece)?;
        let Self { sender, role, encoder, .. } = self;
        if !piece.is_empty() {
            let (len, key) = (piece.len() + FRAME_HEADER_BYTES_MAX, masking_key_of(*role));
            let frame = encoder.next(piece).not_final();
            queue(sender, len, |sender| sender.try_append(len, |out| frame.encode(key, out))).await?;
            self.encoder.advance();
        }
        self.validator = validator;
        Ok(())
    }

    /// Waits for space, then queues a piece as [`write`](Self::write) does. A server queues more than 4 KiB by
    /// reference, without a copy; a client, whose frames are masked, copies.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_bytes(&mut self, piece: Bytes) -> Result<(), Error> {
        if piece.len() <= COPY_BYTES_MAX || self.role == Role::Client {
            return self.write(&piece).await;
        }
        let validator = self.check(&piece)?;
        let header = self.encoder.next(&piece).not_final().header(None);
        let len = header.len() + piece.len();
        queue(&mut self.sender, len, |sender| sender.try_append_with(&header, piece.clone())).await?;
        self.encoder.advance();
        self.validator = validator;
        Ok(())
    }

    /// Waits for space, then ends the message.
    ///
    /// # Errors
    /// [`UsageError::NotUtf8`] if text ends inside a character: the connection is closed as if this had not been
    /// called. Otherwise as [`Sender::send`].
    pub async fn finish(mut self) -> Result<(), Error> {
        if self.validator.is_some_and(|validator| !validator.is_complete()) {
            return Err(UsageError::NotUtf8.into());
        }
        let last = self.encoder.next(&[]);
        let (len, key) = (FRAME_HEADER_BYTES_MAX, masking_key_of(self.role));
        queue(&mut self.sender, len, |sender| sender.try_append(len, |out| last.encode(key, out))).await?;
        self.finished = true;
        Ok(())
    }

    /// Returns the state of the validator after `piece`.
    fn check(&self, piece: &[u8]) -> Result<Option<Utf8Validator>, UsageError> {
        let mut validator = self.validator;
        if let Some(validator) = &mut validator {
            validator.push(piece).map_err(|_| UsageError::NotUtf8)?;
        }
        Ok(validator)
    }
}

/// Calls `try_queue` as soon as there is space for `len` bytes.
async fn queue(
    sender: &mut ExclusiveSender,
    len: usize,
    try_queue: impl Fn(&ExclusiveSender) -> Result<(), SendError>,
) -> Result<(), SendError> {
    poll_fn(|cx| {
        sender.enter_task(cx.waker());
        loop {
            match try_queue(sender) {
                Err(SendError::Full) => ready!(sender.poll_ready(cx, len))?,
                queued => return Poll::Ready(queued),
            }
        }
    })
    .await
}

impl Drop for SendStream<'_> {
    fn drop(&mut self) {
        if !self.finished && self.encoder.is_begun() {
            let frame = CloseFrame::new(CloseCode::INTERNAL_ERROR, "message not finished").ok();
            match ControlQueue::new(self.sender.sender(), self.role).queue_close(frame.as_ref()) {
                Ok(()) => {
                    log::warn!("a message in pieces was dropped and closes its connection with 1011: call `finish`")
                }
                Err(error) => log::debug!("a message in pieces was cut by the end of its connection: {error}"),
            }
        }
    }
}
