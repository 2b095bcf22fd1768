//! A worker's operations on one connection in memory.

use super::network::State;
use super::wire::Wire;
use crate::driver::{Event, ReceiveEnd, Received};
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::SendBatch;

/// The errno of a connection that its peer has reset.
const CONNECTION_RESET: i32 = libc::ECONNRESET;

/// A receive in progress.
struct ArmedReceive {
    /// Remaining bytes of its budget.
    left: Option<u32>,
    cancelled: bool,
}

/// ```text
///   Free ── accepted ──▶ Open ── close ──▶ Closing ──▶ Closed ── release ──▶ Free
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Free,
    Open,
    Closing { reset: bool },
    Closed,
}

pub(super) struct Slot {
    index: u32,
    generation: u32,
    state: SlotState,
    wire: u64,
    receive: Option<ArmedReceive>,
    /// The fill that is in place of a receive.
    fill: Option<Box<MemoryFill>>,
    /// The watch for the peer's end, and whether a FIN counts.
    watch: Option<bool>,
    batch: Option<SendBatch>,
    sent_bytes: u64,
    /// FIN is to be sent.
    fin: bool,
    /// The reset was reported to a receive. It is reported once.
    reset_seen: bool,
}

impl Slot {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            generation: 0,
            state: SlotState::Free,
            wire: 0,
            receive: None,
            fill: None,
            watch: None,
            batch: None,
            sent_bytes: 0,
            fin: false,
            reset_seen: false,
        }
    }

    pub(super) fn key(&self) -> ConnKey {
        ConnKey { index: self.index, generation: self.generation }
    }

    pub(super) fn open(&mut self, wire: u64) -> ConnKey {
        let generation = self.generation.wrapping_add(1);
        *self = Self { generation, state: SlotState::Open, wire, ..Self::new(self.index) };
        self.key()
    }

    pub(super) fn has_closed(&self) -> bool {
        self.state == SlotState::Closed
    }

    /// Frees the slot of a closed connection. Returns its index.
    pub(super) fn release(&mut self) -> u32 {
        self.state = SlotState::Free;
        self.index
    }

    pub(super) fn arm_receive(&mut self, budget: Option<u32>) {
        debug_assert!(self.receive.is_none(), "one receive at a time");
        self.receive = Some(ArmedReceive { left: budget, cancelled: false });
    }

    pub(super) fn cancel_receive(&mut self) {
        // It can have ended without the worker having processed that event.
        if let Some(receive) = &mut self.receive {
            receive.cancelled = true;
        }
    }

    pub(super) fn fill(&mut self, fill: Box<MemoryFill>) {
        debug_assert!(self.receive.is_none() && self.fill.is_none(), "one receive at a time");
        self.fill = Some(fill);
    }

    pub(super) fn watch_end(&mut self, fin: bool) {
        debug_assert!(self.watch.is_none(), "one watch at a time");
        self.watch = Some(fin);
    }

    pub(super) fn send(&mut self, batch: SendBatch) {
        debug_assert!(self.batch.is_none(), "one send at a time");
        self.batch = Some(batch);
    }

    pub(super) fn shutdown_write(&mut self) {
        self.fin = true;
    }

    /// Begins to close. Returns a send in flight, which is given up.
    pub(super) fn close(&mut self, reset: bool) -> Option<SendBatch> {
        self.state = SlotState::Closing { reset };
        self.receive = None;
        self.fill = None;
        self.watch = None;
        self.batch.take()
    }

    /// Returns the bytes that the client has, or has room for.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.receive.is_some())
            + usize::from(self.fill.is_some())
            + usize::from(self.watch.is_some())
            + usize::from(self.batch.is_some())
            + usize::from(matches!(self.state, SlotState::Closing { .. }))
    }

    /// Moves bytes and completes operations. Returns whether anything happened.
    pub(super) fn step(&mut self, state: &mut State, done: &mut Vec<SendBatch>, events: &mut Vec<Event>) -> bool {
        match self.state {
            SlotState::Free | SlotState::Closed => false,
            SlotState::Closing { reset } => {
                state.close_server(self.wire, reset);
                self.state = SlotState::Closed;
                events.push(Event::Closed { key: self.key() });
                true
            }
            SlotState::Open => {
                let (window_bytes, receive_bytes_max) = (state.window_bytes, state.receive_bytes_max);
                let Some(wire) = state.wire(self.wire) else { return false };
                let moved = self.step_send(wire, window_bytes, done, events);
                moved | self.step_receive(wire, receive_bytes_max, events) | self.step_watch(wire, events)
            }
        }
    }

    fn step_fill(&mut self, wire: &mut Wire, receive_bytes_max: usize, events: &mut Vec<Event>) -> bool {
        let key = self.key();
        let Some(fill) = &mut self.fill else { return false };
        let end = if wire.client_reset {
            if self.reset_seen { ReceiveEnd::Eof } else { ReceiveEnd::Failed(CONNECTION_RESET) }
        } else if !wire.to_server.bytes.is_empty() {
            let count = wire.to_server.bytes.len().min(receive_bytes_max).min(fill.place().len());
            fill.memory_mut().extend(wire.to_server.bytes.drain(..count));
            events.extend(self.fill.take().map(|fill| Event::Filled { key, fill }));
            return true;
        } else if wire.to_server.fin {
            ReceiveEnd::Eof
        } else {
            return false;
        };
        self.reset_seen |= wire.client_reset;
        self.fill = None;
        events.push(Event::ReceiveEnded { key, end });
        true
    }

    fn step_receive(&mut self, wire: &mut Wire, receive_bytes_max: usize, events: &mut Vec<Event>) -> bool {
        let key = self.key();
        let Some(receive) = &mut self.receive else { return self.step_fill(wire, receive_bytes_max, events) };
        let end = if wire.client_reset {
            if self.reset_seen { ReceiveEnd::Eof } else { ReceiveEnd::Failed(CONNECTION_RESET) }
        } else if !wire.to_server.bytes.is_empty() {
            let count = wire.to_server.bytes.len().min(receive_bytes_max);
            let data = Received::Owned(wire.to_server.bytes.drain(..count).collect());
            receive.left = receive.left.map(|left| left.saturating_sub(count as u32));
            let more = receive.left != Some(0);
            if !more {
                self.receive = None;
            }
            events.push(Event::Received { key, data, more });
            return true;
        } else if wire.to_server.fin {
            ReceiveEnd::Eof
        } else if receive.cancelled {
            ReceiveEnd::Cancelled
        } else {
            return false;
        };
        self.reset_seen |= wire.client_reset;
        self.receive = None;
        events.push(Event::ReceiveEnded { key, end });
        true
    }

    fn step_send(
        &mut self,
        wire: &mut Wire,
        window_bytes: usize,
        done: &mut Vec<SendBatch>,
        events: &mut Vec<Event>,
    ) -> bool {
        let key = self.key();
        let Some(batch) = &mut self.batch else {
            wire.to_client.fin |= self.fin;
            return false;
        };
        if wire.client_reset {
            done.extend(self.batch.take());
            events.push(Event::Sent { key, result: Err(CONNECTION_RESET) });
            return true;
        }
        let room =
            if wire.client_closed { usize::MAX } else { window_bytes.saturating_sub(wire.to_client.bytes.len()) };
        let count = room.min(batch.remaining());
        if count == 0 {
            return false;
        }
        if wire.client_closed {
            // Nothing has the port any more: the answer to these bytes is a reset.
            wire.client_reset = true;
        } else {
            let mut left = count;
            for slice in batch.slices() {
                let part = left.min(slice.len());
                wire.to_client.bytes.extend(&slice[..part]);
                left -= part;
            }
        }
        self.sent_bytes += count as u64;
        if batch.advance(count) {
            done.extend(self.batch.take());
            events.push(Event::Sent { key, result: Ok(()) });
        }
        true
    }

    fn step_watch(&mut self, wire: &Wire, events: &mut Vec<Event>) -> bool {
        let Some(fin) = self.watch else { return false };
        if !(wire.client_reset || (fin && wire.to_server.fin)) {
            return false;
        }
        self.watch = None;
        let error = wire.client_reset.then_some(CONNECTION_RESET);
        events.push(Event::PeerEnded { key: self.key(), error });
        true
    }
}
