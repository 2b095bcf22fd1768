//! The bounded buffer between a connection's ring and its handler.
//!
//! The worker pushes received chunks and stops receiving at the high mark; the handler pops them and has the worker
//! resume at the low mark. Received bytes are never dropped: a push always succeeds, and the armed receive is bounded
//! instead (by its byte budget, or by its cancellation at the high mark).

use std::collections::VecDeque;
use std::task::Waker;

use crate::config::InboundMarks;
use crate::error::CloseCause;
use crate::shared::chunk::Chunk;

/// The state of the receiving side.
///
/// ```text
///          end of stream             popped the last chunk
///   Open ───────────────▶ Eof        (reported as None)
///     └─── failure ─────▶ Failed     (reported after the chunks received before it)
///
///         the receive ended              the reader gave its memory
///   Open ◀─────────────────▶ Held ◀─────────────────▶ Filling       (both are open, and end as Open does)
///        the reader waits            bytes arrived in it
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    /// Open. Nothing is received until the reader has decided how.
    Held,
    /// Open. The next bytes are received into memory of the reader.
    Filling,
    Eof,
    Failed(CloseCause),
}

impl End {
    /// Returns whether more bytes can come.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Held | Self::Filling)
    }
}

/// The last known state of the peer's side; bytes before its end can still be unreceived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerState {
    Open,
    /// Its FIN was seen, possibly behind bytes that have not been received.
    Ended,
    /// The handler waits for a failure after that.
    Watched,
}

/// Received chunks in order, with their accounting. Kept in a lock of [`ConnShared`](super::ConnShared).
pub(crate) struct Inbound {
    first: First,
    rest: Option<Box<Rest>>,
    /// Total bytes received, modulo 2^32.
    received: u32,
    paused: bool,
    /// The handler is gone: further input is dropped to drain the socket.
    discarding: bool,
    peer: PeerState,
    end: End,
}

// One of these exists for each of very many idle connections.
#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = assert!(size_of::<Inbound>() <= 40);

/// The first chunk, inline, so that an idle or prompt connection owns no queue memory. A reader mostly waits for it, so
/// its waker has the same place.
enum First {
    Nothing,
    Waker(Waker),
    Chunk(Chunk),
}

/// State that few buffers need.
#[derive(Default)]
struct Rest {
    /// The chunks behind the first.
    chunks: VecDeque<Chunk>,
    /// The sum of their bytes.
    bytes: u32,
    pauses: u32,
    /// The waker of a reader that does not wait for the first chunk.
    waker: Option<Waker>,
}

impl Rest {
    fn is_needed(&self) -> bool {
        !self.chunks.is_empty() || self.pauses > 0 || self.waker.is_some()
    }
}

/// What a handler left behind.
#[must_use = "drop it after releasing the lock"]
pub(crate) struct Unread {
    _first: First,
    _rest: Option<Box<Rest>>,
}

impl Inbound {
    pub(crate) fn new() -> Self {
        Self {
            first: First::Nothing,
            rest: None,
            received: 0,
            paused: false,
            discarding: false,
            peer: PeerState::Open,
            end: End::Open,
        }
    }

