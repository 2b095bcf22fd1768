//! A connection as its handler sees it: an asynchronous byte stream. The socket stays with the worker.
//!
//! [`Connection`] is the reading side and the owner; [`ByteSender`] is the writing side, cloneable and usable from any
//! thread. Neither touches a socket: reads pop the bounded inbound buffer, writes append to the bounded outbound queue,
//! and the worker moves the bytes. To upgrade to another protocol, pass the `Connection` on by value.

#[cfg(any(feature = "tokio", feature = "futures"))]
mod async_io;
pub(crate) mod block_on;
pub(crate) mod blocking;
mod deadlines;
pub(crate) mod exclusive;
pub(crate) mod filling;
pub(crate) mod gathering;
pub(crate) mod idle;
pub(crate) mod sender;
mod socket;

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use crate::address::Address;
use crate::connection::idle::HandlerEnd;
use crate::connection::sender::ByteSender;
use crate::error::ReceiveError;
use crate::shared::chunk::Chunk;
use crate::shared::command::Command;
use crate::shared::inbound::End;
use crate::shared::{ConnShared, LocalEnd};
use crate::time::Timer;

/// One connection, accepted or opened with [`connect`](crate::connect()): its owner and its reading side.
///
/// The writing side is its [`sender`](Self::sender). No call touches the socket: reads pop a bounded buffer that the
/// worker fills, writes append to a bounded queue that the worker sends.
///
/// | Group | Methods | Order |
/// |---|---|---|
/// | Reading chunks | [`receive`](Self::receive), [`poll_receive`](Self::poll_receive) | until `None` or an error |
/// | Reading in place | [`poll_fill`](Self::poll_fill), then [`buffer`](Self::buffer), then [`consume`](Self::consume) or [`take_bytes`](Self::take_bytes) | in this order, in a loop; mixes with `receive` |
/// | Reading into memory | [`poll_fill_into`](Self::poll_fill_into), then [`take_filled`](Self::take_filled) | in this order; for large messages |
/// | Handing over | [`unread`](Self::unread), then pass the connection on by value | before the next read |
/// | Writing | [`sender`](Self::sender), see [`ByteSender`] | at any time |
/// | Deadlines | `set_*_deadline`: an instant that fires once. `set_*_timeout`: a duration that applies until changed | at any time |
/// | Shutdown | [`set_farewell`](Self::set_farewell), [`is_draining`](Self::is_draining), [`poll_draining`](Self::poll_draining) | the farewell first |
/// | Socket | [`with_socket`](Self::with_socket), [`tcp_info`](Self::tcp_info) | while open |
/// | Ending | drop, or [`abort`](Self::abort) | last |
///
/// Dropping it closes the connection in order: queued bytes are sent first
/// ([`Config::flush_timeout`](crate::Config::flush_timeout) bounds that), then FIN. The peer's further input is then
/// dropped until its FIN, at most for [`Config::linger_timeout`](crate::Config::linger_timeout), so that no reset
/// overtakes the last bytes. [`abort`](Self::abort) resets at once.
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
///
/// Reading in place suits parsers: bytes that are not consumed stay for the next read or the next owner.
///
/// ```no_run
/// use std::future::poll_fn;
/// use tidegate_engine::{Connection, ReceiveError};
///
/// /// Skips one line. Returns whether there was one.
/// async fn skip_line(connection: &mut Connection) -> Result<bool, ReceiveError> {
///     while poll_fn(|cx| connection.poll_fill(cx)).await? {
///         let bytes = connection.buffer();
///         let (len, newline) = (bytes.len(), bytes.iter().position(|byte| *byte == b'\n'));
///         connection.consume(newline.map_or(len, |at| at + 1));
///         if newline.is_some() {
///             return Ok(true);
///         }
///     }
///     Ok(false)
/// }
/// ```
pub struct Connection {
    sender: HandlerEnd,
    unread: Option<Chunk>,
}

// One of these exists for each of very many idle connections.
#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = assert!(size_of::<Connection>() <= 32);

/// Maximum chunks a reader takes in a row before it yields to the other tasks of its thread: a peer that keeps the
/// buffer non-empty must not monopolize the thread. Large enough that yielding costs nothing compared to the work on
/// the chunks.
const TURN_CHUNKS_MAX: u8 = 8;

impl Connection {
    pub(crate) fn new(shared: Arc<ConnShared>) -> Self {
        Self::of(HandlerEnd::new(ByteSender { shared }))
    }

    fn of(sender: HandlerEnd) -> Self {
        sender.shared.turn_chunks.store(0, Ordering::Relaxed);
        Self { sender, unread: None }
    }

    fn shared(&self) -> &ConnShared {
        &self.sender.shared
    }
}

