//! The simulated ring's work for one connection: its operations, and the completions not yet shown.

use std::collections::VecDeque;
use std::time::Duration;

use super::pool::Pool;
use super::{Luck, Peer};
use crate::driver::{Event, ReceiveEnd, Received};
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::{BATCH_SEGMENTS_MAX, SendBatch};

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;

/// ```text
///   Free ── accepted ──▶ Open ── close ──▶ Closing ──▶ Free
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    Free,
    Open,
    Closing { reset: bool },
}

/// A receive in the kernel.
struct ArmedReceive {
    /// Remaining bytes of its budget.
    left: Option<u32>,
    cancelled: bool,
}

/// A completion of a receive that is not yet shown to the worker.
enum Seen {
    Data { data: Received, more: bool },
    Filled(Box<MemoryFill>),
    End(ReceiveEnd),
}

pub(super) struct Slot {
    index: u32,
    generation: u32,
    pub(super) state: SlotState,
    peer: Option<usize>,
    armed: Option<ArmedReceive>,
    /// The fill in the kernel, in place of a receive.
    fill: Option<Box<MemoryFill>>,
    seen: VecDeque<Seen>,
    /// The receive has not ended as far as the worker knows.
    receiving: bool,
    batch: Option<SendBatch>,
    sent: Option<Result<(), i32>>,
    /// FIN was sent.
    fin: bool,
    /// The peer's reset was reported. It is reported once.
    reset_seen: bool,
    /// The watch for the peer's end, and whether a FIN counts.
    watch: Option<bool>,
}

