//! The receive buffers of one ring: memory that the kernel fills in the order in which it was given back.
//!
//! [`BufferGroups`] and their [`BufferRing`]s belong to the worker: they publish free buffers to the kernel and lease
//! filled ones to handlers. See `shared::lease` for the half that other threads share, and for the invariant.
//!
//! The kernel fills all published buffers in turn, so each of them comes to occupy memory. Most rings need few at a
//! time: a ring publishes some of its buffers and keeps the others in reserve. When half of those in circulation are
//! filled at once, their number doubles; when few were needed for a while, [`trim`](BufferGroups::trim) takes the
//! others back and gives their memory to the system. Once none was needed, it gives back the memory of all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::config::UringConfig;
use crate::driver::Received;
use crate::shared::chunk::Chunk;
use crate::shared::lease::{Lease, LeasePool};
use crate::shared::signal::Signal;
use crate::util::pages::Pages;

/// The groups' names towards the kernel.
const SMALL_GROUP: u16 = 0;
const LARGE_GROUP: u16 = 1;

/// One buffer in this many is never leased. Copying a large chunk costs more, and no connection waits for a large
/// buffer.
const SMALL_UNLEASED_SHARE: usize = 2;
const LARGE_UNLEASED_SHARE: usize = 4;

/// The buffers that receives draw from: small ones, and large ones for connections that receive large messages.
pub(super) struct BufferGroups {
    small: BufferRing,
    /// `None` if the configuration asks for none.
    large: Option<BufferRing>,
}

impl BufferGroups {
    /// Creates the groups, to be [registered](Self::register) with a ring.
    pub(super) fn new(config: &UringConfig, signal: &Arc<Signal>) -> io::Result<Self> {
        let (small_bytes, large_bytes) = (config.receive_buffer_bytes, config.large_receive_buffer_bytes);
        let small_pages = Pages::small(usize::from(config.receive_buffers) * small_bytes)?;
        let small = BufferRing::new(small_pages, config.receive_buffers, small_bytes, Arc::clone(signal))?;
        let mut groups = Self { small, large: None };
        if config.large_receive_buffers > 0 && large_bytes > small_bytes {
            let large_pages = Pages::new(usize::from(config.large_receive_buffers) * large_bytes)?;
            let large = BufferRing::new(large_pages, config.large_receive_buffers, large_bytes, Arc::clone(signal))?;
            groups.large = Some(large);
        }
        Ok(groups)
    }

    /// Registers the groups with `ring`.
    ///
    /// # Safety
    /// `ring` must be dropped before `self`, with no receive in flight.
    pub(super) unsafe fn register(&self, ring: &Ring) -> io::Result<()> {
        for (group, buffers) in [(SMALL_GROUP, Some(&self.small)), (LARGE_GROUP, self.large.as_ref())] {
            if let Some(buffers) = buffers {
                // SAFETY: guaranteed by the caller.
                unsafe { buffers.register(ring, group)? };
            }
        }
        Ok(())
    }

    /// Returns the kernel's name of a group.
    pub(super) fn group_id(large: bool) -> u16 {
        if large { LARGE_GROUP } else { SMALL_GROUP }
    }

    pub(super) fn small_bytes(&self) -> usize {
        self.small.buffer_bytes()
    }

    /// Returns the size of a large buffer, if any are used.
    pub(super) fn large_bytes(&self) -> Option<usize> {
        self.large.as_ref().map(BufferRing::buffer_bytes)
    }

    fn group(&mut self, large: bool) -> Option<&mut BufferRing> {
        if large { self.large.as_mut() } else { Some(&mut self.small) }
    }

    /// Records that the kernel filled a buffer. Returns whether more buffers were put into circulation for it.
    pub(super) fn filled(&mut self, large: bool) -> bool {
        self.group(large).is_some_and(BufferRing::filled)
    }

