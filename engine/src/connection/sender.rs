//! The writing side of a connection.
//!
//! A sender appends to the bounded outbound queue under its lock and notifies the worker once per batch; the worker
//! sends.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;

use crate::address::Address;
use crate::clock::NEVER;
use crate::config::OutboundMarks;
use crate::error::{CloseCause, SendError};
use crate::shared::ConnShared;
use crate::shared::command::{CloseMode, Command};
use crate::shared::file_part::FilePart;
use crate::shared::outbound::{Outbound, Schedule, enqueue};
use crate::time::Timer;

/// The writing side of a connection: cloneable, usable from any thread.
///
/// It appends to the connection's outbound queue, which the worker sends. Every call is atomic with respect to the
/// connection's other senders. Accepted bytes leave in order, or the connection is reported closed.
///
/// The queue is full above its high mark ([`OutboundConfig`](crate::OutboundConfig), 1 MiB by default) and then stays
/// full until it has emptied to its low mark (256 KiB). A message larger than the high mark passes if nothing else is
/// queued.
///
/// | Method | When full | Copies | Notes |
/// |---|---|---|---|
/// | [`send`](Self::send) | waits | up to 4 KiB, otherwise by reference | the only one that waits |
/// | [`try_send`](Self::try_send) | [`Full`](SendError::Full) | up to 4 KiB, otherwise by reference | for a ready `Bytes` |
/// | [`try_append`](Self::try_append) | [`Full`](SendError::Full), nothing is encoded | none: encodes in place | for bytes that are not built yet |
/// | [`append`](Self::append) | ignores it | none: encodes in place | after [`poll_ready`](Self::poll_ready), or for bytes that must not wait |
/// | [`try_append_with`](Self::try_append_with) | [`Full`](SendError::Full) | the head; the payload up to 4 KiB | a head and a payload in one step |
/// | [`append_with`](Self::append_with) | ignores it | the head; the payload up to 4 KiB | as `append` |
/// | [`append_file`](Self::append_file) | ignores it | none | a part of a file, after `poll_ready` |
/// | [`append_last`](Self::append_last) | ignores it | none: encodes in place | ends the sending side: later sends fail with [`Finished`](SendError::Finished) |
/// | [`try_append_interleaved`](Self::try_append_interleaved) | [`Full`](SendError::Full) | none: encodes in place | works also during another sender's [exclusive use](crate::ExclusiveSender) |
///
/// All of them keep the order of the calls. During another sender's [exclusive use](crate::ExclusiveSender), `send`
/// waits and the `try_` calls fail with `Full`, except `try_append_interleaved`; the `append` calls go through. The 4
/// KiB are [`COPY_BYTES_MAX`](crate::COPY_BYTES_MAX): below it, a copy costs less than a reference.
///
/// ```no_run
/// use tidegate_engine::{ByteSender, SendError};
///
/// /// Sends a line, or drops it if the peer reads too slowly.
/// fn offer_line(sender: &ByteSender, line: &str) -> Result<(), SendError> {
///     let sent = sender.try_append(line.len() + 1, |out| {
///         out.extend_from_slice(line.as_bytes());
///         out.push(b'\n');
///     });
///     match sent {
///         Err(SendError::Full) => Ok(()),
///         sent => sent,
///     }
/// }
/// ```
#[derive(Clone)]
pub struct ByteSender {
    pub(crate) shared: Arc<ConnShared>,
}

