//! Several writes with nothing in between.
//!
//! An [`ExclusiveSender`] reserves a connection's outbound queue for one sender, for data that a protocol sends in
//! parts over time.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::connection::sender::ByteSender;
use crate::error::SendError;
use crate::shared::outbound::enqueue;
use crate::shared::waiters::{WakerId, id_of};

/// Exclusive use of a connection's outbound queue, until dropped: for a message that is sent in parts, with nothing in
/// between. [`ByteSender::exclusive`] creates it.
///
/// While it lives, [`ByteSender::send`] of other senders waits, and their `try_` calls fail with [`SendError::Full`].
/// Fan-out messages follow at the end, within the bounds of the queue. Three things do not wait:
/// [`ByteSender::try_append_interleaved`] and [`ByteSender::append`], for bytes that can stand between parts, and the
/// last bytes ([`ByteSender::append_last`], the farewell of a shutdown), which end the exclusive use: further parts
/// then fail with [`SendError::Finished`].
///
/// The task that holds it must not wait for another send of the connection, which could only follow: such a send, and
/// another exclusive use, fail with [`SendError::HeldByCaller`]. Tasks are told apart by their wakers, and each thread
/// that calls [`block_on`](crate::block_on) is one. The holder is the task that began it, until another one calls
/// [`enter_task`](Self::enter_task).
///
/// ```no_run
/// # use tidegate_engine::{Connection, SendError};
/// # async fn example(connection: &Connection) -> Result<(), SendError> {
/// let exclusive = connection.sender().exclusive().await?;
/// for part in [&b"one "[..], b"thing"] {
///     std::future::poll_fn(|cx| exclusive.poll_ready(cx, part.len())).await?;
///     exclusive.try_append(part.len(), |out| out.extend_from_slice(part))?;
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends the exclusive use"]
pub struct ExclusiveSender {
    sender: ByteSender,
    /// The task that holds it.
    task: WakerId,
}

/// # Exclusive use
impl ByteSender {
    /// Waits for exclusive use of the queue. See [`ExclusiveSender`]. Senders that wait get it in no particular order.
    ///
    /// # Errors
    /// As [`send`](Self::send): [`SendError::HeldByCaller`] if the same task has it already.
    pub async fn exclusive(&self) -> Result<ExclusiveSender, SendError> {
        poll_fn(|cx| self.poll_exclusive(cx)).await
    }

    fn poll_exclusive(&self, cx: &mut Context<'_>) -> Poll<Result<ExclusiveSender, SendError>> {
        let mut outbound = self.shared.lock_outbound();
        if outbound.begin_exclusive(Some(cx.waker()))? {
            return Poll::Ready(Ok(ExclusiveSender { sender: self.clone(), task: id_of(cx.waker()) }));
        }
        outbound.add_waker(cx.waker());
        Poll::Pending
    }

    /// Works as [`try_append`](Self::try_append), but also succeeds during another sender's exclusive use: for bytes
    /// that can stand between its parts, such as control frames.
    ///
    /// # Errors
    /// As [`try_append`](Self::try_append).
    pub fn try_append_interleaved(&self, len: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        self.queue(|outbound, marks| {
            outbound.check_space_exclusive(len, marks)?;
            Ok(outbound.append_encoded(encode))
        })
    }

    /// Waits until [`try_append_interleaved`](Self::try_append_interleaved) has space for `len` bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn poll_ready_interleaved(&self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), SendError>> {
        self.poll_space(cx, |outbound, marks, _| outbound.check_space_exclusive(len, marks))
    }
}

impl ExclusiveSender {
    /// Makes the task of `waker` the holder, if it is not. To be called when the value has moved to another task.
    #[inline]
    pub fn enter_task(&mut self, waker: &Waker) {
        let task = id_of(waker);
        if self.task != task {
            self.task = task;
            self.sender.shared.lock_outbound().pass_exclusive(waker);
        }
    }

    /// Waits until `len` more bytes can be queued. The bounds of the queue apply to exclusive use too.
    ///
    /// # Errors
    /// As [`ByteSender::send`].
    pub fn poll_ready(&self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), SendError>> {
        self.sender.poll_ready_interleaved(cx, len)
    }

    /// Queues the next part. See [`ByteSender::try_append`].
    ///
    /// # Errors
    /// As [`ByteSender::try_append`].
    pub fn try_append(&self, len: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        self.sender.try_append_interleaved(len, encode)
    }

    /// Queues the next part as a head and a payload. See [`ByteSender::try_append_with`].
    ///
    /// # Errors
    /// As [`ByteSender::try_append`].
    pub fn try_append_with(&self, head: &[u8], mut payload: Bytes) -> Result<(), SendError> {
        self.sender.queue(|outbound, marks| {
            outbound.check_space_exclusive(head.len() + payload.len(), marks)?;
            Ok(enqueue(outbound, head, &mut payload))
        })
    }

    /// Returns the sender that created this. Its own sends wait like those of all others.
    pub fn sender(&self) -> &ByteSender {
        &self.sender
    }
}

impl Drop for ExclusiveSender {
    fn drop(&mut self) {
        let (schedule, waiting) = self.sender.shared.lock_outbound().end_exclusive();
        self.sender.shared.notify(schedule);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for ExclusiveSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExclusiveSender").field("sender", &self.sender).finish()
    }
}
