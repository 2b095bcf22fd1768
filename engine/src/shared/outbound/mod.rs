//! The bounded queue between a connection's handler (and its senders) and the one send in flight.
//!
//! Small writes are appended to one growing tail and leave together; large payloads are queued by reference. The worker
//! takes everything queued as one [`SendBatch`], and takes the next only when that has completed: bytes accepted here
//! leave in order, or the connection is reported closed.

mod behind;
mod exclusive;
mod farewell;
mod flags;

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::config::OutboundMarks;
use crate::error::{CloseCause, SendError};
use crate::shared::file_part::FilePart;
use crate::shared::send_batch::{BATCH_BYTES_MAX, Segment, Segments, SendBatch, cut_batch};
use crate::shared::waiters::{QueueDeadlines, Waiters};
use crate::util::biased_lock::NoWaiting;
use crate::util::buffer_pool::Buffer;
use crate::util::contained::Contained;
use crate::util::flags::Flags;
use farewell::Farewell;
use flags::{ENDING, FIN, FIN_SENT, FLUSHING, FULL, PEER_ENDED, SCHEDULED};

/// Payloads up to this size are copied into the pending bytes, because one contiguous send costs less than a vectored
/// one.
pub const COPY_BYTES_MAX: usize = 4096;

/// The state of the sending side.
///
/// ```text
///          end_behind          begin_exclusive, end_exclusive
///   Behind ◀───────────▶ Open ◀───────────▶ Exclusive
///     └───────────────────┴─────┬─────────────┘
///              ┌────────────────┘
///              └─ append_last, shutdown_write ─▶ Finished ── queue empty ──▶ (FIN, if requested)
///   any state ── failure ──▶ Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendState {
    Open,
    /// One sender has exclusive use of the queue; the others wait.
    Exclusive,
    /// Sends are held: they follow what the connection's task has published to a fan-out that the connection is in.
    Behind,
    Finished,
    Closed(CloseCause),
}

/// Queued bytes with their accounting. Kept in a lock of [`ConnShared`](super::ConnShared). The fields that each
/// message needs come first and lie together: with very many busy connections, a message costs as much as the cache
/// lines it touches.
#[repr(C)]
pub(crate) struct Outbound {
    tail: Buffer,
    /// Total bytes sent.
    sent_bytes: u64,
    /// Segments before the tail. An idle connection owns no queue.
    segments: Option<Box<Segments>>,
    waiters: Waiters,
    in_flight_bytes: u32,
    state: SendState,
    flags: Flags,
    /// The seconds in which a connection must end after its farewell; 0 for no limit.
    farewell_seconds: u8,
    /// [`Farewell::OTHER`] stands for one that `waiters` keeps.
    farewell: Farewell,
}

// One of these exists for each of very many idle connections.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Outbound>() <= 40);

/// Maximum bytes of a part of a file that is one batch, so that a batch is counted in 32 bits.
const FILE_BATCH_BYTES_MAX: usize = 1 << 30;

/// Drops the output of an encoder that panicked: half a message must not be sent.
struct Appending<'a> {
    tail: &'a mut Vec<u8>,
    before: usize,
    done: bool,
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.tail.truncate(self.before);
        }
    }
}

/// The consequence of a change for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Schedule {
    NeedsWake,
    AlreadyScheduled,
}

impl Schedule {
    /// Returns the consequence of two changes together.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::NeedsWake { self } else { other }
    }
}

/// Bytes that will not be sent.
#[derive(Default)]
pub(crate) struct Dropped {
    _deferred: VecDeque<Contained<Bytes>>,
    _held: VecDeque<Contained<Bytes>>,
    _queued: Queued,
}

type Queued = (Buffer, Option<Box<Segments>>);

/// What a request for a FIN needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    /// None was requested since the last.
    Nothing,
    Send,
    /// An earlier request has sent it.
    Sent,
}

/// The result of an offer.
pub(crate) enum Offered {
    /// Nothing was queued and no send is in flight: the send to start.
    Send(SendBatch),
    Queued(Schedule),
}

impl Outbound {
    pub(crate) fn new() -> Self {
        Self {
            tail: Buffer::default(),
            sent_bytes: 0,
            segments: None,
            waiters: Waiters::default(),
            in_flight_bytes: 0,
            state: SendState::Open,
            flags: Flags::default(),
            farewell_seconds: 0,
            farewell: Farewell::NONE,
        }
    }

