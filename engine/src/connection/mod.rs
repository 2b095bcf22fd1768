//! A connection as its handler sees it: an asynchronous byte stream. The socket stays with the worker.
//!
//! [`Connection`] is the reading side and the owner; [`ByteSender`] is the writing side, cloneable and usable from any
//! thread. Neither touches a socket: reads pop the bounded inbound buffer, writes append to the bounded outbound queue,
//! and the worker moves the bytes. To upgrade to another protocol, pass the `Connection` on by value.

pub(crate) mod block_on;
pub(crate) mod blocking;
pub(crate) mod exclusive;
pub(crate) mod sender;
pub(crate) mod tcp_info;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;

use crate::address::Address;
use crate::clock::NEVER;
use crate::connection::sender::ByteSender;
use crate::error::ReceiveError;
use crate::shared::ConnShared;
use crate::shared::chunk::Chunk;
use crate::shared::command::{CloseMode, Command, SocketTask};
use crate::shared::inbound::End;
use crate::time::Timer;
use crate::util::sync::Mutex;

/// One accepted connection: its owner and reading side.
///
/// Dropping it closes the connection in order: queued bytes leave first, then FIN. The peer's further input is drained,
/// at most for the linger timeout, so that no reset overtakes the last bytes. [`abort`](Self::abort) resets.
///
/// ```no_run
/// use tidegate_engine::Connection;
///
/// async fn echo(mut connection: Connection) {
///     while let Ok(Some(chunk)) = connection.receive().await {
///         if connection.sender().send(chunk.into_vec()).await.is_err() {
///             break;
///         }
///     }
/// }
/// ```
pub struct Connection {
    sender: ByteSender,
    unread: Option<Chunk>,
    /// The waker left in the inbound buffer, which is the one that polled last.
    waiting: WakerId,
    /// Chunks taken since the reader last waited or yielded.
    turn_chunks: u8,
}

/// Maximum chunks a reader takes in a row before it yields to the other tasks of its thread: a peer that keeps the
/// buffer non-empty must not monopolize the thread. Large enough that yielding costs nothing compared to the work on
/// the chunks.
const TURN_CHUNKS_MAX: u8 = 8;

/// The identity of a waker, without a reference to it.
type WakerId = (usize, usize);

