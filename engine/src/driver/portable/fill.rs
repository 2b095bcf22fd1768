//! Receiving once into memory of the reader, as soon as there is anything.

use std::io;

use super::slot::PeerEnd;
use super::{PortableDriver, system};
use crate::driver::{Event, ReceiveEnd};
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;

impl PortableDriver {
    pub(super) fn fill(&mut self, key: ConnKey, fill: Box<MemoryFill>) {
        let Some(slot) = self.slot(key) else { return };
        debug_assert!(!slot.receiving && !slot.is_filling(), "one receive is armed at a time");
        slot.set_filling(true);
        self.fills.insert(key.index, fill);
        let mut pending = std::mem::take(&mut self.pending);
        self.receive_fill(key.index, &mut pending);
        self.pending = pending;
    }

    /// Reads once into the fill of a connection, if it has one and is readable. With neither a receive nor a fill, a
    /// failure that is watched for is reported.
    #[inline(never)]
    pub(super) fn receive_fill(&mut self, index: u32, events: &mut Vec<Event>) {
        let slot = &mut self.slots[index];
        let key = ConnKey { index, generation: slot.generation };
        if !slot.is_filling() && slot.end == PeerEnd::Error {
            return self.report_end(key, events);
        }
        if !slot.is_filling() || !slot.readable {
            return;
        }
        let (Some(socket), Some(mut fill)) = (&slot.socket, self.fills.remove(&index)) else { return };
        let place = fill.place();
        let room = place.len();
        let read = loop {
            match socket.recv(place) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let event = match read {
            Ok(0) => Event::ReceiveEnded { key, end: ReceiveEnd::Eof },
            Ok(len) => {
                // As after a read into a buffer.
                slot.readable = len == room || slot.urgent || slot.end != PeerEnd::None;
                let memory = fill.memory_mut();
                // SAFETY: the system has written this many bytes to the place, which begins at the memory's length.
                unsafe { memory.set_len(memory.len() + len) };
                self.received_bytes += len;
                Event::Filled { key, fill }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.readable = false;
                slot.urgent = system::MAYBE_URGENT;
                self.fills.insert(index, fill);
                return;
            }
            Err(error) => {
                let end = ReceiveEnd::Failed(error.raw_os_error().unwrap_or(0));
                Event::ReceiveEnded { key, end }
            }
        };
        slot.set_filling(false);
        events.push(event);
        self.report_end(key, events);
    }
}