    /// Takes buffers out of circulation that were not needed since the last call, and gives their memory back. Returns
    /// whether a later call can give back more.
    ///
    /// # Safety
    /// Every completion of the ring has been reaped, and the kernel processes none of its operations meanwhile.
    pub(super) unsafe fn trim(&mut self) -> bool {
        // SAFETY: guaranteed by the caller.
        let is_small_left = unsafe { self.small.trim() };
        // SAFETY: as above.
        let is_large_left = self.large.as_mut().is_some_and(|large| unsafe { large.trim() });
        is_small_left || is_large_left
    }

    pub(super) fn view<'a>(&'a mut self, received: &'a mut Received) -> &'a mut [u8] {
        match received {
            Received::Owned(bytes) => bytes,
            Received::Buffer { buffer, large, len } => match self.group(*large) {
                Some(group) => group.view(*buffer, *len),
                None => &mut [],
            },
        }
    }

    pub(super) fn lease(&mut self, mut received: Received) -> Chunk {
        let (buffer, large, len) = match received {
            Received::Owned(bytes) => return Chunk::from(bytes),
            Received::Buffer { buffer, large, len } => (buffer, large, len),
        };
        match self.group(large) {
            Some(group) if group.is_plenty(if large { LARGE_UNLEASED_SHARE } else { SMALL_UNLEASED_SHARE }) => {
                Chunk::leased(group.lease(buffer, len))
            }
            _ => {
                let chunk = Chunk::copied_long(self.view(&mut received));
                self.recycle(received);
                chunk
            }
        }
    }

    pub(super) fn recycle(&mut self, received: Received) {
        if let Received::Buffer { buffer, large, .. } = received
            && let Some(group) = self.group(large)
        {
            group.recycle(buffer);
        }
    }

    /// Publishes returned buffers to the kernel.
    pub(super) fn publish(&mut self) {
        self.small.publish();
        if let Some(large) = &mut self.large {
            large.publish();
        }
    }

    /// Returns the number of free small buffers; no connection waits for a large one. See
    /// [`Driver::buffers_free_or_notify`](crate::driver::Driver::buffers_free_or_notify).
    pub(super) fn buffers_free_or_notify(&mut self) -> usize {
        if self.small.free() == 0 {
            self.small.notify_on_return();
        }
        self.small.free()
    }

    /// Keeps the memory mapped for the rest of the process, for a ring with operations still in flight.
    pub(super) fn leak(&self) {
        self.small.leak();
        if let Some(large) = &self.large {
            large.leak();
        }
    }
}

/// The buffers and the table of free ones that is shared with the kernel.
pub(super) struct BufferRing {
    pool: Arc<LeasePool>,
    table: Pages,
    count: u16,
    tail: u16,
    /// Buffers published to the kernel and not yet filled.
    free: usize,
    /// The lowest number of free buffers since the last trim.
    low: usize,
    /// Buffers that are not in `reserve`: free, filled or leased.
    circulating: usize,
    /// None was filled between the last two trims, so the memory of all is given back.
    rests: bool,
    reserve: Vec<u16>,
}

/// The memory of the buffers that a ring begins with and returns to: few pages, which stay in the processor's caches.
const CIRCULATING_BYTES_MIN: usize = 128 * 1024;

/// Buffers in circulation for each that was filled at the same time as the others: at least half of them are free then,
/// so that filled ones can leave by lease.
const CIRCULATING_PER_FILLED: usize = 4;

impl BufferRing {
    /// Creates `count` (a power of two, at most 32,768) buffers of `buffer_bytes` each in `pages`, all free, and not
    /// yet registered.
    pub(super) fn new(pages: Pages, count: u16, buffer_bytes: usize, signal: Arc<Signal>) -> io::Result<Self> {
        debug_assert!(count.is_power_of_two());
        let pool = LeasePool::new(pages, count, buffer_bytes, signal);
        let table = Pages::small(usize::from(count) * size_of::<BufRingEntry>())?;
        let reserve = (0..count).rev().collect();
        let mut ring = Self { pool, table, count, tail: 0, free: 0, low: 0, circulating: 0, rests: false, reserve };
        ring.grow(ring.circulating_min());
        ring.publish();
        Ok(ring)
    }

    /// Returns the number of buffers in circulation that is never fallen below.
    fn circulating_min(&self) -> usize {
        (CIRCULATING_BYTES_MIN / self.buffer_bytes()).clamp(2, usize::from(self.count))
    }

