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
    // The first chunk is stored inline, so that an idle or prompt connection owns no queue memory.
    first: Option<Chunk>,
    #[expect(clippy::box_collection, reason = "one pointer in each of very many idle connections")]
    rest: Option<Box<VecDeque<Chunk>>>,
    bytes: u32,
    /// Total bytes received, modulo 2^32.
    received: u32,
    pauses: u32,
    paused: bool,
    /// The handler is gone: further input is dropped to drain the socket.
    discarding: bool,
    peer: PeerState,
    end: End,
    waker: Option<Waker>,
}

/// What a handler left behind.
#[must_use = "drop it after releasing the lock"]
pub(crate) struct Unread {
    _first: Option<Chunk>,
    _rest: Option<VecDeque<Chunk>>,
    _waker: Option<Waker>,
}

impl Inbound {
    pub(crate) fn new() -> Self {
        Self {
            first: None,
            rest: None,
            bytes: 0,
            received: 0,
            pauses: 0,
            paused: false,
            discarding: false,
            peer: PeerState::Open,
            end: End::Open,
            waker: None,
        }
    }

    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(crate) fn chunks(&self) -> u32 {
        u32::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len() as u32)
    }

    pub(crate) fn received(&self) -> u32 {
        self.received
    }

    pub(crate) fn pauses(&self) -> u32 {
        self.pauses
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Appends small `bytes` to the last chunk, if it owns its memory and has room.
    pub(crate) fn try_extend_last(&mut self, bytes: &[u8]) -> bool {
        let last = self.rest.as_mut().and_then(|rest| rest.back_mut()).or(self.first.as_mut());
        let extended = self.discarding || last.is_some_and(|chunk| chunk.try_extend(bytes));
        if extended && !self.discarding {
            self.count(bytes.len());
        }
        extended
    }

    #[inline(always)]
    fn count(&mut self, len: usize) {
        self.bytes += len as u32;
        self.received = self.received.wrapping_add(len as u32);
    }

    /// Appends a chunk. Inlined, so that the chunk is written in place instead of moved there afterwards.
    #[inline(always)]
    pub(crate) fn push(&mut self, chunk: Chunk) {
        if self.first.is_some() || self.discarding {
            return self.push_behind(chunk);
        }
        self.count(chunk.len());
        self.first = Some(chunk);
    }

    #[inline(never)]
    fn push_behind(&mut self, chunk: Chunk) {
        if !self.discarding {
            self.count(chunk.len());
            self.rest.get_or_insert_default().push_back(chunk);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.first.take()?;
        self.bytes -= chunk.len() as u32;
        if let Some(rest) = &mut self.rest {
            let next = rest.pop_front();
            if next.is_none() {
                self.rest = None;
            }
            // `first` is empty, which the compiler would test here to drop it.
            std::mem::forget(std::mem::replace(&mut self.first, next));
        }
        Some(chunk)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
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
        self.bytes = 0;
        Unread { _first: self.first.take(), _rest: self.rest.take().map(|rest| *rest), _waker: self.waker.take() }
    }

    pub(crate) fn is_over_high(&self, marks: &InboundMarks) -> bool {
        self.bytes >= marks.bytes_high || self.chunks() >= marks.chunks_high
    }

    pub(crate) fn is_over_low(&self, marks: &InboundMarks) -> bool {
        self.bytes > marks.bytes_low || self.chunks() > marks.chunks_low
    }

    /// Records that receiving stops until the low mark.
    pub(crate) fn pause(&mut self) {
        if !self.paused {
            self.paused = true;
            self.pauses = self.pauses.saturating_add(1);
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
        match &mut self.waker {
            Some(current) => current.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::shared::chunk::COALESCE_BYTES_MAX;

    const MARKS: InboundMarks = InboundMarks { bytes_high: 100, bytes_low: 20, chunks_high: 4, chunks_low: 1 };

    fn chunk(len: usize) -> Chunk {
        Chunk::from(vec![0; len])
    }

    #[test]
    fn keeps_order_and_counts() {
        let mut inbound = Inbound::new();
        for len in 1..=5 {
            inbound.push(chunk(len));
        }
        assert_eq!((inbound.bytes(), inbound.chunks()), (15, 5));
        for len in 1..=5 {
            assert_eq!(inbound.pop().unwrap().len(), len);
        }
        assert!(inbound.pop().is_none());
        assert_eq!((inbound.bytes(), inbound.chunks()), (0, 0));
    }

    #[test]
    fn pauses_at_the_high_mark_and_resumes_once_at_the_low_mark() {
        let mut inbound = Inbound::new();
        inbound.push(chunk(60));
        assert!(!inbound.is_over_high(&MARKS));
        inbound.push(chunk(40));
        assert!(inbound.is_over_high(&MARKS));
        inbound.pause();
        assert!(!inbound.take_resume(&MARKS));
        inbound.pop();
        assert!(!inbound.take_resume(&MARKS), "40 bytes are over the low mark");
        inbound.pop();
        assert!(inbound.take_resume(&MARKS));
        assert!(!inbound.take_resume(&MARKS), "resumes once");
        assert_eq!(inbound.pauses(), 1);
    }

    #[test]
    fn the_chunk_mark_holds_too() {
        let mut inbound = Inbound::new();
        for _ in 0..4 {
            inbound.push(chunk(1));
        }
        assert!(inbound.is_over_high(&MARKS));
    }

    #[test]
    fn both_low_marks_are_the_last_values_to_resume_at() {
        // One chunk of 20 bytes; one of 21; two chunks of one byte.
        for (lens, resumes) in [(&[20][..], true), (&[21], false), (&[1, 1], false)] {
            let mut inbound = Inbound::new();
            lens.iter().for_each(|len| inbound.push(chunk(*len)));
            inbound.pause();
            assert_eq!(inbound.take_resume(&MARKS), resumes, "{lens:?}");
            assert_eq!(inbound.is_paused(), !resumes);
        }
    }

    #[test]
    fn every_pause_counts_once() {
        let mut inbound = Inbound::new();
        assert!(!inbound.take_resume(&MARKS), "nothing is paused");
        assert_eq!(inbound.pauses(), 0);
        for pauses in 1..=3 {
            inbound.pause();
            inbound.pause();
            assert!(inbound.is_paused());
            assert_eq!(inbound.pauses(), pauses);
            assert!(inbound.take_resume(&MARKS));
        }
    }

    #[test]
    fn small_receives_share_a_chunk() {
        let mut inbound = Inbound::new();
        assert!(!inbound.try_extend_last(&[1]), "there is no chunk");
        inbound.push(chunk(10));
        assert!(inbound.try_extend_last(&[1; 10]));
        assert_eq!((inbound.bytes(), inbound.chunks()), (20, 1));
        // Order holds: only the last chunk grows, and a full one does not.
        inbound.push(chunk(COALESCE_BYTES_MAX - 1));
        assert!(!inbound.try_extend_last(&[1; 2]));
        assert!(inbound.try_extend_last(&[1]));
        assert_eq!(inbound.bytes() as usize, 20 + COALESCE_BYTES_MAX);
        assert_eq!((inbound.received(), inbound.chunks()), (inbound.bytes(), 2));
        assert_eq!(inbound.pop().unwrap().len(), 20);
    }

    #[test]
    fn received_bytes_stay_counted_when_they_are_taken() {
        let mut inbound = Inbound::new();
        assert!(inbound.is_empty());
        for _ in 0..2 {
            inbound.push(chunk(10));
            assert!(!inbound.is_empty());
            inbound.pop();
        }
        assert!(inbound.is_empty());
        assert_eq!((inbound.bytes(), inbound.received()), (0, 20));
    }

    #[test]
    fn a_reader_is_woken_once_and_where_it_polled_last() {
        let [first, last] = [(); 2].map(|()| Arc::new(Task));
        let mut inbound = Inbound::new();
        assert!(inbound.take_waker().is_none());
        inbound.set_waker(&Waker::from(Arc::clone(&first)));
        inbound.set_waker(&Waker::from(Arc::clone(&last)));
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&last)), (1, 2));
        assert!(inbound.take_waker().is_some() && inbound.take_waker().is_none());
    }

    struct Task;

    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn the_first_end_stands() {
        let mut inbound = Inbound::new();
        inbound.finish(End::Eof);
        inbound.finish(End::Failed(CloseCause::Reset));
        assert_eq!(inbound.end(), End::Eof);
    }

    /// The end of the peer behind unread bytes, the end of the stream, and a failure.
    #[test]
    fn the_end_of_the_peer_is_watched_for_a_failure_once() {
        let ends: [fn(&mut Inbound); 3] = [
            Inbound::note_peer_end,
            |inbound| inbound.finish(End::Eof),
            |inbound| inbound.finish(End::Failed(CloseCause::Reset)),
        ];
        for (case, end) in ends.into_iter().enumerate() {
            let mut inbound = Inbound::new();
            assert!(!inbound.has_peer_ended());
            assert!(!inbound.take_watch(), "there is nothing to watch for in case {case}");
            assert!(!inbound.has_peer_ended() && !inbound.is_watched());
            end(&mut inbound);
            assert!(inbound.has_peer_ended() && !inbound.is_watched(), "case {case}");
            assert!(inbound.take_watch(), "case {case}");
            // Another sign of the end changes nothing.
            inbound.note_peer_end();
            assert!(inbound.has_peer_ended() && inbound.is_watched(), "case {case}");
            assert!(!inbound.take_watch(), "case {case} is watched twice");
        }
    }

    #[test]
    fn a_peer_that_ends_behind_unread_bytes_leaves_the_stream_open() {
        let mut inbound = Inbound::new();
        inbound.push(chunk(1));
        inbound.note_peer_end();
        assert_eq!((inbound.end(), inbound.bytes()), (End::Open, 1));
    }

    #[test]
    fn discarding_drops_what_arrives() {
        let mut inbound = Inbound::new();
        inbound.push(chunk(10));
        drop(inbound.discard());
        inbound.push(chunk(10));
        assert!(inbound.try_extend_last(&[1]));
        assert_eq!((inbound.bytes(), inbound.chunks()), (0, 0));
    }
}
