//! Sending: at once, in the tick that queued the bytes. What the socket does not take waits until it is writable.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use mio::Interest;
use mio::unix::SourceFd;
use socket2::Socket;

use super::slot::NOTHING_UNSENT;
use super::{PortableDriver, system, token};
use crate::driver::send_file::{self, Progress};
use crate::driver::{Event, LIST_ENTRIES_KEPT};
use crate::shared::key::ConnKey;
use crate::shared::send_batch::{BATCH_SEGMENTS_MAX, SendBatch};

/// Batches that wait for their socket, by number.
#[derive(Default)]
pub(super) struct Unsent {
    batches: Vec<Option<SendBatch>>,
    free: Vec<u32>,
}

impl Unsent {
    fn insert(&mut self, batch: SendBatch) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.batches.push(None);
            (self.batches.len() - 1) as u32
        });
        self.batches[number as usize] = Some(batch);
        number
    }

    /// Gives the memory of numbers back that are free, from the last one down. Returns whether many are left.
    pub(super) fn trim(&mut self) -> bool {
        while self.batches.last().is_some_and(Option::is_none) {
            self.batches.pop();
        }
        let bound = self.batches.len() as u32;
        self.free.retain(|number| *number < bound);
        self.batches.shrink_to(LIST_ENTRIES_KEPT);
        self.free.shrink_to(LIST_ENTRIES_KEPT);
        self.batches.len() > LIST_ENTRIES_KEPT
    }

    /// Drops a batch and frees its number.
    pub(super) fn remove(&mut self, number: u32) {
        if number != NOTHING_UNSENT {
            self.batches[number as usize] = None;
            self.free.push(number);
        }
    }
}

impl PortableDriver {
    pub(super) fn send(&mut self, key: ConnKey, mut batch: SendBatch) {
        let Some(slot) = self.slot(key) else { return };
        debug_assert!(slot.unsent == NOTHING_UNSENT, "one send is in flight at a time");
        let Some(socket) = &slot.socket else { return };
        match write(socket, &mut batch, key) {
            Some(event) => self.pending.push(event),
            None => self.wait_until_writable(key, batch),
        }
    }

    fn wait_until_writable(&mut self, key: ConnKey, batch: SendBatch) {
        let slot = &mut self.slots[key.index];
        if let Some(socket) = slot.socket.as_ref().filter(|_| !slot.watches_writability) {
            let both = system::RECEIVES.add(Interest::WRITABLE);
            let watched = self.poll.registry().reregister(&mut SourceFd(&socket.as_raw_fd()), token(key), both);
            if let Err(error) = watched {
                return self.pending.push(Event::Sent { key, result: Err(errno(&error)) });
            }
            slot.watches_writability = true;
        }
        slot.unsent = self.unsent.insert(batch);
        if slot.unsent as usize == LIST_ENTRIES_KEPT {
            self.pending.push(Event::Burst);
        }
    }

    /// Continues the send that waits for the socket to be writable, if there is one.
    pub(super) fn send_unsent(&mut self, key: ConnKey, events: &mut Vec<Event>) {
        let slot = &mut self.slots[key.index];
        let number = slot.unsent;
        let Some(Some(batch)) = self.unsent.batches.get_mut(number as usize) else { return };
        let Some(event) = slot.socket.as_ref().and_then(|socket| write(socket, batch, key)) else { return };
        slot.unsent = NOTHING_UNSENT;
        self.unsent.remove(number);
        events.push(event);
    }
}

/// Writes a batch and returns the event of its end. Returns `None` if the rest has to wait until the socket is
/// writable: it then becomes so once, also after a write of a part.
fn write(socket: &Socket, batch: &mut SendBatch, key: ConnKey) -> Option<Event> {
    while batch.file().is_some() {
        match send_file::send(socket, batch) {
            Progress::Done => return Some(Event::Sent { key, result: Ok(()) }),
            Progress::Full => return None,
            Progress::Short if !send_file::is_writable(socket) => return None,
            Progress::Short | Progress::Loaded => {}
            Progress::Failed(errno) => return Some(Event::Sent { key, result: Err(errno) }),
            Progress::FileFailed(error) => return Some(Event::FileFailed { key, error }),
        }
    }
    write_bytes(socket, batch).map(|result| Event::Sent { key, result })
}

fn write_bytes(socket: &Socket, batch: &mut SendBatch) -> Option<Result<(), i32>> {
    let flags = system::send_flags(batch.more_follows);
    loop {
        let sent = if batch.rest.is_none() {
            socket.send_with_flags(&batch.first.as_slice()[batch.offset..], flags)
        } else {
            write_vectored(socket, batch, flags)
        };
        match sent {
            Ok(sent) => return batch.advance(sent).then_some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => return Some(Err(errno(&error))),
        }
    }
}

fn write_vectored(socket: &Socket, batch: &SendBatch, flags: i32) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); BATCH_SEGMENTS_MAX + 1];
    let mut count = 0;
    for (slice, bytes) in slices.iter_mut().zip(batch.slices()) {
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    socket.send_vectored_with_flags(&slices[..count], flags)
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_batches_that_have_left_is_given_back() {
        const BATCHES: u32 = 10 * LIST_ENTRIES_KEPT as u32;
        let mut unsent = Unsent::default();
        for number in 0..BATCHES {
            assert_eq!(unsent.insert(SendBatch::single(vec![0].into())), number);
        }
        assert!(unsent.trim());
        let last = BATCHES / 2;
        (0..BATCHES).filter(|number| *number != last).for_each(|number| unsent.remove(number));
        assert!(unsent.trim(), "one waits in the middle");
        assert_eq!((unsent.batches.len(), unsent.free.len()), (last as usize + 1, last as usize));
        unsent.remove(last);
        assert!(!unsent.trim());
        assert!(unsent.batches.capacity() <= LIST_ENTRIES_KEPT && unsent.free.capacity() <= LIST_ENTRIES_KEPT);
        assert_eq!(unsent.insert(SendBatch::single(vec![0].into())), 0);
    }
}
