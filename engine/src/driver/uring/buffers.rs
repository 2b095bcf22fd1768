//! The receive buffers of one ring: memory that the kernel fills in the order in which it was given back.
//!
//! A [`BufferRing`] belongs to the worker: it publishes free buffers to the kernel and leases filled ones to handlers. See
//! `shared::lease` for the half that other threads share, and for the invariant.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::shared::lease::{Lease, LeasePool, Pages};
use crate::shared::signal::Signal;

/// The buffers and the table of free ones that is shared with the kernel.
pub(super) struct BufferRing {
    pool: Arc<LeasePool>,
    table: Pages,
    count: u16,
    tail: u16,
    /// Buffers published to the kernel and not yet filled.
    free: usize,
}

impl BufferRing {
    /// Makes `count` (a power of two, at most 32,768) buffers of `buffer_bytes` each, all free, and not yet registered.
    pub(super) fn new(count: u16, buffer_bytes: usize, signal: Arc<Signal>) -> io::Result<Self> {
        debug_assert!(count.is_power_of_two());
        let pool = LeasePool::new(count, buffer_bytes, signal)?;
        let table = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let mut ring = Self { pool, table, count, tail: 0, free: 0 };
        for buffer in 0..count {
            ring.recycle(buffer);
        }
        ring.publish();
        Ok(ring)
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

    /// Whether more than one in `share` buffers is free: only then may filled ones leave by lease, so that chunks held
    /// by stalled handlers can never take the last buffers from those that run.
    pub(super) fn is_plenty(&self, share: usize) -> bool {
        self.free * share > usize::from(self.count)
    }

    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// The kernel filled a buffer.
    pub(super) fn filled(&mut self) {
        self.free -= 1;
    }

    /// The bytes that the kernel put in `buffer`.
    pub(super) fn view(&self, buffer: u16, len: u32) -> &[u8] {
        // SAFETY: named by a completion of `len` bytes that the worker has not recycled yet (it holds the `Received`),
        // so the kernel is done with it; the borrow of `self` rules out `recycle` meanwhile.
        unsafe { std::slice::from_raw_parts(self.pool.address(buffer), len as usize) }
    }

    /// Turns a filled buffer into a lease; the completion that named it is used up.
    pub(super) fn lease(&self, buffer: u16, len: u32) -> Lease {
        // SAFETY: named by a completion of `len` bytes, so the kernel is done with it; the worker gives up the `Received`
        // for this, so neither a second lease nor `recycle` follows before the buffer is returned.
        unsafe { self.pool.lease(buffer, len) }
    }

    /// Puts `buffer` at the end of the table, for the next [`publish`](Self::publish).
    pub(super) fn recycle(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.pool.address(buffer) as u64;
        // SAFETY: `slot` is below the entry count of the table, which is zeroed memory mapped by `new`; the kernel reads
        // an entry only after the tail has passed it, and at most `count` buffers exist, so this one was consumed.
        let entry = unsafe { &mut *self.table.address().cast::<BufRingEntry>().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.pool.buffer_bytes() as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Takes back what was returned by dropped leases and shows the kernel all that was recycled.
    pub(super) fn publish(&mut self) {
        while let Some(buffer) = self.pool.take_returned() {
            self.recycle(buffer);
        }
        // SAFETY: the tail lies in the first entry of the table, 2-byte aligned, for as long as the table is mapped;
        // the kernel only reads it.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.table.address().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    /// Connections wait for buffers: has the next returned lease raise the signal.
    pub(super) fn notify_on_return(&mut self) {
        self.pool.notify_on_return();
        self.publish();
    }

    /// Keeps the memory mapped for the rest of the process, for a ring that could not be brought to an end.
    pub(super) fn leak(&self) {
        std::mem::forget(Arc::clone(&self.pool));
    }
}
