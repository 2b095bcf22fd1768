//! Messages as one stream of bytes, for code that reads streams rather than messages.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::block_on;

use crate::conn::session::{MessagePiece, PiecePayload, Session};
use crate::conn::websocket::WebSocket;
use crate::error::Error;

/// The payloads of all later messages as one stream, each followed by a terminator; see [`WebSocket::byte_stream`].
#[derive(Debug)]
pub struct ByteStream<'a> {
    session: &'a mut Session,
    terminator: Bytes,
    at: At,
}

/// The position in the stream.
#[derive(Debug)]
pub(super) enum At {
    /// Before a message.
    Between,
    /// In a piece of a message, at this byte. The flag marks the last piece.
    Piece(PiecePayload, usize, bool),
    /// Between two pieces of a message.
    Inside,
    /// In the terminator, at this byte.
    Terminator(usize),
    End,
}

/// # Reading all messages as one run of bytes
impl WebSocket {
    /// Reads later messages as one stream of bytes, each followed by `terminator`, which can be empty. Messages are not
    /// assembled: the part that has arrived is read at once, and a message of any size takes no memory.
    ///
    /// If the stream is dropped inside a message, the next read skips the rest of that message.
    ///
    /// ```no_run
    /// # use tidegate_websocket::{Error, WebSocket};
    /// # async fn example(mut ws: WebSocket) -> Result<(), Error> {
    /// let mut lines = ws.byte_stream("\n");
    /// let mut buffer = [0; 4096];
    /// loop {
    ///     match lines.read(&mut buffer).await? {
    ///         0 => break,
    ///         len => println!("{}", buffer[..len].escape_ascii()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn byte_stream(&mut self, terminator: impl Into<Bytes>) -> ByteStream<'_> {
        ByteStream { session: self.session_mut(), terminator: terminator.into(), at: At::Between }
    }
}

#[cfg(any(feature = "tokio", feature = "futures"))]
impl<'a> ByteStream<'a> {
    /// Continues a stream without terminators.
    pub(super) fn resume(ws: &'a mut WebSocket, at: At) -> Self {
        Self { session: ws.session_mut(), terminator: Bytes::new(), at }
    }

    /// Returns the position, to continue from.
    pub(super) fn pause(self) -> At {
        self.at
    }
}

impl<'a> ByteStream<'a> {
    /// Reads into `buffer` and returns the number of bytes; 0 at the end of the messages, or for an empty buffer.
    ///
    /// Cancel-safe: a read that is dropped loses nothing.
    ///
    /// # Errors
    /// As [`recv_stream`](WebSocket::recv_stream) and [`RecvStream::next`](crate::RecvStream::next).
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Reads as [`read`](Self::read) does, for futures written by hand.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        let mut read = 0;
        while read < buffer.len() {
            let bytes = match self.poll_bytes(cx) {
                Poll::Ready(Ok(bytes)) => bytes,
                // The bytes read so far are returned first; the next call finds the same state.
                Poll::Pending if read > 0 => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            };
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len().min(buffer.len() - read);
            buffer[read..read + len].copy_from_slice(&bytes[..len]);
            self.advance(len);
            read += len;
        }
        Poll::Ready(Ok(read))
    }

    /// Returns the stream as [`io::Read`], for code that blocks. Use it on a separate thread, never on a thread of the
    /// engine.
    pub fn into_blocking(self) -> BlockingByteStream<'a> {
        BlockingByteStream { stream: self }
    }

    /// Returns the next bytes; none at the end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        loop {
            self.at = match std::mem::replace(&mut self.at, At::Between) {
                At::Between => match self.session.poll_first_piece(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(first) => first?.map_or(At::End, At::of),
                },
                At::Piece(payload, start, last) if start < self.session.piece_bytes(&payload).len() => {
                    self.at = At::Piece(payload, start, last);
                    break;
                }
                At::Piece(.., true) => At::Terminator(0),
                // The next read consumes its bytes.
                At::Piece(..) | At::Inside => {
                    self.at = At::Inside;
                    At::of(ready!(self.session.poll_next_piece(cx))?)
                }
                At::Terminator(start) if start < self.terminator.len() => {
                    self.at = At::Terminator(start);
                    break;
                }
                At::Terminator(_) => At::Between,
                At::End => {
                    self.at = At::End;
                    break;
                }
            }
        }
        Poll::Ready(Ok(match &self.at {
            At::Piece(payload, start, _) => &self.session.piece_bytes(payload)[*start..],
            At::Terminator(start) => &self.terminator[*start..],
            At::Between | At::Inside | At::End => &[],
        }))
    }

    fn advance(&mut self, len: usize) {
        if let At::Piece(_, start, _) | At::Terminator(start) = &mut self.at {
            *start += len;
        }
    }
}

impl At {
    fn of(piece: MessagePiece) -> Self {
        let MessagePiece { payload, last, .. } = piece;
        Self::Piece(payload, 0, last)
    }
}

/// A [`ByteStream`] whose reads block the calling thread, for code that takes an [`io::Read`].
///
/// ```no_run
/// use std::io::{self, BufRead, BufReader};
/// use tidegate_websocket::WebSocket;
///
/// // To be called on a separate thread.
/// fn print_lines(ws: &mut WebSocket) -> io::Result<()> {
///     for line in BufReader::new(ws.byte_stream("\n").into_blocking()).lines() {
///         println!("{}", line?);
///     }
///     Ok(())
/// }
/// ```
pub struct BlockingByteStream<'a> {
    stream: ByteStream<'a>,
}

impl io::Read for BlockingByteStream<'_> {
    /// A passed read deadline is reported as [`TimedOut`](io::ErrorKind::TimedOut). The source of every error is the
    /// WebSocket's [`Error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        block_on(self.stream.read(buffer)).map_err(io_error)
    }
}

impl fmt::Debug for BlockingByteStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingByteStream").field("stream", &self.stream).finish()
    }
}

/// Returns the error of std for code that reads streams. Its source is the WebSocket's error.
pub(super) fn io_error(error: Error) -> io::Error {
    match error {
        Error::ReadDeadline => io::Error::new(io::ErrorKind::TimedOut, error),
        Error::Incomplete => io::Error::new(io::ErrorKind::UnexpectedEof, error),
        error => io::Error::other(error),
    }
}
