//! Sends in flight: at most one per connection, each owning its bytes until the kernel has finished with them.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use io_uring::{opcode, types};

use super::UringDriver;
use super::op::{Op, Token};
use super::slot::{NO_SEND, SlotState, slot_of};
use crate::driver::Event;
use crate::shared::key::ConnKey;
use crate::shared::send_batch::{BATCH_SEGMENTS_MAX, Owned, Segment, SendBatch};

/// A send waits for the whole batch, so a short result means that the connection failed or a signal arrived.
const FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// Returns the flags of a send. Bytes that something follows at once wait in the kernel for it, to share its segment.
fn flags(batch: &SendBatch) -> i32 {
    if batch.more_follows { FLAGS | libc::MSG_MORE } else { FLAGS }
}

/// Batches in flight, by number.
#[derive(Default)]
pub(super) struct Sends {
    entries: Vec<InFlight>,
    free: Vec<u32>,
}

#[derive(Default)]
pub(super) struct InFlight {
    pub(super) batch: Option<SendBatch>,
    /// The kernel's list for a vectored send, reused by the next one.
    vector: Option<Box<Vector>>,
    /// The socket's descriptor while a part of a file is sent, unless the slot has a regular one.
    pub(super) installed: Option<OwnedFd>,
}

struct Vector {
    slices: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Sends {
    fn insert(&mut self, batch: SendBatch) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(InFlight::default());
            (self.entries.len() - 1) as u32
        });
        self.entries[number as usize].batch = Some(batch);
        number
    }

    /// Returns the batch in flight of a number.
    pub(super) fn get(&mut self, number: u32) -> Option<&mut InFlight> {
        self.entries.get_mut(number as usize)
    }

    /// Frees the number of a finished batch.
    pub(super) fn remove(&mut self, number: u32) {
        self.entries[number as usize].batch = None;
        self.free.push(number);
    }

    /// Keeps every batch in flight, and the lists, allocated for the rest of the process.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.entries));
    }
}

impl UringDriver {
    pub(super) fn send(&mut self, key: ConnKey, batch: SendBatch) {
        let slot = slot_of(&mut self.slots, key);
        let open = slot.filter(|slot| slot.state == SlotState::Open && slot.send == NO_SEND);
        debug_assert!(open.is_some(), "a send needs an open connection without another one");
        let Some(slot) = open else { return };
        let fin_follows = batch.fin_follows;
        let number = self.sends.insert(batch);
        slot.send = number;
        self.submit_send(key, number);
        if fin_follows {
            self.prepare_shutdown(key);
        }
    }

    pub(super) fn submit_send(&mut self, key: ConnKey, number: u32) {
        let fd = types::Fd(self.fd(key));
        let InFlight { batch: Some(batch), vector, .. } = &mut self.sends.entries[number as usize] else { return };
        let flags = flags(batch);
        let entry = if batch.rest.is_none() {
            let bytes = match &batch.first {
                Segment::Owned(Owned::File(_)) => return self.begin_file(key),
                first => &first.as_slice()[batch.offset..],
            };
            opcode::Send::new(fd, bytes.as_ptr(), bytes.len().min(i32::MAX as usize) as u32).flags(flags).build()
        } else {
            opcode::SendMsg::new(fd, fill(vector, batch)).flags(flags as u32).build()
        };
        // SAFETY: the batch, and the boxed list of a vectored send, stay untouched in `self.sends` until the completion
        // is reaped; moving the table's entries does not move the heap memory the kernel was given.
        unsafe { self.push(Token::new(Op::Send, key), entry) };
    }

    pub(super) fn on_send(&mut self, key: ConnKey, result: i32, events: &mut Vec<Event>) {
        let Some(slot) = slot_of(&mut self.slots, key).filter(|slot| slot.send != NO_SEND) else {
            debug_assert!(false, "a send of a slot's former connection outlived it");
            return;
        };
        let (number, ending) = (slot.send, slot.state != SlotState::Open);
        let InFlight { batch: Some(batch), .. } = &mut self.sends.entries[number as usize] else { return };
        let outcome = match result {
            0.. if batch.advance(result as usize) => Ok(()),
            // A short send, or a signal before the first byte: the tail is sent again. A failed connection then returns
            // its error.
            0.. if !ending => return self.submit_send(key, number),
            _ if result == -libc::EINTR && !ending => return self.submit_send(key, number),
            0.. => Err(libc::ECANCELED),
            _ => Err(-result),
        };
        self.sends.remove(number);
        slot.send = NO_SEND;
        if ending {
            self.advance_close(key);
        } else {
            events.push(Event::Sent { key, result: outcome });
        }
    }
}

/// Lists the batch's bytes for the kernel. Returns the header of the list.
fn fill(vector: &mut Option<Box<Vector>>, batch: &SendBatch) -> *const libc::msghdr {
    let vector = vector.get_or_insert_with(|| {
        // SAFETY: a zeroed `msghdr` has no name, data or control data.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Vector { slices: Vec::with_capacity(BATCH_SEGMENTS_MAX + 1), header })
    });
    vector.slices.clear();
    for slice in batch.slices().map(IoSlice::new) {
        vector.slices.push(libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() });
    }
    vector.header.msg_iov = vector.slices.as_mut_ptr();
    vector.header.msg_iovlen = vector.slices.len() as _;
    &vector.header
}