    pub(crate) fn bytes(&self) -> u32 {
        let first = if let First::Chunk(chunk) = &self.first { chunk.len() as u32 } else { 0 };
        first + self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    pub(crate) fn chunks(&self) -> u32 {
        u32::from(!self.is_empty()) + self.rest.as_ref().map_or(0, |rest| rest.chunks.len() as u32)
    }

    pub(crate) fn received(&self) -> u32 {
        self.received
    }

    pub(crate) fn pauses(&self) -> u32 {
        self.rest.as_ref().map_or(0, |rest| rest.pauses)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Appends small `bytes` to the last chunk, if it owns its memory and has room.
    pub(crate) fn try_extend_last(&mut self, bytes: &[u8]) -> bool {
        if self.discarding {
            return true;
        }
        let behind = self.rest.as_mut().filter(|rest| !rest.chunks.is_empty());
        let extended = match (behind, &mut self.first) {
            (Some(rest), _) => rest.try_extend_last(bytes),
            (None, First::Chunk(first)) => first.try_extend(bytes),
            (None, First::Nothing | First::Waker(_)) => false,
        };
        if extended {
            self.count(bytes.len());
        }
        extended
    }

    #[inline(always)]
    fn count(&mut self, len: usize) {
        self.received = self.received.wrapping_add(len as u32);
    }

    /// Counts the bytes of records as received, in place of those of their plaintext, which is pushed.
    #[cfg(feature = "tls")]
    pub(crate) fn count_records(&mut self, record_bytes: usize, plain_bytes: usize) {
        self.received = self.received.wrapping_add(record_bytes as u32).wrapping_sub(plain_bytes as u32);
    }

    /// Appends a chunk. Inlined, so that the chunk is written in place instead of moved there afterwards. The waker of
    /// a reader is better taken before, because a chunk needs its place.
    #[inline(always)]
    pub(crate) fn push(&mut self, chunk: Chunk) {
        if !matches!(self.first, First::Nothing) || self.discarding {
            return self.push_behind(chunk);
        }
        self.count(chunk.len());
        // `first` has nothing, which the compiler would test here to drop it.
        std::mem::forget(std::mem::replace(&mut self.first, First::Chunk(chunk)));
    }

    #[inline(never)]
    fn push_behind(&mut self, chunk: Chunk) {
        if self.discarding {
            return;
        }
        self.count(chunk.len());
        let rest = self.rest.get_or_insert_default();
        if self.first.is_chunk() {
            rest.bytes += chunk.len() as u32;
            rest.chunks.push_back(chunk);
        } else if let First::Waker(waker) = std::mem::replace(&mut self.first, First::Chunk(chunk)) {
            rest.waker = Some(waker);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Chunk> {
        if !self.first.is_chunk() {
            return None;
        }
        let First::Chunk(chunk) = std::mem::replace(&mut self.first, First::Nothing) else { return None };
        if self.rest.is_some() {
            self.move_up();
        }
        Some(chunk)
    }

    /// Makes the next chunk the first.
    #[inline(never)]
    fn move_up(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        if let Some(next) = rest.chunks.pop_front() {
            rest.bytes -= next.len() as u32;
            self.first = First::Chunk(next);
        }
        self.free_rest();
    }

    /// Frees memory that is not needed any more.
    fn free_rest(&mut self) {
        match &mut self.rest {
            Some(rest) if !rest.is_needed() => self.rest = None,
            Some(rest) if rest.chunks.is_empty() => rest.chunks = VecDeque::new(),
            _ => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.first.is_chunk()
    }

    /// Ends the receiving side. The first end stands, and chunks received before it stay readable.
    pub(crate) fn finish(&mut self, end: End) {
        if self.end.is_open() {
            self.end = end;
        }
    }

    /// Leaves it to the reader how the next bytes are received. No receive may be armed.
    pub(crate) fn hold_back(&mut self) {
        self.finish(End::Held);
    }

    /// Ends the hold: the next bytes are received as usual. Returns whether there was one: the worker must then be
    /// notified.
    pub(crate) fn release(&mut self) -> bool {
        let held = self.end == End::Held;
        if held {
            self.end = End::Open;
        }
        held
    }

    /// Ends the hold: the next bytes are received into memory of the reader.
    pub(crate) fn begin_fill(&mut self) {
        debug_assert!(self.end == End::Held && self.is_empty());
        self.end = End::Filling;
    }

    /// Records that the peer has ended; bytes before that can still be unreceived.
    pub(crate) fn note_peer_end(&mut self) {
        if self.peer == PeerState::Open {
            self.peer = PeerState::Ended;
        }
    }

    /// Returns whether the peer has ended, or the connection failed.
    pub(crate) fn has_peer_ended(&self) -> bool {
        self.peer != PeerState::Open || !self.end.is_open()
    }

    /// Returns true once when the peer's end leaves only a failure to be noticed: the worker must then watch for it.
    pub(crate) fn take_watch(&mut self) -> bool {
        self.has_peer_ended() && std::mem::replace(&mut self.peer, PeerState::Watched) != PeerState::Watched
    }

    /// Returns whether the handler has asked for a failure after the peer's end.
    pub(crate) fn is_watched(&self) -> bool {
        self.peer == PeerState::Watched
    }

    /// Drops all further input, because the handler is gone. Returns the unread chunks and the waker, to be dropped
    /// without the lock.
    pub(crate) fn discard(&mut self) -> Unread {
        self.discarding = true;
        self.paused = false;
        Unread { _first: std::mem::replace(&mut self.first, First::Nothing), _rest: self.rest.take() }
    }

    pub(crate) fn is_over_high(&self, marks: &InboundMarks) -> bool {
        self.bytes() >= marks.bytes_high || self.chunks() >= marks.chunks_high
    }

    pub(crate) fn is_over_low(&self, marks: &InboundMarks) -> bool {
        self.bytes() > marks.bytes_low || self.chunks() > marks.chunks_low
    }

    /// Records that receiving stops until the low mark.
    pub(crate) fn pause(&mut self) {
        if !self.paused {
            self.paused = true;
            let rest = self.rest.get_or_insert_default();
            rest.pauses = rest.pauses.saturating_add(1);
        }
    }

    /// Returns true once when a paused buffer has drained to its low mark: the worker must then be notified.
    pub(crate) fn take_resume(&mut self, marks: &InboundMarks) -> bool {
        let resume = self.paused && !self.is_over_low(marks);
        if resume {
            self.paused = false;
        }
        resume
    }

    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        match &mut self.first {
            First::Waker(current) => current.clone_from(waker),
            First::Nothing if self.rest.is_none() => self.first = First::Waker(waker.clone()),
            _ => self.set_waker_behind(waker),
        }
    }

    #[inline(never)]
    fn set_waker_behind(&mut self, waker: &Waker) {
        match &mut self.rest.get_or_insert_default().waker {
            Some(current) => current.clone_from(waker),
            place => *place = Some(waker.clone()),
        }
    }

    #[inline]
    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        if matches!(self.first, First::Waker(_)) {
            let First::Waker(waker) = std::mem::replace(&mut self.first, First::Nothing) else { return None };
            return Some(waker);
        }
        if self.rest.is_some() { self.take_waker_behind() } else { None }
    }

    #[inline(never)]
    fn take_waker_behind(&mut self) -> Option<Waker> {
        let waker = self.rest.as_mut()?.waker.take();
        self.free_rest();
        waker
    }
}

impl First {
    #[inline]
    fn is_chunk(&self) -> bool {
        matches!(self, Self::Chunk(_))
    }
}

impl Rest {
    fn try_extend_last(&mut self, bytes: &[u8]) -> bool {
        let extended = self.chunks.back_mut().is_some_and(|last| last.try_extend(bytes));
        if extended {
            self.bytes += bytes.len() as u32;
        }
        extended
    }
}

#[cfg(test)]
mod tests;
