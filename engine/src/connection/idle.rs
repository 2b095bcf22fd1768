//! A connection between two reads, as small as possible.

use std::fmt;
use std::ops::Deref;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::connection::sender::ByteSender;
use crate::connection::{Connection, is_read_overdue};
use crate::shared::chunk::Chunk;
use crate::shared::command::{CloseMode, Command};
use crate::shared::inbound::End;

/// The writing side in the hands of the connection's owner. Dropping it closes the connection in order.
pub(super) struct HandlerEnd(ByteSender);

impl HandlerEnd {
    pub(super) fn new(sender: ByteSender) -> Self {
        Self(sender)
    }
}

impl Deref for HandlerEnd {
    type Target = ByteSender;

    #[inline]
    fn deref(&self) -> &ByteSender {
        &self.0
    }
}

impl Drop for HandlerEnd {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        let unread = {
            let mut inbound = shared.lock_inbound();
            shared.end_reading();
            inbound.discard()
        };
        drop(unread);
        shared.lock_outbound().expect_end();
        shared.post(Command::Close(shared.key, CloseMode::Orderly));
    }
}

/// A [`Connection`] of which nothing is read at present: one pointer. Dropping it closes the connection as dropping a
/// `Connection` does.
///
/// For owners of very many connections, of which few are active at a time.
///
/// ```
/// use tidegate_engine::{Connection, IdleConnection};
///
/// fn put_aside(connection: Connection) -> IdleConnection {
///     connection.into_idle().unwrap_or_else(|_| panic!("received bytes were not consumed"))
/// }
/// assert_eq!(size_of::<IdleConnection>(), size_of::<usize>());
/// ```
pub struct IdleConnection(HandlerEnd);

impl IdleConnection {
    /// Returns the connection, to be read from.
    #[inline]
    pub fn into_connection(self) -> Connection {
        Connection::of(self.0)
    }

    /// Takes the next chunk, as [`Connection::poll_receive`] does, for protocols that mostly consume whole chunks.
    /// Bytes that are left of it go back with [`Connection::unread`]. `None` if there is something other than a chunk
    /// to learn from [`poll_receive`](Connection::poll_receive). It yields to no other task: the caller must, now and
    /// then.
    #[inline]
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let shared = &self.0.shared;
        // The waker of an endpoint is always the same.
        if shared.is_endpoint() && shared.is_reader_parked() && !is_read_overdue(shared) {
            return Poll::Pending;
        }
        let mut inbound = shared.lock_inbound();
        let Some(chunk) = inbound.pop() else {
            if inbound.end() != End::Open || is_read_overdue(shared) {
                return Poll::Ready(None);
            }
            shared.park_reader(&mut inbound, cx.waker());
            return Poll::Pending;
        };
        let resume = inbound.take_resume(&shared.worker().inbound);
        if inbound.is_empty() && inbound.end() == End::Open {
            // The reader will likely wait next.
            shared.park_reader(&mut inbound, cx.waker());
        }
        drop(inbound);
        if resume {
            shared.post(Command::Resume(shared.key));
        }
        Poll::Ready(Some(chunk))
    }

    /// Sets the read deadline: see [`Connection::set_read_deadline_in`].
    pub fn set_read_deadline_in(&self, duration: Duration) {
        self.0.shared.set_read_deadline_in(duration);
    }

    /// Returns whether a graceful shutdown has begun, as [`Connection::is_draining`] does.
    pub fn is_draining(&self) -> bool {
        self.0.shared.is_draining()
    }

    /// Returns the writing side.
    #[inline]
    pub fn sender(&self) -> &ByteSender {
        &self.0
    }
}

impl Connection {
    /// Returns whether [`buffer`](Self::buffer) is empty: the connection can be put aside.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.unread.is_none()
    }

    /// Puts the connection aside until it is read again.
    ///
    /// # Errors
    /// Returns the connection if [`buffer`](Self::buffer) still has bytes.
    #[inline]
    pub fn into_idle(self) -> Result<IdleConnection, Self> {
        if self.unread.is_some() {
            return Err(self);
        }
        let Self { sender, .. } = self;
        Ok(IdleConnection(sender))
    }
}

impl fmt::Debug for IdleConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleConnection").field("peer", &self.0.peer_addr()).finish_non_exhaustive()
    }
}