    /// Registers the buffers with `ring` as `group`.
    ///
    /// # Safety
    /// `self` must outlive `ring`, or the group be unregistered before `self` is dropped.
    pub(super) unsafe fn register(&self, ring: &Ring, group: u16) -> io::Result<()> {
        let table = self.table.address() as u64;
        // SAFETY: the table is mapped as long as `self` exists, which is long enough by this function's contract.
        unsafe { ring.submitter().register_buf_ring_with_flags(table, self.count, group, 0) }
    }

    fn buffer_bytes(&self) -> usize {
        self.pool.buffer_bytes()
    }

    /// Returns whether more than one in `share` buffers is free: only then can filled ones leave by lease, so that
    /// chunks held by stalled handlers can never take the last buffers from those that run.
    fn is_plenty(&self, share: usize) -> bool {
        self.free * share > self.circulating
    }

    fn free(&self) -> usize {
        self.free
    }

    /// Records that the kernel filled a buffer. Returns whether more were put into circulation for it.
    #[inline]
    pub(super) fn filled(&mut self) -> bool {
        self.free -= 1;
        self.free < self.low && self.note_low()
    }

    #[cold]
    fn note_low(&mut self) -> bool {
        self.low = self.free;
        let grows = 2 * self.free <= self.circulating && !self.reserve.is_empty();
        if grows {
            self.grow(self.circulating);
        }
        grows
    }

    /// Puts up to `count` more buffers into circulation, for the next [`publish`](Self::publish).
    fn grow(&mut self, count: usize) {
        for _ in 0..count {
            let Some(buffer) = self.reserve.pop() else { break };
            self.circulating += 1;
            self.recycle(buffer);
        }
        self.low = self.free;
    }

    /// See [`BufferGroups::trim`].
    ///
    /// # Safety
    /// As there.
    unsafe fn trim(&mut self) -> bool {
        let rested = std::mem::replace(&mut self.rests, self.low == self.circulating);
        let needed = (self.circulating - self.low) * CIRCULATING_PER_FILLED;
        let wanted = needed.next_power_of_two().max(self.circulating_min());
        let former = self.reserve.len();
        while self.circulating > wanted && self.free > 0 {
            self.tail = self.tail.wrapping_sub(1);
            self.free -= 1;
            self.circulating -= 1;
            let buffer = self.entry_at_tail().bid();
            self.reserve.push(buffer);
        }
        if self.reserve.len() > former {
            // Taken back before the kernel looks at the table again: by this function's contract it runs none of the
            // ring's operations, and has consumed no buffer beyond those that `free` no longer counts.
            self.publish_tail();
            self.reserve.sort_unstable_by(|one, other| other.cmp(one));
            for run in self.reserve.chunk_by(|higher, lower| *higher == lower + 1) {
                // SAFETY: a buffer in reserve is neither published nor filled nor leased.
                unsafe { self.pool.release(run[run.len() - 1]..run[0] + 1) };
            }
        }
        self.low = self.free;
        if self.rests && !rested {
            // SAFETY: all buffers are free, by the condition above. Those that are published have nothing in them that
            // was not reaped, and the kernel writes to none of them meanwhile, by this function's contract.
            unsafe { self.pool.release(0..self.count) };
        }
        !self.rests
    }

    /// Returns the bytes that the kernel put in `buffer`.
    fn view(&mut self, buffer: u16, len: u32) -> &mut [u8] {
        // SAFETY: named by a completion of `len` bytes that the worker has not recycled yet (it holds the `Received`),
        // so the kernel is done with it; the borrow of `self` rules out `recycle` and another view until it ends.
        unsafe { std::slice::from_raw_parts_mut(self.pool.address(buffer), len as usize) }
    }

    /// Turns a filled buffer into a lease, which uses up the completion that named it.
    fn lease(&self, buffer: u16, len: u32) -> Lease {
        // SAFETY: named by a completion of `len` bytes, so the kernel is done with it; the worker gives up the
        // `Received` for this, so neither a second lease nor `recycle` follows before the buffer is returned.
        unsafe { self.pool.lease(buffer, len) }
    }