/// # Sending bytes
impl ByteSender {
    /// Waits for space, then queues `bytes`. Dropping the future before it completes queues nothing.
    ///
    /// # Errors
    /// [`SendError::Finished`] after the last bytes, [`SendError::Closed`] once the connection has failed,
    /// [`SendError::HeldByCaller`] if it would wait for an [exclusive use](crate::ExclusiveSender) of the same task.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), SendError> {
        let bytes = bytes.into();
        poll_fn(|cx| match self.queue_bytes(&bytes, Some(cx.waker())) {
            Err(SendError::Full) => Poll::Pending,
            answer => Poll::Ready(answer),
        })
        .await
    }

    /// Queues `bytes` if the queue has space.
    ///
    /// # Errors
    /// [`SendError::Full`] above the high mark; otherwise as [`send`](Self::send).
    pub fn try_send(&self, bytes: impl Into<Bytes>) -> Result<(), SendError> {
        self.queue_bytes(&bytes.into(), None)
    }

    /// Checks for space and takes it in one step, so that senders on several threads stay within the mark together. A
    /// full queue wakes `waker` when space may be available.
    fn queue_bytes(&self, bytes: &Bytes, waker: Option<&Waker>) -> Result<(), SendError> {
        self.queue(|outbound, marks| {
            if let Err(error) = outbound.check_space(bytes.len(), marks) {
                let Err(error) = outbound.keep_shared_behind(error, marks, &[], bytes) else {
                    return Ok(Schedule::AlreadyScheduled);
                };
                let Some(waker) = waker else { return Err(error) };
                let error = outbound.error_for(error, waker);
                if error == SendError::Full {
                    outbound.add_waker(waker);
                }
                return Err(error);
            }
            Ok(enqueue(outbound, &[], &mut bytes.clone()))
        })
    }

    /// Queues bytes under the lock, then notifies the worker.
    #[inline]
    pub(super) fn queue(
        &self,
        put: impl FnOnce(&mut Outbound, &OutboundMarks) -> Result<Schedule, SendError>,
    ) -> Result<(), SendError> {
        let schedule = put(&mut self.shared.lock_outbound(), &self.shared.worker().outbound)?;
        self.shared.notify(schedule);
        Ok(())
    }

    /// Waits until `check` succeeds, which is tried again when space is available.
    #[inline]
    pub(super) fn poll_space(
        &self,
        cx: &mut Context<'_>,
        check: impl FnOnce(&mut Outbound, &OutboundMarks, &Waker) -> Result<(), SendError>,
    ) -> Poll<Result<(), SendError>> {
        let mut outbound = self.shared.lock_outbound();
        match check(&mut outbound, &self.shared.worker().outbound, cx.waker()) {
            Err(SendError::Full) => {
                outbound.add_waker(cx.waker());
                Poll::Pending
            }
            answer => Poll::Ready(answer),
        }
    }
}