/// # Reading chunks
impl Connection {
    /// Receives the next bytes, in order. Returns `None` at the peer's end of stream, when everything it sent has been
    /// received.
    ///
    /// # Errors
    /// [`ReceiveError::Deadline`] when the read deadline passes first, [`ReceiveError::Closed`] when the connection
    /// failed. Bytes received before the failure are returned first.
    pub async fn receive(&mut self) -> Result<Option<Chunk>, ReceiveError> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Polls [`receive`](Self::receive). The task is woken when bytes arrive, the stream ends, the read deadline
    /// passes, or a graceful shutdown begins. After 8 chunks in a row it wakes the task and returns `Pending` once, so
    /// that a fast peer cannot monopolize the thread.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, ReceiveError>> {
        if let Some(chunk) = self.unread.take() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        let shared = &self.sender.shared;
        if shared.is_reader_parked_in(cx.waker()) && !is_read_overdue(shared) {
            shared.turn_chunks.store(0, Ordering::Relaxed);
            return Poll::Pending;
        }
        let turn_chunks = shared.turn_chunks.load(Ordering::Relaxed);
        let mut inbound = shared.lock_inbound();
        if turn_chunks == TURN_CHUNKS_MAX && !inbound.is_empty() {
            shared.turn_chunks.store(0, Ordering::Relaxed);
            drop(inbound);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(chunk) = inbound.pop() {
            shared.turn_chunks.store(turn_chunks + 1, Ordering::Relaxed);
            let resume = inbound.take_resume(&shared.worker().inbound);
            if inbound.is_empty() && inbound.end() == End::Open {
                // The reader will likely wait next and then need not take the lock again.
                shared.park_reader(&mut inbound, cx.waker());
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
            End::Open | End::Held | End::Filling => {}
        }
        // Checked with the lock held: the timer also fires under it, so its wake cannot be lost in between.
        if is_read_overdue(shared) {
            return Poll::Ready(Err(ReceiveError::Deadline));
        }
        shared.turn_chunks.store(0, Ordering::Relaxed);
        let released = inbound.release();
        shared.park_reader(&mut inbound, cx.waker());
        drop(inbound);
        if released {
            shared.post(Command::Release(shared.key));
        }
        Poll::Pending
    }
}

/// # Reading in place
impl Connection {
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

    /// Returns [`buffer`](Self::buffer) and the [writing side](Self::sender), to answer what is being read.
    #[inline]
    pub fn buffer_and_sender(&mut self) -> (&mut [u8], &ByteSender) {
        (self.unread.as_deref_mut().unwrap_or_default(), &self.sender)
    }

    /// Drops the first `count` bytes of [`buffer`](Self::buffer).
    ///
    /// # Panics
    /// If `count` is greater than the buffer's length, a bug in the caller.
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
    /// If `range` is not inside the buffer, a bug in the caller.
    pub fn take_bytes(&mut self, range: Range<usize>) -> Bytes {
        self.try_take_bytes(range.clone()).unwrap_or_else(|| {
            let bytes = Bytes::copy_from_slice(&self.buffer()[range.clone()]);
            self.consume(range.end);
            bytes
        })
    }

    /// Works as [`take_bytes`](Self::take_bytes), but returns `None` instead of copying.
    pub fn try_take_bytes(&mut self, range: Range<usize>) -> Option<Bytes> {
        let takes = |chunk: &mut Chunk| range.end == chunk.len() && 2 * range.len() >= chunk.held_bytes();
        let mut chunk = self.unread.take_if(takes)?;
        chunk.advance(range.start);
        Some(chunk.into_bytes())
    }
}

/// # Handing over, writing, addresses
impl Connection {
    /// Puts bytes back in front: the next [`receive`](Self::receive) returns them first. For bytes that belong to the
    /// next protocol, such as those after an upgrade request.
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

    /// Returns whether a chunk is being read in place.
    #[cfg(feature = "tls")]
    pub(crate) fn has_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// Returns the writing side.
    pub fn sender(&self) -> &ByteSender {
        &self.sender
    }

    /// Returns the peer's address. It is captured when the connection is opened and stays available.
    pub fn peer_addr(&self) -> Address {
        self.shared().peer()
    }

    /// Returns the local address: the one that the peer connected to, or from which this side has connected.
    pub fn local_addr(&self) -> Address {
        self.shared().local.address
    }

    /// Returns what the TLS handshake of the connection agreed on; `None` without TLS. Needs the feature `tls`.
    #[cfg(feature = "tls")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "tls")))]
    pub fn tls(&self) -> Option<&crate::tls::TlsInfo> {
        self.shared().tls()
    }

    /// Returns the number of the listener that accepted the connection, from 0 in the order in which the addresses and
    /// sockets were given to the engine: see [`Engine::bound_listeners`](crate::Engine::bound_listeners). `usize::MAX`
    /// if it was not accepted.
    pub fn listener(&self) -> usize {
        self.shared().local.listener
    }

    /// Returns whether this side has connected ([`connect`](crate::connect())), and not the peer.
    pub fn is_outbound(&self) -> bool {
        self.listener() == LocalEnd::OUTBOUND
    }
}

/// # Shutdown and ending
impl Connection {
    /// Returns whether a graceful shutdown has begun: finish the work in progress and drop the connection.
    pub fn is_draining(&self) -> bool {
        self.shared().is_draining()
    }