    /// Returns the bytes that are queued or in flight.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.queued_bytes() + self.in_flight_bytes as usize
    }

    #[inline]
    fn queued_bytes(&self) -> usize {
        self.tail.len() + self.segments.as_ref().map_or(0, |segments| segments.bytes)
    }

    /// Returns the end of the bytes accepted so far, counted from the connection's first byte; once it is closed, an
    /// end that is never reached.
    pub(crate) fn accepted_end(&self) -> u64 {
        match self.state {
            SendState::Closed(_) => u64::MAX,
            _ => self.sent_bytes + self.bytes() as u64,
        }
    }

    /// Returns whether everything before `end` has left; if not, `waker` is woken when more has.
    pub(crate) fn check_sent(&mut self, end: u64, waker: &Waker) -> Result<bool, SendError> {
        // First, because a connection can close after everything has left.
        if self.sent_bytes >= end {
            return Ok(true);
        }
        if let SendState::Closed(cause) = self.state {
            return Err(SendError::Closed(cause));
        }
        self.flags.set(FLUSHING);
        self.add_waker(waker);
        Ok(false)
    }

    pub(crate) fn check_open(&self) -> Result<(), SendError> {
        match self.state {
            SendState::Open | SendState::Exclusive | SendState::Behind => Ok(()),
            SendState::Finished => Err(SendError::Finished),
            SendState::Closed(cause) => Err(SendError::Closed(cause)),
        }
    }

    /// Checks that `len` more bytes can be queued: within the high mark, or with nothing else queued.
    #[inline]
    pub(crate) fn check_space(&mut self, len: usize, marks: &OutboundMarks) -> Result<(), SendError> {
        if self.state != SendState::Open {
            return Err(self.refusal());
        }
        self.check_room(len, marks)
    }

    /// Returns whether the queue takes bytes at once.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.state == SendState::Open
    }

    /// Returns whether the queue has reached its high mark, from which on all sends wait for the low mark, or is in
    /// exclusive use.
    #[inline]
    pub(crate) fn note_full(&mut self, marks: &OutboundMarks) -> bool {
        let is_full = self.bytes() + self.held_bytes() >= marks.bytes_high;
        if is_full {
            self.flags.set(FULL);
        }
        is_full || self.state == SendState::Exclusive
    }

    #[inline]
    fn check_room(&mut self, len: usize, marks: &OutboundMarks) -> Result<(), SendError> {
        let bytes = self.bytes();
        if bytes != 0 && (self.flags.has(FULL) || bytes.saturating_add(len) > marks.bytes_high) {
            self.flags.set(FULL);
            return Err(SendError::Full);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Schedule {
        let tail = self.tail.vec_mut();
        let before = tail.len();
        let mut appending = Appending { tail, before, done: false };
        encode(appending.tail);
        appending.done = true;
        drop(appending);
        self.schedule()
    }

    /// As [`append`](Self::append), with an encoder of the application, which runs under the queue's lock.
    #[inline]
    pub(crate) fn append_encoded(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Schedule {
        let _no_waiting = NoWaiting::begin();
        self.append(encode)
    }

    pub(crate) fn append_shared(&mut self, head: &[u8], payload: Bytes) -> Schedule {
        if !head.is_empty() {
            self.tail.vec_mut().extend_from_slice(head);
        }
        if payload.has_remaining() {
            self.seal_tail();
            self.segments.get_or_insert_with(Segments::pooled).push(Segment::Shared(Contained::new(payload)));
        }
        self.schedule()
    }

    /// Queues a part of a file.
    pub(crate) fn append_file(&mut self, mut part: FilePart) -> Schedule {
        self.seal_tail();
        let segments = self.segments.get_or_insert_with(Segments::pooled);
        while let Some(first) = part.split_front(FILE_BATCH_BYTES_MAX) {
            segments.push(first.into());
        }
        segments.push(part.into());
        self.schedule()
    }

    /// Takes bytes that many connections share, from the worker itself: within `bytes_max` and the high mark, or with
    /// nothing else queued. A connection with nothing queued sends them without queuing.
    pub(crate) fn offer(
        &mut self,
        shared: &Bytes,
        bytes_max: usize,
        marks: &OutboundMarks,
    ) -> Result<Offered, SendError> {
        if self.state != SendState::Open {
            return self.offer_unopened(shared, bytes_max, marks);
        }
        self.offer_room(shared, bytes_max, marks)
    }

    /// As [`offer`](Self::offer), in any state.
    #[inline]
    fn offer_room(&mut self, shared: &Bytes, bytes_max: usize, marks: &OutboundMarks) -> Result<Offered, SendError> {
        self.check_room(shared.len(), marks)?;
        let bytes = self.bytes();
        if bytes != 0 && bytes + shared.len() > bytes_max {
            return Err(SendError::Full);
        }
        if bytes == 0 && !self.flags.has(SCHEDULED) && (1..=BATCH_BYTES_MAX).contains(&shared.len()) {
            self.flags.set(SCHEDULED);
            self.in_flight_bytes = shared.len() as u32;
            let first = Segment::Shared(Contained::new(shared.clone()));
            return Ok(Offered::Send(SendBatch::single(first)));
        }
        Ok(Offered::Queued(self.append_either(shared)))
    }

    /// Returns the deadlines that few connections have.
    pub(crate) fn deadlines(&self) -> QueueDeadlines {
        self.waiters.deadlines()
    }

    /// Changes the deadlines that few connections have.
    pub(crate) fn set_deadlines(&mut self, change: impl FnOnce(&mut QueueDeadlines)) {
        self.waiters.set_deadlines(change);
    }

    /// Accepts no further bytes. With `fin` the sending side of the socket is shut down after the queued ones.
    pub(crate) fn finish(&mut self, fin: bool) -> Schedule {
        let mut schedule = Schedule::AlreadyScheduled;
        if self.check_open().is_ok() {
            schedule = self.release_held();
            self.end(SendState::Finished);
        }
        if fin {
            self.flags.set(FIN);
        }
        schedule.or(self.schedule())
    }

    /// Announces that a command to end the connection in order is about to be posted.
    pub(crate) fn expect_end(&mut self) {
        self.flags.set(ENDING);
    }

    /// Ends the queue, because the connection failed, and returns all waiters. [`take_dropped`](Self::take_dropped)
    /// returns what was queued.
    pub(crate) fn close(&mut self, cause: CloseCause) -> Vec<Waker> {
        if !matches!(self.state, SendState::Closed(_)) {
            self.end(SendState::Closed(cause));
        }
        self.in_flight_bytes = 0;
        self.waiters.take_all_wakers()
    }

    /// Takes what an ended queue will not send, to be dropped without the lock: the destructors of payloads are code of
    /// the application, which may use the connection.
    pub(crate) fn take_dropped(&mut self) -> Dropped {
        let closed = matches!(self.state, SendState::Closed(_));
        let queued = if closed { (self.tail.take(), self.segments.take()) } else { Default::default() };
        Dropped { _deferred: self.waiters.take_deferred(), _held: self.waiters.take_held(), _queued: queued }
    }

    /// Records that the peer has ended its side. Returns the wakers that wait for it.
    pub(crate) fn note_peer_end(&mut self) -> Vec<Waker> {
        self.flags.set(PEER_ENDED);
        self.waiters.take_at_end()
    }

    /// Wakes `waker` when the peer has ended its side or the connection is closed. Returns false if that has happened.
    pub(crate) fn wake_at_end(&mut self, waker: &Waker) -> bool {
        if self.flags.has(PEER_ENDED) || self.is_closed() {
            return false;
        }
        self.waiters.add_at_end(waker);
        true
    }

    /// Returns whether the connection has failed or ended.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, SendState::Closed(_))
    }

    pub(crate) fn set_farewell(&mut self, bytes: &'static [u8]) {
        self.farewell = Farewell::of(bytes);
        self.waiters.set_farewell(if self.farewell == Farewell::OTHER { bytes } else { &[] });
    }

    pub(crate) fn set_farewell_seconds(&mut self, seconds: u8) {
        self.farewell_seconds = seconds;
    }

    /// Returns the time in which the connection must end after its farewell, if one is still to be queued.
    pub(crate) fn farewell_timeout(&self) -> Option<Duration> {
        let limited = self.farewell != Farewell::NONE && self.farewell_seconds > 0 && self.check_open().is_ok();
        limited.then(|| Duration::from_secs(u64::from(self.farewell_seconds)))
    }

    /// Queues the farewell as the last bytes, if one was set and the queue is still open.
    pub(crate) fn queue_farewell(&mut self) -> Schedule {
        let farewell = match std::mem::take(&mut self.farewell) {
            Farewell::OTHER => self.waiters.take_farewell(),
            known => known.bytes(),
        };
        if farewell.is_empty() || self.check_open().is_err() {
            return Schedule::AlreadyScheduled;
        }
        let schedule = self.release_held();
        self.end(SendState::Finished);
        schedule.or(self.append(|tail| tail.extend_from_slice(farewell)))
    }

    /// Returns the step that a requested FIN needs, once everything queued has been sent.
    pub(crate) fn take_fin(&mut self) -> Fin {
        if self.bytes() != 0 || !self.flags.take(FIN) {
            return Fin::Nothing;
        }
        if self.flags.replace(FIN_SENT) { Fin::Sent } else { Fin::Send }
    }

    /// Takes the next batch, if anything is queued. No send must be in flight. After `None` the next append must notify
    /// the worker.
    pub(crate) fn take_batch(&mut self) -> Option<SendBatch> {
        debug_assert_eq!(self.in_flight_bytes, 0, "one send is in flight at a time");
        let queued_bytes = self.queued_bytes();
        if queued_bytes == 0 {
            self.flags.clear(SCHEDULED);
            return None;
        }
        self.flags.set(SCHEDULED);
        // A large tail becomes segments, so that it also leaves in steps.
        let (mut batch, bytes) = if self.segments.is_none() && queued_bytes <= BATCH_BYTES_MAX {
            (SendBatch::single(Segment::from(self.tail.take())), queued_bytes)
        } else {
            self.take_segments()?
        };
        self.in_flight_bytes = bytes as u32;
        if self.flags.has(ENDING | FIN) && self.queued_bytes() == 0 {
            batch.more_follows = true;
            batch.fin_follows = self.state == SendState::Finished;
        }
        Some(batch)
    }

    /// Takes the segments of the next batch. Returns it with the sum of its bytes.
    fn take_segments(&mut self) -> Option<(SendBatch, usize)> {
        self.seal_tail();
        let mut segments = self.segments.take()?;
        let count = cut_batch(&mut segments.list);
        let later = segments.list.split_off(count);
        let queued_bytes = segments.bytes;
        let mut batch = SendBatch::of(segments)?;
        batch.more_follows = later.front().is_some_and(Segment::is_file) && !batch.first.is_file();
        if later.is_empty() {
            return Some((batch, queued_bytes));
        }
        let bytes = batch.remaining();
        self.segments = Some(Box::new(Segments { list: later, bytes: queued_bytes - bytes }));
        Some((batch, bytes))
    }

    /// Records that the batch in flight has left. Returns the wakers to wake for space or a flush.
    pub(crate) fn complete_batch(&mut self, marks: &OutboundMarks) -> Vec<Waker> {
        self.sent_bytes += u64::from(self.in_flight_bytes);
        self.in_flight_bytes = 0;
        let low = self.bytes() <= marks.bytes_low;
        if low {
            self.flags.clear(FULL);
        }
        if low || self.flags.take(FLUSHING) { self.take_wakers() } else { Vec::new() }
    }

    pub(crate) fn add_waker(&mut self, waker: &Waker) {
        self.waiters.add(waker);
    }

    /// Takes the wakers that wait for space or for queued bytes to leave. Every change that ends [`SendState::Open`]
    /// must wake them, because a peer that does not read would never do so.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        self.waiters.take()
    }

    fn schedule(&mut self) -> Schedule {
        if self.flags.has(SCHEDULED) {
            return Schedule::AlreadyScheduled;
        }
        self.flags.set(SCHEDULED);
        Schedule::NeedsWake
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = self.tail.take();
            self.segments.get_or_insert_with(Segments::pooled).push(tail.into());
        }
    }
}

/// Queues `head` by copy and `payload` by copy or by reference, whichever costs less. A copied payload stays with the
/// caller, who drops it without the queue's lock.
pub(crate) fn enqueue(outbound: &mut Outbound, head: &[u8], payload: &mut Bytes) -> Schedule {
    if payload.len() > COPY_BYTES_MAX {
        return outbound.append_shared(head, std::mem::take(payload));
    }
    outbound.append(|tail| {
        tail.reserve(head.len() + payload.len());
        tail.extend_from_slice(head);
        tail.extend_from_slice(payload);
    })
}

#[cfg(test)]
mod tests;