/// # Appending in place
impl ByteSender {
    /// Waits until `len` more bytes can be queued. Another sender can still take the space before the caller does: use
    /// the `try_append` calls, or accept a queue that exceeds its mark.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn poll_ready(&self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), SendError>> {
        self.poll_space(cx, |outbound, marks, waker| {
            outbound.check_space_held(len, marks).map_err(|error| outbound.error_for(error, waker))
        })
    }

    /// Checks that `len` more bytes can be queued now. If not, the queue counts as full: further sends are refused
    /// until it has emptied to its low mark.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn check_ready(&self, len: usize) -> Result<(), SendError> {
        self.shared.lock_outbound().check_space_held(len, &self.shared.worker().outbound)
    }

    /// Appends in place if `len` more bytes can be queued now: [`check_ready`](Self::check_ready) and
    /// [`append`](Self::append) in one step. `encode` must append no more than `len` bytes.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); `encode` is then not called.
    pub fn try_append(&self, len: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        // Without `queue`: nesting `encode` in its closure costs a pipelined response 5 % more instructions.
        let schedule = {
            let (mut outbound, marks) = (self.shared.lock_outbound(), &self.shared.worker().outbound);
            if let Err(error) = outbound.check_space(len, marks) {
                return outbound.keep_behind(error, len, marks, encode);
            }
            outbound.append_encoded(encode)
        };
        self.shared.notify(schedule);
        Ok(())
    }

    /// Appends in place, in order with other sends but whatever is queued. Returns whether the queue has reached its
    /// high mark: the caller should then append nothing until [`poll_ready`](Self::poll_ready), because only it bounds
    /// the queue. `encode` is bound as that of [`append`](Self::append).
    ///
    /// # Errors
    /// As [`send`](Self::send); `encode` is then not called.
    pub fn append_in_order(&self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<bool, SendError> {
        let (schedule, is_full) = {
            let (mut outbound, marks) = (self.shared.lock_outbound(), &self.shared.worker().outbound);
            let schedule = match outbound.is_open() {
                true => outbound.append_encoded(encode),
                false => outbound.append_unopened(encode)?,
            };
            (schedule, outbound.note_full(marks))
        };
        self.shared.notify(schedule);
        Ok(is_full)
    }

    /// Appends `head` by copy and `payload` by reference as [`append_in_order`](Self::append_in_order) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn append_with_in_order(&self, head: &[u8], mut payload: Bytes) -> Result<bool, SendError> {
        let (schedule, is_full) = {
            let (mut outbound, marks) = (self.shared.lock_outbound(), &self.shared.worker().outbound);
            let schedule = match outbound.is_open() {
                true => enqueue(&mut outbound, head, &mut payload),
                false => outbound.append_unopened(|out| {
                    out.extend_from_slice(head);
                    out.extend_from_slice(&payload);
                })?,
            };
            (schedule, outbound.note_full(marks))
        };
        self.shared.notify(schedule);
        Ok(is_full)
    }

    /// Returns whether both are senders of the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Lets `encode` append to the queued bytes, regardless of the high mark and of exclusive use: for bytes that must
    /// not wait, or after [`poll_ready`](Self::poll_ready). Only the caller then bounds the queue: for a peer that does
    /// not read, it grows until a write timeout or deadline ends the connection.
    ///
    /// `encode` runs under the queue's lock, on which other senders and the worker wait, so it must not block, and must
    /// not use a connection: a call that would have to wait for a lock panics. It must
    /// only append: the vector can hold queued bytes of earlier calls, and removing those corrupts the stream. If it
    /// panics, its bytes are removed and the earlier ones stay.
    ///
    /// # Errors
    /// As [`send`](Self::send); `encode` is then not called.
    pub fn append(&self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        // Without `queue`, as in `try_append`.
        let schedule = {
            let mut outbound = self.shared.lock_outbound();
            outbound.check_open()?;
            outbound.append_encoded(encode)
        };
        self.shared.notify(schedule);
        Ok(())
    }

    /// Appends as [`append_with`](Self::append_with) does, but only if the queue has space for both.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_append_with(&self, head: &[u8], mut payload: Bytes) -> Result<(), SendError> {
        self.queue(|outbound, marks| {
            if let Err(error) = outbound.check_space(head.len() + payload.len(), marks) {
                return outbound.keep_shared_behind(error, marks, head, &payload).map(|()| Schedule::AlreadyScheduled);
            }
            Ok(enqueue(outbound, head, &mut payload))
        })
    }

    /// Appends `head` by copy and `payload` by reference, or by copy up to [`COPY_BYTES_MAX`](crate::COPY_BYTES_MAX),
    /// regardless of the high mark and of exclusive use.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn append_with(&self, head: &[u8], mut payload: Bytes) -> Result<(), SendError> {
        self.queue(|outbound, _| {
            outbound.check_open()?;
            Ok(enqueue(outbound, head, &mut payload))
        })
    }

    /// Returns whether [`append_file`](Self::append_file) sends files without a copy: on Linux, without TLS.
    pub fn sends_files(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.shared.tls().is_some() {
            return false;
        }
        cfg!(target_os = "linux")
    }

    /// Appends a part of a file without a copy (sendfile(2); with TLS it is read in pieces), regardless of the high
    /// mark and of exclusive use: after [`poll_ready`](Self::poll_ready). Its bytes count as queued like others, but
    /// take no memory.
    ///
    /// The worker reads the file when it sends, so a part that is not in the page cache makes it wait for the disk:
    /// [`cache_state`](crate::file::cache_state) shows that before. If the file is too short by the time the kernel has
    /// taken the part, or cannot be read, the connection is reset, because its peer was promised these bytes; the log
    /// has the reason.
    ///
    /// The kernel sends the pages of the file itself. A file that is changed in place before the peer has received them
    /// changes them too: new bytes show, and zeros behind the end of a file that was cut, up to the end of its page or
    /// large folio.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn append_file(&self, part: FilePart) -> Result<(), SendError> {
        self.queue(|outbound, _| {
            outbound.check_open()?;
            Ok(if part.len == 0 { Schedule::AlreadyScheduled } else { outbound.append_file(part) })
        })
    }

    /// Appends the last bytes: every later send, from any thread, fails with [`SendError::Finished`]. Wakes the task
    /// that waits in [`Connection::poll_receive`](crate::Connection::poll_receive); it finds
    /// [`is_finished`](Self::is_finished) true and decides how long to wait for the peer's answer.
    ///
    /// # Errors
    /// As [`send`](Self::send). Of several callers exactly one succeeds.
    pub fn append_last(&self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), SendError> {
        let (schedule, waiting) = self.shared.end_outbound(|outbound| {
            outbound.check_open()?;
            // The appends decide about the wake; finishing adds nothing.
            let schedule = outbound.release_held();
            let schedule = schedule.or(outbound.append_encoded(encode));
            let _ = outbound.finish(false);
            Ok((schedule, outbound.take_wakers()))
        })?;
        self.shared.notify(schedule);
        // The reader can now wait with another timeout. The two locks are never held together.
        let reader = self.shared.take_reader(&mut self.shared.lock_inbound());
        waiting.into_iter().chain(reader).for_each(Waker::wake);
        Ok(())
    }
}

