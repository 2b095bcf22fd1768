//! WebSockets as the byte streams of other runtimes (features `tokio` and `futures`).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tidegate_engine::{CloseCause, SendError};

use super::byte_stream::{At, ByteStream, io_error};
use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::websocket::WebSocket;
use crate::error::Error;
use crate::message::Message;

/// The most bytes that one write sends as a message.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// A WebSocket as one stream of bytes in each direction, for protocols that run inside one.
///
/// Reads give the payloads of all messages one after another, each as soon as it has arrived. Each write is sent as one
/// binary message of up to 64 KiB, and waits while the outbound queue is full. A flush does nothing: messages leave by
/// themselves. Closing sends close 1000, unless a close frame was sent, and waits until it has left.
///
/// It implements `AsyncRead` and `AsyncWrite` of tokio with the feature `tokio`, and those of the futures crates with
/// the feature `futures`.
///
/// ```
/// # #[cfg(feature = "futures")]
/// # fn example() -> tidegate_websocket::Upgrade {
/// use futures_util::io::{AsyncReadExt, copy};
/// use tidegate_websocket::upgrade;
///
/// upgrade(async |ws| {
///     let (read, mut write) = ws.into_byte_io().split();
///     copy(read, &mut write).await?;
///     Ok(())
/// })
/// # }
/// ```
pub struct ByteIo {
    ws: WebSocket,
    at: At,
}

impl WebSocket {
    /// Returns the WebSocket as one stream of bytes in each direction; see [`ByteIo`].
    pub fn into_byte_io(self) -> ByteIo {
        ByteIo { ws: self, at: At::Between }
    }
}

impl ByteIo {
    /// Returns the WebSocket. The rest of a message that was read in part is skipped by the next read.
    pub fn into_inner(self) -> WebSocket {
        self.ws
    }

    fn poll_read_bytes(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let at = std::mem::replace(&mut self.at, At::Between);
        let mut stream = ByteStream::resume(&mut self.ws, at);
        let polled = stream.poll_read(cx, into);
        self.at = stream.pause();
        polled.map_err(io_error)
    }

    fn poll_write_message(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES_MAX)];
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let writer = self.ws.session_mut().writer();
        loop {
            ready!(writer.queue.poll_ready(cx, bytes.len()))?;
            match writer.try_send(&Message::Binary(Bytes::copy_from_slice(bytes))) {
                // Another sender has taken the space.
                Err(SendError::Full) => continue,
                sent => return Poll::Ready(sent.map(|()| bytes.len()).map_err(io::Error::from)),
            }
        }
    }

    fn poll_close_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writer = self.ws.session_mut().writer();
        let frame = CloseFrame::new(CloseCode::NORMAL, "").ok();
        match writer.control().queue_close(frame.as_ref()).map_err(Error::from) {
            Err(error) if !error.is_close_sent() && !is_over(&error) => return Poll::Ready(Err(io_error(error))),
            _ => {}
        }
        match ready!(writer.queue.0.poll_flush(cx)) {
            Ok(()) | Err(SendError::Closed(CloseCause::Dropped)) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

/// Whether the closing handshake has ended before.
fn is_over(error: &Error) -> bool {
    matches!(error, Error::Closed(CloseCause::Dropped))
}

impl fmt::Debug for ByteIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteIo").field("ws", &self.ws).finish_non_exhaustive()
    }
}

#[cfg(feature = "tokio")]
mod of_tokio {
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    impl AsyncRead for ByteIo {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let count = ready!(self.get_mut().poll_read_bytes(cx, into.initialize_unfilled()))?;
            into.advance(count);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for ByteIo {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write_message(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_close_frame(cx)
        }
    }
}

#[cfg(feature = "futures")]
mod of_futures {
    use futures_io::{AsyncRead, AsyncWrite};

    use super::*;

    impl AsyncRead for ByteIo {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_read_bytes(cx, into)
        }
    }

    impl AsyncWrite for ByteIo {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write_message(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_close_frame(cx)
        }
    }
}