    /// Puts `buffer` at the end of the table, for the next [`publish`](Self::publish).
    pub(super) fn recycle(&mut self, buffer: u16) {
        let (address, len) = (self.pool.address(buffer) as u64, self.pool.buffer_bytes() as u32);
        let entry = self.entry_at_tail();
        entry.set_addr(address);
        entry.set_len(len);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Returns the entry of the table at its tail, which is not published.
    #[inline]
    fn entry_at_tail(&mut self) -> &mut BufRingEntry {
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is below the entry count of the table, which is zeroed memory mapped by `new`; the kernel
        // reads an entry only after the tail has passed it, and at most `count` buffers exist, so this one was
        // consumed or taken back.
        unsafe { &mut *self.table.address().cast::<BufRingEntry>().add(slot) }
    }

    /// Takes back the buffers of dropped leases and publishes all recycled buffers to the kernel.
    fn publish(&mut self) {
        while let Some(buffer) = self.pool.take_returned() {
            self.recycle(buffer);
        }
        self.publish_tail();
    }

    fn publish_tail(&self) {
        // SAFETY: the tail lies in the first entry of the table, 2-byte aligned, for as long as the table is mapped;
        // the kernel only reads it.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.table.address().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    /// Has the next returned lease raise the signal, because connections wait for buffers.
    fn notify_on_return(&mut self) {
        self.pool.notify_on_return();
        self.publish();
    }

    /// Keeps the memory mapped for the rest of the process, for a ring with operations still in flight.
    fn leak(&self) {
        std::mem::forget(Arc::clone(&self.pool));
    }
}

#[cfg(all(test, not(loom), not(miri)))]
mod tests {
    use super::*;

    fn published(ring: &mut BufferRing) -> Vec<u16> {
        let (tail, free) = (ring.tail, ring.free as u16);
        let entries = (1..=free).map(|back| {
            ring.tail = tail.wrapping_sub(back);
            ring.entry_at_tail().bid()
        });
        let entries = entries.collect();
        ring.tail = tail;
        entries
    }

    #[test]
    fn buffers_come_into_use_with_the_load_and_leave_after_it() {
        let (count, bytes) = (512_u16, 4096);
        let pages = Pages::small(usize::from(count) * bytes).unwrap();
        let mut ring = BufferRing::new(pages, count, bytes, Signal::new(|| {})).unwrap();
        assert_eq!((ring.circulating, ring.free), (32, 32));
        let grown: Vec<_> = (0..20).map(|_| ring.filled()).collect();
        assert_eq!(grown.iter().position(|grown| *grown), Some(15), "when half of them are filled");
        assert_eq!((ring.circulating, ring.free), (64, 44));
        (0..20).for_each(|buffer| ring.recycle(buffer));
        let unused = ring.pool.address(50);
        // SAFETY: the buffer is free and no kernel knows of it: the ring is not registered.
        unsafe { unused.write(7) };
        // SAFETY: there is no completion, because the ring is not registered.
        assert!(unsafe { ring.trim() }, "20 were needed at a time");
        assert_eq!(ring.circulating, 64);
        let kept = ring.pool.address(3);
        // SAFETY: as above.
        unsafe { kept.write(7) };
        // SAFETY: as above.
        assert!(!unsafe { ring.trim() }, "none was needed since");
        assert_eq!((ring.circulating, ring.free), (32, 32));
        // SAFETY: as above.
        assert_eq!(unsafe { kept.read() }, 0, "the memory of those in circulation was given back too");
        let mut all = published(&mut ring);
        all.extend(&ring.reserve);
        all.sort_unstable();
        assert!(all.into_iter().eq(0..count), "each buffer is in one place");
        for buffer in ring.reserve.clone() {
            // SAFETY: as above.
            assert_eq!(unsafe { ring.pool.address(buffer).read() }, 0, "its memory was given back");
        }
        for _ in 0..400 {
            ring.filled();
        }
        assert_eq!((ring.circulating, ring.free), (512, 112));
    }
}