/// # Flushing and ending
impl ByteSender {
    /// Waits until the kernel has taken everything accepted before this call. Bytes that other senders queue later are
    /// not waited for. The peer has not necessarily received it: TCP does not report that.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the connection failed first.
    pub async fn flush(&self) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_held(cx)).await;
        let end = self.shared.lock_outbound().accepted_end();
        poll_fn(|cx| self.poll_sent(cx, end)).await
    }

    /// Waits until nothing is queued. Unlike [`flush`](Self::flush) it also waits for bytes queued after the call.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.poll_held(cx));
        let end = self.shared.lock_outbound().accepted_end();
        self.poll_sent(cx, end)
    }

    /// Waits until no send is held behind a publication.
    fn poll_held(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut outbound = self.shared.lock_outbound();
        if outbound.held_bytes() == 0 {
            return Poll::Ready(());
        }
        outbound.add_waker(cx.waker());
        Poll::Pending
    }

    /// Waits until the messages that were [published](crate::Publish::publisher) in the name of this connection are in
    /// its queue.
    pub fn poll_published(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut outbound = self.shared.lock_outbound();
        if !outbound.is_behind() {
            return Poll::Ready(());
        }
        outbound.add_waker(cx.waker());
        Poll::Pending
    }

    fn poll_sent(&self, cx: &mut Context<'_>, end: u64) -> Poll<Result<(), SendError>> {
        match self.shared.lock_outbound().check_sent(end, cx.waker()) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Shuts the sending side down after all queued bytes (FIN, shutdown(2)); receiving continues. Later sends fail
    /// with [`SendError::Finished`].
    pub fn shutdown_write(&self) {
        let (schedule, waiting) = self.shared.end_outbound(|outbound| (outbound.finish(true), outbound.take_wakers()));
        self.shared.notify(schedule);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Resets the connection at once (RST). Queued bytes are dropped, and all calls fail with
    /// [`CloseCause::Aborted`](crate::CloseCause::Aborted).
    pub fn abort(&self) {
        self.shared.post(Command::Close(self.shared.key, CloseMode::Abort(CloseCause::Aborted)));
    }

    /// Wakes `waker` once the peer has ended its side or the connection is closed, or at once if that has happened.
    /// A waker that waits already is not added again.
    ///
    /// The peer's end is its FIN, even if bytes before it are unread, or its reset. A connection is closed when it has
    /// failed, was aborted, or has ended in order: everything was sent, and the peer's FIN arrived or the linger
    /// timeout passed.
    pub fn wake_at_end(&self, waker: &Waker) {
        let waits = self.shared.lock_outbound().wake_at_end(waker);
        if !waits {
            waker.wake_by_ref();
        }
    }

    /// The poll form of [`wake_at_end`](Self::wake_at_end), from any task.
    pub fn poll_peer_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.lock_outbound().wake_at_end(cx.waker()) { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Sets the read deadline. See [`Connection::set_read_deadline`](crate::Connection::set_read_deadline).
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        let shared = &self.shared;
        match deadline {
            Some(deadline) => shared.set_read_deadline(shared.worker().clock.tick_of(deadline)),
            None => shared.clear_read_deadline(),
        }
    }

    /// Sets the lifetime deadline. See [`Connection::set_lifetime_deadline`](crate::Connection::set_lifetime_deadline).
    pub fn set_lifetime_deadline(&self, deadline: Option<Instant>) {
        let shared = &self.shared;
        shared.set_lifetime_deadline(deadline.map_or(NEVER, |d| shared.worker().clock.tick_of(d)));
    }

    /// Sets the write deadline. See [`Connection::set_write_deadline`](crate::Connection::set_write_deadline).
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        let shared = &self.shared;
        shared.set_write_deadline(deadline.map_or(NEVER, |d| shared.worker().clock.tick_of(d)));
    }
}

/// # State
impl ByteSender {
    /// Returns the peer's address.
    pub fn peer_addr(&self) -> Address {
        self.shared.peer()
    }

    /// As [`Connection::local_addr`](crate::Connection::local_addr), from any task.
    pub fn local_addr(&self) -> Address {
        self.shared.local.address
    }

    /// As [`Connection::tls`](crate::Connection::tls), from any task.
    #[cfg(feature = "tls")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "tls")))]
    pub fn tls(&self) -> Option<&crate::tls::TlsInfo> {
        self.shared.tls()
    }

    /// As [`Connection::received_bytes_total`](crate::Connection::received_bytes_total), from any task.
    pub fn received_bytes_total(&self) -> u32 {
        self.shared.lock_inbound().received()
    }

    /// As [`Connection::is_paused`](crate::Connection::is_paused), from any task.
    pub fn is_paused(&self) -> bool {
        self.shared.lock_inbound().is_paused()
    }

    /// Returns the timer of this connection's worker.
    pub fn timer(&self) -> Timer {
        Timer::new(Arc::clone(self.shared.worker()))
    }

    /// Checks that bytes can still be queued, regardless of space.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn check_open(&self) -> Result<(), SendError> {
        self.shared.lock_outbound().check_open()
    }

    /// Returns whether the sending side is finished or closed.
    pub fn is_finished(&self) -> bool {
        self.shared.is_finished()
    }

    /// Returns the number of bytes accepted and not yet taken by the kernel.
    pub fn queued_bytes(&self) -> usize {
        let outbound = self.shared.lock_outbound();
        outbound.bytes() + outbound.held_bytes()
    }
}

impl fmt::Debug for ByteSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteSender").field("key", &self.shared.key).finish()
    }
}