fn id_of(waker: &Waker) -> WakerId {
    (waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
}

impl Connection {
    pub(crate) fn new(shared: Arc<ConnShared>) -> Self {
        Self { sender: ByteSender { shared }, unread: None, waiting: (0, 0), turn_chunks: 0 }
    }

    fn shared(&self) -> &ConnShared {
        &self.sender.shared
    }

    /// Receives the next bytes, in order. Returns `None` at the peer's end of stream, when everything it sent has been
    /// received.
    ///
    /// # Errors
    /// [`ReceiveError::Deadline`] when the read deadline passes first, [`ReceiveError::Closed`] when the connection
    /// failed. Bytes received before the failure are returned first.
    pub async fn receive(&mut self) -> Result<Option<Chunk>, ReceiveError> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// The poll form of [`receive`](Self::receive). The task is woken for received bytes, the end of them, the read
    /// deadline and the start of a graceful shutdown.
    ///
    /// Yields now and then: after several chunks in a row it returns pending once, having woken the task, even if more
    /// chunks are buffered. So no peer can monopolize a thread.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReceiveError>> {
        if let Some(chunk) = self.unread.take() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        let shared = &self.sender.shared;
        if shared.is_reader_parked() && self.waiting == id_of(cx.waker()) && !is_read_overdue(shared) {
            self.turn_chunks = 0;
            return Poll::Pending;
        }
        let mut inbound = shared.inbound.lock();
        if self.turn_chunks == TURN_CHUNKS_MAX && !inbound.is_empty() {
            self.turn_chunks = 0;
            drop(inbound);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(chunk) = inbound.pop() {
            self.turn_chunks += 1;
            let resume = inbound.take_resume(&shared.worker.inbound);
            if inbound.is_empty() && inbound.end() == End::Open {
                // The reader will likely wait next and then need not take the lock again.
                shared.park_reader(&mut inbound, cx.waker());
                self.waiting = id_of(cx.waker());
            }
            drop(inbound);
            if resume {
                shared.post(Command::Resume(shared.key));
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        match inbound.end() {
            End::Eof => return Poll::Ready(Ok(None)),
            End::Failed(cause) => return Poll::Ready(Err(ReceiveError::Closed(cause))),
            End::Open => {}
        }
        // Checked with the lock held: the timer also fires under it, so its wake cannot be lost in between.
        if is_read_overdue(shared) {
            return Poll::Ready(Err(ReceiveError::Deadline));
        }
        self.turn_chunks = 0;
        shared.park_reader(&mut inbound, cx.waker());
        self.waiting = id_of(cx.waker());
        Poll::Pending
    }

    /// Waits until [`buffer`](Self::buffer) holds bytes (`true`) or the stream is over (`false`).
    ///
    /// With [`consume`](Self::consume), a protocol reads in place. Bytes it does not consume stay in the connection,
    /// for its next read or for the next owner of the connection.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ReceiveError>> {
        if self.unread.is_some() {
            return Poll::Ready(Ok(true));
        }
        self.poll_receive(cx).map_ok(|chunk| {
            self.unread = chunk;
            self.unread.is_some()
        })
    }

    /// Returns the unconsumed bytes of the current chunk; empty before [`poll_fill`](Self::poll_fill).
    #[inline]
    pub fn buffer(&mut self) -> &mut [u8] {
        self.unread.as_deref_mut().unwrap_or_default()
    }

    /// Drops the first `count` bytes of [`buffer`](Self::buffer).
    ///
    /// # Panics
    /// If `count` is greater than the buffer's length, a bug of the caller.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        match &mut self.unread {
            Some(chunk) if count < chunk.len() => chunk.advance(count),
            unread => {
                let len = unread.as_ref().map_or(0, |chunk| chunk.len());
                assert!(count == len, "cannot consume {count} bytes of a buffer of {len}");
                *unread = None;
            }
        }
    }

    /// Takes `range` of [`buffer`](Self::buffer) and drops the bytes before it. The bytes are copied unless they end
    /// the buffer and fill at least half of its memory, so the result never keeps more than twice its size. That memory
    /// can be a leased receive buffer; a worker never leases all of them.
    ///
    /// # Panics
    /// If `range` is not inside the buffer, a bug of the caller.
    pub fn take_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.try_take_bytes(range.clone()).unwrap_or_else(|| {
            let bytes = Bytes::copy_from_slice(&self.buffer()[range.clone()]);
            self.consume(range.end);
            bytes
        })
    }

    /// As [`take_bytes`](Self::take_bytes), but returns `None` instead of copying.
    pub fn try_take_bytes(&mut self, range: Range<usize>) -> Option<Bytes> {
        let takes = |chunk: &mut Chunk| range.end == chunk.len() && 2 * range.len() >= chunk.held_bytes();
        let mut chunk = self.unread.take_if(takes)?;
        chunk.advance(range.start);
        Some(chunk.into_bytes())
    }

    /// Puts bytes back in front: the next [`receive`](Self::receive) returns them first. A protocol hands over the
    /// bytes beyond its own end this way, such as those after an upgrade request.
    pub fn unread(&mut self, chunk: Chunk) {
        if chunk.is_empty() {
            return;
        }
        self.unread = Some(match self.unread.take() {
            None => chunk,
            Some(later) => {
                let mut joined = chunk.into_vec();
                joined.extend_from_slice(&later);
                Chunk::from(joined)
            }
        });
    }

    /// Returns the writing side.
    pub fn sender(&self) -> &ByteSender {
        &self.sender
    }

    /// Returns the peer's address. It is captured at accept and stays available.
    pub fn peer_addr(&self) -> Address {
        self.shared().peer
    }

    /// Returns the local address that the peer connected to.
    pub fn local_addr(&self) -> Address {
        *self.shared().local
    }

    /// Sets the read deadline: from then on, [`receive`](Self::receive) fails with [`ReceiveError::Deadline`] while
    /// nothing is buffered. `None` (the default) waits without limit. Cheap enough to renew for each message.
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        let shared = self.shared();
        shared.set_deadline(&shared.deadlines.read, deadline.map_or(NEVER, |d| shared.worker.clock.tick_of(d)));
    }

    /// Sets the read deadline to `timeout` from now. See [`set_read_deadline`](Self::set_read_deadline).
    pub fn set_read_deadline_in(&self, timeout: Duration) {
        let shared = self.shared();
        shared.set_deadline(&shared.deadlines.read, shared.worker.clock.tick_from_now(timeout));
    }

    /// Sets the write deadline: if bytes are still queued then, the connection is closed with
    /// [`CloseCause::WriteDeadline`](crate::CloseCause::WriteDeadline), whatever its handler is doing. Default: `None`.
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        self.sender.set_write_deadline(deadline);
    }

    /// Closes the connection with [`CloseCause::WriteDeadline`](crate::CloseCause::WriteDeadline) when its peer takes
    /// none of the queued bytes for `timeout`. Set once, it applies to every send and costs nothing while nothing is
    /// queued. It is independent of [`set_write_deadline`](Self::set_write_deadline). Default: `None`.
    ///
    /// Progress is noticed when the kernel has taken a whole batch of queued bytes (under 512 KiB), so a peer must take
    /// that much within `timeout`.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.shared().set_stall(timeout);
    }

    /// Closes the connection with [`CloseCause::IdleTimeout`](crate::CloseCause::IdleTimeout) when nothing is received
    /// for `timeout`. Time during which receiving is paused for backpressure counts as activity, and the peer's end of
    /// stream ends the timeout. Default: `None`.
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.shared().set_idle(timeout);
    }

    /// Closes the connection with [`CloseCause::Lifetime`](crate::CloseCause::LifetimeDeadline) at `deadline`, however active
    /// it is. Default: `None`.
    pub fn set_lifetime_deadline(&self, deadline: Option<Instant>) {
        let shared = self.shared();
        shared.set_deadline(&shared.deadlines.lifetime, deadline.map_or(NEVER, |d| shared.worker.clock.tick_of(d)));
    }

    /// Returns whether a graceful shutdown has begun: finish the work in progress and drop the connection.
    pub fn is_draining(&self) -> bool {
        self.shared().is_draining()
    }

    /// Waits until a graceful shutdown has begun or the connection has failed. Wakes the task that last polled this or
    /// [`poll_receive`](Self::poll_receive).
    pub fn poll_draining(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inbound = self.sender.shared.inbound.lock();
        // A failed connection gets no further notification.
        if self.is_draining() || matches!(inbound.end(), End::Failed(_)) {
            return Poll::Ready(());
        }
        inbound.set_waker(cx.waker());
        self.waiting = id_of(cx.waker());
        Poll::Pending
    }

    /// Sets the farewell: bytes that the engine queues as the last ones of this connection when a graceful shutdown
    /// begins, even while the handler is busy. Later sends fail with
    /// [`SendError::Finished`](crate::SendError::Finished). Default: empty, for no farewell.
    pub fn set_farewell(&self, bytes: &'static [u8]) {
        let schedule = self.shared().end_outbound(|outbound| {
            outbound.set_farewell(bytes);
            // A shutdown that began before the farewell was set still sends it.
            self.is_draining().then(|| outbound.queue_farewell())
        });
        if let Some(schedule) = schedule {
            self.shared().notify(schedule);
        }
    }

    /// Returns the timer of this connection's worker.
    pub fn timer(&self) -> Timer {
        Timer::new(Arc::clone(&self.shared().worker))
    }

    /// Runs `task` on the connection's socket, on its worker's thread, and returns its result. Gives access to socket
    /// options and the kernel's TCP state on every engine. The task must not block, and must not read, write or shut
    /// down.
    ///
    /// # Errors
    /// `NotConnected` if the connection is closed by then; otherwise the error of `task`.
    ///
    /// ```no_run
    /// # async fn example(connection: tidegate_engine::Connection) -> std::io::Result<()> {
    /// connection.with_socket(|socket| socket.set_send_buffer_size(1 << 20)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn with_socket<T: Send + 'static>(
        &self,
        task: impl FnOnce(SockRef<'_>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let slot = Arc::new(Mutex::new(SocketAnswer { answer: None, waker: None }));
        let fill = Arc::clone(&slot);
        let answer: SocketTask = Box::new(move |socket| {
            // A panic in the task must not end the worker and its other connections.
            let answer = catch_unwind(AssertUnwindSafe(|| socket.and_then(task)))
                .unwrap_or_else(|_| Err(io::Error::other("the task on the socket panicked")));
            let mut slot = fill.lock();
            slot.answer = Some(answer);
            if let Some(waker) = slot.waker.take() {
                drop(slot);
                waker.wake();
            }
        });
        self.shared().post(Command::Socket(self.shared().key, answer));
        poll_fn(move |cx| {
            let mut slot = slot.lock();
            match slot.answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    slot.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Resets the connection at once. Queued bytes are dropped.
    pub fn abort(self) {
        self.sender.abort();
    }

    /// Returns the number of bytes received and not yet read by the handler.
    pub fn inbound_bytes(&self) -> usize {
        self.shared().inbound.lock().bytes() as usize + self.unread.as_ref().map_or(0, |chunk| chunk.len())
    }

    /// Returns whether receiving is paused because the inbound buffer reached its high mark.
    pub fn is_paused(&self) -> bool {
        self.shared().inbound.lock().is_paused()
    }

    /// Returns how often receiving was paused.
    pub fn pauses_total(&self) -> u32 {
        self.shared().inbound.lock().pauses()
    }
}

fn is_read_overdue(shared: &ConnShared) -> bool {
    shared.deadlines.read.load(Ordering::Relaxed) <= shared.worker.clock.now()
}

struct SocketAnswer<T> {
    answer: Option<io::Result<T>>,
    waker: Option<Waker>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let shared = self.shared();
        shared.inbound.lock().discard();
        shared.outbound.lock().expect_end();
        shared.post(Command::Close(shared.key, CloseMode::Orderly));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("key", &self.shared().key).field("peer", &self.peer_addr()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
