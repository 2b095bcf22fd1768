//! Messages as one run of bytes, for what reads streams and knows no messages.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::block_on;

use crate::conn::session::{MessagePiece, PiecePayload, Session};
use crate::conn::websocket::WebSocket;
use crate::error::Error;

/// The payloads of all messages to come, one after the other, each followed by a terminator; see [`WebSocket::joined`].
#[derive(Debug)]
pub struct Joined<'a> {
    session: &'a mut Session,
    terminator: Bytes,
    at: At,
}

/// What is read next.
#[derive(Debug)]
enum At {
    /// A message.
    Between,
    /// The piece of a message from this byte on; is it the last?
    Piece(PiecePayload, usize, bool),
    /// More of a message.
    Inside,
    /// The terminator from this byte on.
    Terminator(usize),
    End,
}

impl WebSocket {
    /// Reads the messages to come as one run of bytes, each message followed by `terminator`, which may be empty. Messages are not
    /// gathered: what has come of one is read at once, and one of any size takes no memory.
    ///
    /// Dropped inside a message, the rest of that message is skipped by the next read.
    ///
    /// ```no_run
    /// # use tidegate_websocket::{Error, WebSocket};
    /// # async fn example(mut ws: WebSocket) -> Result<(), Error> {
    /// let mut lines = ws.joined("\n");
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
    pub fn joined(&mut self, terminator: impl Into<Bytes>) -> Joined<'_> {
        Joined { session: self.session_mut(), terminator: terminator.into(), at: At::Between }
    }
}

impl<'a> Joined<'a> {
    /// Reads into `buffer` and says how many bytes; 0 is the end of the messages, or an empty buffer.
    ///
    /// Cancel-safe: dropped before it completes, it has read nothing.
    ///
    /// # Errors
    /// As [`recv_stream`](WebSocket::recv_stream) and [`RecvStream::next`](crate::RecvStream::next).
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// The poll form of [`read`](Self::read).
    ///
    /// # Errors
    /// As there.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, Error>> {
        let mut read = 0;
        while read < buffer.len() {
            let bytes = match self.poll_bytes(cx) {
                Poll::Ready(Ok(bytes)) => bytes,
                // What was read before is given first; both are said again when they are asked for again.
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

    /// The same for code that blocks, as [`io::Read`]. For a thread of the handler's own; never for one of the engine's.
    pub fn into_blocking(self) -> BlockingJoined<'a> {
        BlockingJoined { joined: self }
    }

    /// What is there to be read; empty at the end.
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
                // The next read drops its bytes.
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

/// A [`Joined`] whose reads block the present thread.
pub struct BlockingJoined<'a> {
    joined: Joined<'a>,
}

impl io::Read for BlockingJoined<'_> {
    /// A read deadline that has passed is [`TimedOut`](io::ErrorKind::TimedOut); the source of every error is the
    /// WebSocket's [`Error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        block_on(self.joined.read(buffer)).map_err(|error| match error {
            Error::ReadDeadline => io::Error::new(io::ErrorKind::TimedOut, error),
            Error::Incomplete => io::Error::new(io::ErrorKind::UnexpectedEof, error),
            error => io::Error::other(error),
        })
    }
}

impl fmt::Debug for BlockingJoined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingJoined").field("joined", &self.joined).finish()
    }
}
