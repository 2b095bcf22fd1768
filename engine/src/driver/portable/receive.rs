//! Receiving: reads into the worker's memory, within the receive's budget and each connection's share of a tick.

use std::io;

use super::buffers::{LARGE_BYTES, SMALL_BYTES};
use super::slot::{PeerEnd, UNBOUNDED};
use super::{PortableDriver, system};
use crate::driver::{Event, ReceiveEnd};
use crate::shared::key::ConnKey;

/// Bytes after which a connection continues in the next tick, so that one that floods delays the others by little.
const TURN_BYTES: usize = 64 * 1024;
/// Bytes received in a tick after which every further connection reads once: nobody waits for more than this, and
/// everything that has arrived is noticed before timers expire.
const TICK_BYTES: usize = 1024 * 1024;
/// A receive ends when less than this is left of its budget, and the worker arms the next one with what its handler has
/// read meanwhile. A read is therefore rarely cut short by a budget, which would cut a message in two.
const BUDGET_REST_BYTES: u32 = LARGE_BYTES as u32;
/// Small reads in a row after which a connection leaves the large buffers. Messages can end in a small read.
const LARGE_READS: u8 = 4;

impl PortableDriver {
    pub(super) fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        let Some(slot) = self.slot(key) else { return };
        debug_assert!(!slot.receiving, "one receive is armed at a time");
        slot.receiving = true;
        slot.budget = budget.unwrap_or(UNBOUNDED);
        if slot.readable {
            self.continue_later(key.index);
        }
    }

    pub(super) fn cancel_receive(&mut self, key: ConnKey) {
        let Some(slot) = self.slot(key).filter(|slot| slot.receiving) else { return };
        slot.receiving = false;
        self.pending.push(Event::ReceiveEnded { key, end: ReceiveEnd::Cancelled });
    }

    /// Reads from the `count` connections that the last ticks left at the front of the list.
    pub(super) fn receive_unfinished(&mut self, count: usize, events: &mut Vec<Event>) {
        for _ in 0..count {
            let Some(index) = self.ready.pop_front() else { return };
            let slot = &mut self.slots[index];
            if std::mem::take(&mut slot.queued) && slot.socket.is_some() {
                self.receive(index, events);
            }
        }
    }

    /// Reads from a connection while it is readable and its receive armed, at most its share of a tick. A connection
    /// in the list has its turn there.
    pub(super) fn receive(&mut self, index: u32, events: &mut Vec<Event>) {
        let mut received = 0;
        loop {
            let slot = &self.slots[index];
            if !slot.receiving {
                return self.receive_fill(index, events);
            }
            if !slot.readable || slot.queued {
                return;
            }
            if received > 0 && (received >= TURN_BYTES || self.received_bytes >= TICK_BYTES) {
                return self.continue_later(index);
            }
            let len = self.read_once(index, events);
            received += len;
            self.received_bytes += len;
        }
    }

    /// Reads once and reports the outcome. Returns the number of bytes.
    fn read_once(&mut self, index: u32, events: &mut Vec<Event>) -> usize {
        let slot = &mut self.slots[index];
        let key = ConnKey { index, generation: slot.generation };
        let Some(socket) = &slot.socket else { return 0 };
        let read = match self.buffers.read(socket, slot.budget as usize, slot.large_reads > 0) {
            Ok(Some(read)) => read,
            Ok(None) => {
                slot.receiving = false;
                events.push(Event::ReceiveEnded { key, end: ReceiveEnd::Eof });
                return 0;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.readable = false;
                slot.urgent = system::MAYBE_URGENT;
                return 0;
            }
            Err(error) => {
                slot.receiving = false;
                let errno = error.raw_os_error().unwrap_or(0);
                events.push(Event::ReceiveEnded { key, end: ReceiveEnd::Failed(errno) });
                return 0;
            }
        };
        // Later bytes make the socket readable again. A known end has to be read.
        slot.readable = !read.short || slot.urgent || slot.end != PeerEnd::None;
        slot.large_reads = if read.len >= SMALL_BYTES { LARGE_READS } else { slot.large_reads.saturating_sub(1) };
        if slot.budget != UNBOUNDED {
            slot.budget -= read.len as u32;
            slot.receiving = slot.budget >= BUDGET_REST_BYTES;
        }
        events.push(Event::Received { key, data: read.data, more: slot.receiving });
        read.len
    }

    /// Gives a connection its next turn in the next tick.
    fn continue_later(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        if !std::mem::replace(&mut slot.queued, true) {
            self.ready.push_back(index);
        }
    }
}
