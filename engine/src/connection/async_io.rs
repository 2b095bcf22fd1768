//! Connections as the byte streams of other runtimes (features `tokio` and `futures`).
//!
//! Reads take received bytes, writes append to the outbound queue up to its high mark. A flush does nothing, as that of
//! a socket: queued bytes leave by themselves. Closing sends what is queued and then FIN; receiving continues.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::connection::Connection;
use crate::error::SendError;

/// The most bytes that one write takes: a few sends, so that a large buffer does not wait as a whole.
const WRITE_BYTES_MAX: usize = 64 * 1024;

impl Connection {
    /// Reads into `buffer`. Returns the number of bytes, 0 at the end.
    fn poll_read_bytes(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_fill(cx))?;
        let received = self.buffer();
        let count = received.len().min(buffer.len());
        buffer[..count].copy_from_slice(&received[..count]);
        if count > 0 {
            self.consume(count);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE_BYTES_MAX)];
        loop {
            match self.sender().try_append(bytes.len(), |out| out.extend_from_slice(bytes)) {
                Ok(()) => return Poll::Ready(Ok(bytes.len())),
                // Another sender can take the space in between.
                Err(SendError::Full) => ready!(self.sender().poll_ready(cx, bytes.len()))?,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn poll_close_writing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.sender().is_finished() {
            self.sender().shutdown_write();
        }
        self.sender().poll_flush(cx).map_err(io::Error::from)
    }
}

#[cfg(feature = "tokio")]
mod of_tokio {
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// With the feature `tokio`.
    impl AsyncRead for Connection {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let count = ready!(self.get_mut().poll_read_bytes(cx, into.initialize_unfilled()))?;
            into.advance(count);
            Poll::Ready(Ok(()))
        }
    }

    /// With the feature `tokio`.
    impl AsyncWrite for Connection {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write_bytes(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_close_writing(cx)
        }
    }
}

#[cfg(feature = "futures")]
mod of_futures {
    use futures_io::{AsyncRead, AsyncWrite};

    use super::*;

    /// With the feature `futures`.
    impl AsyncRead for Connection {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_read_bytes(cx, into)
        }
    }

    /// With the feature `futures`.
    impl AsyncWrite for Connection {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write_bytes(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_close_writing(cx)
        }
    }
}