impl Slot {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            generation: 0,
            state: SlotState::Free,
            peer: None,
            armed: None,
            fill: None,
            seen: VecDeque::new(),
            receiving: false,
            batch: None,
            sent: None,
            fin: false,
            reset_seen: false,
            watch: None,
        }
    }

    pub(super) fn key(&self) -> ConnKey {
        ConnKey { index: self.index, generation: self.generation }
    }

    pub(super) fn peer(&self) -> Option<usize> {
        self.peer
    }

    pub(super) fn open(&mut self, peer: usize) -> ConnKey {
        let generation = self.generation + 1;
        *self = Self { generation, state: SlotState::Open, peer: Some(peer), ..Self::new(self.index) };
        self.key()
    }

    pub(super) fn arm_receive(&mut self, budget: Option<u32>) {
        assert!(!self.receiving, "one receive at a time");
        self.receiving = true;
        self.armed = Some(ArmedReceive { left: budget, cancelled: false });
    }

    pub(super) fn fill(&mut self, fill: Box<MemoryFill>) {
        assert!(!self.receiving, "one receive at a time");
        self.receiving = true;
        self.fill = Some(fill);
    }

    pub(super) fn cancel_receive(&mut self) {
        // It may have ended already without the worker having processed that event. The cancellation then finds
        // nothing.
        if let Some(armed) = &mut self.armed {
            armed.cancelled = true;
        }
    }

    pub(super) fn watch_end(&mut self, fin: bool) {
        assert!(self.watch.is_none(), "one watch at a time");
        self.watch = Some(fin);
    }

    pub(super) fn send(&mut self, mut batch: SendBatch) {
        batch.load_file().expect("a file that does not change");
        assert!(self.batch.is_none() && self.sent.is_none(), "one send at a time");
        assert!(!self.fin, "a send after FIN");
        assert!(batch.remaining() > 0, "an empty send");
        assert!(batch.slices().count() <= BATCH_SEGMENTS_MAX);
        self.batch = Some(batch);
    }

    pub(super) fn shutdown_write(&mut self, peers: &mut [Peer]) {
        assert!(self.batch.is_none() && self.sent.is_none(), "FIN under a send");
        assert!(!self.fin, "one FIN");
        self.fin = true;
        if let Some(peer) = self.peer {
            peers[peer].deliver_fin();
        }
    }

    pub(super) fn close(&mut self, reset: bool, pool: &mut Pool) {
        assert!(reset || (self.batch.is_none() && self.sent.is_none()), "an orderly close under a send");
        // The close cancels an armed receive, which reports nothing more.
        self.state = SlotState::Closing { reset };
        self.armed = None;
        self.fill = None;
        self.watch = None;
        self.batch = None;
        self.sent = None;
        self.receiving = false;
        for seen in self.seen.drain(..) {
            if let Seen::Data { data, .. } = seen {
                pool.recycle(&data);
            }
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.receiving)
            + usize::from(self.watch.is_some())
            + usize::from(self.batch.is_some() || self.sent.is_some())
            + usize::from(matches!(self.state, SlotState::Closing { .. }))
    }

    /// Moves bytes in the kernel, and shows the worker some of the completions.
    pub(super) fn step(
        &mut self,
        peer: &mut Peer,
        pool: &mut Pool,
        luck: &mut Luck,
        now: Duration,
        force: bool,
        events: &mut Vec<Event>,
    ) -> bool {
        match self.state {
            SlotState::Free => false,
            SlotState::Open => {
                let moved = self.kernel_receive(peer, pool, luck, force) | self.kernel_send(peer, luck, force);
                moved | self.step_watch(peer, luck, force, events) | self.show(luck, force, events)
            }
            SlotState::Closing { reset } => {
                if !luck.now(force) {
                    return false;
                }
                self.state = SlotState::Free;
                self.peer = None;
                peer.closed(reset, now);
                events.push(Event::Closed { key: self.key() });
                true
            }
        }
    }

    /// Reports the watched end of the peer, even behind bytes that have not been received.
    fn step_watch(&mut self, peer: &Peer, luck: &mut Luck, force: bool, events: &mut Vec<Event>) -> bool {
        let Some(fin) = self.watch else { return false };
        if !(peer.reset_sent || (fin && peer.fin_sent)) || !luck.now(force) {
            return false;
        }
        self.watch = None;
        let error = peer.reset_sent.then_some(ECONNRESET);
        events.push(Event::PeerEnded { key: self.key(), error });
        true
    }

    fn kernel_receive(&mut self, peer: &mut Peer, pool: &mut Pool, luck: &mut Luck, force: bool) -> bool {
        let Some(armed) = &mut self.armed else { return self.kernel_receive_fill(peer, luck, force) };
        let ready = !peer.inbox.is_empty() || peer.fin_sent || (peer.reset_sent && !self.reset_seen);
        if !(ready || armed.cancelled || peer.reset_sent) || !luck.now(force) {
            return false;
        }
        // A cancellation either beats the data or comes too late, at random.
        let end = if armed.cancelled && (!ready || luck.now(false)) {
            ReceiveEnd::Cancelled
        } else if !pool.has_free() {
            ReceiveEnd::Starved
        } else if !peer.inbox.is_empty() {
            return self.kernel_fill(peer, pool, luck);
        } else if peer.reset_sent && !self.reset_seen {
            self.reset_seen = true;
            ReceiveEnd::Failed(ECONNRESET)
        } else {
            ReceiveEnd::Eof
        };
        self.armed = None;
        self.seen.push_back(Seen::End(end));
        true
    }

    fn kernel_receive_fill(&mut self, peer: &mut Peer, luck: &mut Luck, force: bool) -> bool {
        let Some(mut fill) = self.fill.take() else { return false };
        let ready = !peer.inbox.is_empty() || peer.fin_sent || peer.reset_sent;
        if !ready || !luck.now(force) {
            self.fill = Some(fill);
            return false;
        }
        self.seen.push_back(if !peer.inbox.is_empty() {
            let piece = luck.piece(peer.inbox.len().min(fill.place().len()));
            fill.memory_mut().extend(peer.inbox.drain(..piece));
            Seen::Filled(fill)
        } else if peer.reset_sent && !self.reset_seen {
            self.reset_seen = true;
            Seen::End(ReceiveEnd::Failed(ECONNRESET))
        } else {
            Seen::End(ReceiveEnd::Eof)
        });
        true
    }

    fn kernel_fill(&mut self, peer: &mut Peer, pool: &mut Pool, luck: &mut Luck) -> bool {
        let Some(armed) = &mut self.armed else { return false };
        let piece = luck.piece(peer.inbox.len().min(pool.buffer_bytes));
        let data = pool.fill(peer.inbox.drain(..piece).collect());
        armed.left = armed.left.map(|left| left.saturating_sub(piece as u32));
        // Kernels can end a multishot for other reasons too.
        let more = armed.left != Some(0) && !luck.fault(8);
        if !more {
            self.armed = None;
        }
        self.seen.push_back(Seen::Data { data, more });
        true
    }

    fn kernel_send(&mut self, peer: &mut Peer, luck: &mut Luck, force: bool) -> bool {
        let Some(batch) = &mut self.batch else { return false };
        let failed = peer.reset_sent;
        if (peer.room() == 0 && !failed) || !luck.now(force) {
            return false;
        }
        if failed {
            let errno = if self.reset_seen { EPIPE } else { ECONNRESET };
            self.batch = None;
            self.sent = Some(Err(errno));
            return true;
        }
        let mut piece = luck.piece(peer.room().min(batch.remaining()));
        let moved = piece;
        for slice in batch.slices() {
            let part = piece.min(slice.len());
            peer.deliver(&slice[..part]);
            piece -= part;
        }
        if batch.advance(moved) {
            self.batch = None;
            self.sent = Some(Ok(()));
        }
        true
    }

    fn show(&mut self, luck: &mut Luck, force: bool, events: &mut Vec<Event>) -> bool {
        let key = self.key();
        let before = events.len();
        if self.sent.is_some() && luck.now(force) {
            events.extend(self.sent.take().map(|result| Event::Sent { key, result }));
        }
        while !self.seen.is_empty() && luck.now(force) {
            match self.seen.pop_front() {
                Some(Seen::Data { data, more }) => {
                    self.receiving = more;
                    events.push(Event::Received { key, data, more });
                }
                Some(Seen::Filled(fill)) => {
                    self.receiving = false;
                    events.push(Event::Filled { key, fill });
                }
                Some(Seen::End(end)) => {
                    self.receiving = false;
                    events.push(Event::ReceiveEnded { key, end });
                }
                None => {}
            }
        }
        events.len() > before
    }
}