    /// Waits until a graceful shutdown has begun or the connection has failed. Wakes the task that last polled this or
    /// [`poll_receive`](Self::poll_receive).
    pub fn poll_draining(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = &self.sender.shared;
        let mut inbound = shared.lock_inbound();
        // A failed connection gets no further notification.
        if self.is_draining() || matches!(inbound.end(), End::Failed(_)) {
            return Poll::Ready(());
        }
        shared.set_reader(&mut inbound, cx.waker());
        Poll::Pending
    }

    /// Waits until the peer has ended its side (FIN) or the connection has failed, even if bytes before the FIN are
    /// still unread. Reads nothing. Wakes the task that last polled this or [`poll_receive`](Self::poll_receive).
    pub fn poll_peer_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_end(cx, true)
    }

    /// As [`poll_peer_end`](Self::poll_peer_end), but waits for a failure only and ignores a FIN: a peer that sent FIN
    /// can still be waiting for an answer.
    pub fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_end(cx, false)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, at_fin: bool) -> Poll<()> {
        let shared = &self.sender.shared;
        if shared.is_reader_parked_in(cx.waker()) {
            return Poll::Pending;
        }
        if shared.is_finished() && shared.lock_outbound().is_closed() {
            return Poll::Ready(());
        }
        let mut inbound = shared.lock_inbound();
        let ended = if at_fin { inbound.has_peer_ended() } else { matches!(inbound.end(), End::Failed(_)) };
        if ended {
            return Poll::Ready(());
        }
        if inbound.is_empty() && inbound.end() == End::Open {
            shared.park_reader(&mut inbound, cx.waker());
        } else {
            shared.set_reader(&mut inbound, cx.waker());
        }
        let watch = inbound.take_watch();
        drop(inbound);
        if watch {
            shared.post(Command::WatchEnd(shared.key));
        }
        Poll::Pending
    }

    /// Sets the farewell: the bytes that the engine sends last when a graceful shutdown begins, even while the handler
    /// is busy. Later sends fail with [`SendError::Finished`](crate::SendError::Finished). Default: empty, for no
    /// farewell.
    pub fn set_farewell(&self, bytes: &'static [u8]) {
        let shared = self.shared();
        let queued = shared.end_outbound(|outbound| {
            outbound.set_farewell(bytes);
            // A shutdown that began before the farewell was set still sends it.
            self.is_draining().then(|| (outbound.farewell_timeout(), outbound.queue_farewell(), outbound.take_wakers()))
        });
        if let Some((timeout, schedule, waiting)) = queued {
            shared.notify(schedule);
            if let Some(timeout) = timeout {
                shared.set_lifetime_deadline(shared.worker().clock.tick_from_now(timeout));
            }
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Limits the time from the farewell to the end of the connection, whatever its handler does: the connection is
    /// then reset with [`CloseCause::LifetimeDeadline`](crate::CloseCause::LifetimeDeadline). Rounded up to seconds,
    /// 255 at most. With a limit set, the idle timeout also sends the farewell first instead of resetting at once.
    /// Default: no limit except the deadline of the shutdown.
    pub fn set_farewell_timeout(&self, timeout: Duration) {
        let seconds = timeout.as_millis().div_ceil(1000).clamp(1, 255) as u8;
        self.shared().lock_outbound().set_farewell_seconds(seconds);
    }

    /// Returns the timer of this connection's worker, for sleeps in its handler.
    pub fn timer(&self) -> Timer {
        Timer::new(Arc::clone(self.shared().worker()))
    }

    /// Resets the connection at once (RST). Queued bytes are dropped.
    pub fn abort(self) {
        self.sender.abort();
    }
}

/// # Counters
impl Connection {
    /// Returns the number of bytes received and not yet read by the handler.
    pub fn inbound_bytes(&self) -> usize {
        self.shared().lock_inbound().bytes() as usize + self.unread.as_ref().map_or(0, |chunk| chunk.len())
    }

    /// Returns the number of bytes received since the accept, read or not, modulo 2^32. With TLS these are the bytes of
    /// records, complete or not. Compare two calls to see whether the peer sent anything in between.
    pub fn received_bytes_total(&self) -> u32 {
        self.shared().lock_inbound().received()
    }

    /// Returns whether receiving is paused because the inbound buffer reached its high mark
    /// ([`InboundConfig`](crate::InboundConfig)). The worker can change it at any time.
    pub fn is_paused(&self) -> bool {
        self.shared().lock_inbound().is_paused()
    }

    /// Returns how often receiving was paused since the accept, at most `u32::MAX`.
    pub fn pauses_total(&self) -> u32 {
        self.shared().lock_inbound().pauses()
    }
}

pub(super) fn is_read_overdue(shared: &ConnShared) -> bool {
    shared.deadlines.is_read_overdue(&shared.worker().clock)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("key", &self.shared().key).field("peer", &self.peer_addr()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
