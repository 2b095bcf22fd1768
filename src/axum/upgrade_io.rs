//! The transport of the hyper that accompanies an upgrade: first constant bytes, then the connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::AsyncWrite;

use crate::engine::Connection;

/// The request that makes hyper offer an upgrade.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: any\r\n\r\n";

/// The end of hyper's answer to it.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A transport that is a constant request until the real connection is handed over.
pub(super) struct UpgradeIo {
    /// The part of the request that was read.
    requested: usize,
    /// The part of the end of hyper's answer that was seen. The answer is discarded.
    head_end: usize,
    place: Arc<Place>,
    connection: Option<Connection>,
}

/// The way of a connection from its task to the transport, which can be on another thread.
#[derive(Default)]
struct Place(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    connection: Option<Connection>,
    /// Whether no connection will come.
    lost: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands the connection over. If it is dropped before, the transport fails.
pub(super) struct Handover(Arc<Place>);

impl Handover {
    pub(super) fn complete(self, connection: Connection) {
        self.0.lock().connection = Some(connection);
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let wakers = {
            let mut contents = self.0.lock();
            contents.lost = contents.connection.is_none();
            [contents.reader.take(), contents.writer.take()]
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl UpgradeIo {
    pub(super) fn new() -> (UpgradeIo, Handover) {
        let place = Arc::<Place>::default();
        let io = UpgradeIo { requested: 0, head_end: 0, place: Arc::clone(&place), connection: None };
        (io, Handover(place))
    }

    /// Waits for the connection.
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
        waker: fn(&mut Contents) -> &mut Option<Waker>,
    ) -> Poll<io::Result<&mut Connection>> {
        if self.connection.is_none() {
            let mut contents = self.place.lock();
            self.connection = contents.connection.take();
            if self.connection.is_none() && contents.lost {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if self.connection.is_none() {
                *waker(&mut contents) = Some(cx.waker().clone());
            }
        }
        match &mut self.connection {
            Some(connection) => Poll::Ready(Ok(connection)),
            None => Poll::Pending,
        }
    }

    /// Discards bytes of hyper's answer. Returns how many, `None` once the answer is over.
    fn discard(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.head_end == HEAD_END.len() {
            return None;
        }
        for (at, byte) in bytes.iter().enumerate() {
            self.head_end = match *byte == HEAD_END[self.head_end] {
                true => self.head_end + 1,
                false => usize::from(*byte == HEAD_END[0]),
            };
            if self.head_end == HEAD_END.len() {
                return Some(at + 1);
            }
        }
        Some(bytes.len())
    }
}

impl Read for UpgradeIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.requested < REQUEST.len() {
            let rest = &REQUEST[this.requested..];
            let count = rest.len().min(into.remaining());
            into.put_slice(&rest[..count]);
            this.requested += count;
            return Poll::Ready(Ok(()));
        }
        let connection = ready!(this.poll_connection(cx, |contents| &mut contents.reader))?;
        match connection.poll_fill(cx) {
            // A graceful shutdown ends the stream, so that the application ends its WebSocket.
            Poll::Pending if connection.is_draining() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_)) => {
                let bytes = connection.buffer();
                let count = bytes.len().min(into.remaining());
                into.put_slice(&bytes[..count]);
                connection.consume(count);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
        }
    }
}

impl Write for UpgradeIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(discarded) = self.discard(bytes) {
            return Poll::Ready(Ok(discarded));
        }
        let connection = ready!(self.poll_connection(cx, |contents| &mut contents.writer))?;
        Pin::new(connection).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.connection {
            Some(connection) => Pin::new(connection).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.connection {
            Some(connection) => Pin::new(connection).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
