//! The receive buffers of one ring: memory that the kernel fills in the order in which it was given back.
//!
//! [`BufferGroups`] and their [`BufferRing`]s belong to the worker: they publish free buffers to the kernel and lease
//! filled ones to handlers. See `shared::lease` for the half that other threads share, and for the invariant.

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
        let small = BufferRing::new(config.receive_buffers, small_bytes, Arc::clone(signal))?;
        let wants_large = config.large_receive_buffers > 0 && large_bytes > small_bytes;
        let large = wants_large.then(|| BufferRing::new(config.large_receive_buffers, large_bytes, Arc::clone(signal)));
        Ok(Self { small, large: large.transpose()? })
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

    /// Records that the kernel filled a buffer.
    pub(super) fn filled(&mut self, large: bool) {
        if let Some(group) = self.group(large) {
            group.filled();
        }
    }

    pub(super) fn view<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        match received {
            Received::Owned(bytes) => bytes,
            Received::Buffer { buffer, large: false, len } => self.small.view(*buffer, *len),
            Received::Buffer { buffer, large: true, len } => {
                self.large.as_ref().map_or(&[], |group| group.view(*buffer, *len))
            }
        }
    }

    pub(super) fn lease(&mut self, received: Received) -> Chunk {
        let (buffer, large, len) = match received {
            Received::Owned(bytes) => return Chunk::from(bytes),
            Received::Buffer { buffer, large, len } => (buffer, large, len),
        };
        match self.group(large) {
            Some(group) if group.is_plenty(if large { LARGE_UNLEASED_SHARE } else { SMALL_UNLEASED_SHARE }) => {
                Chunk::leased(group.lease(buffer, len))
            }
            _ => {
                let chunk = Chunk::from(self.view(&received).to_vec());
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
}

impl BufferRing {
    /// Creates `count` (a power of two, at most 32,768) buffers of `buffer_bytes` each, all free, and not yet
    /// registered.
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

    fn buffer_bytes(&self) -> usize {
        self.pool.buffer_bytes()
    }

    /// Returns whether more than one in `share` buffers is free: only then can filled ones leave by lease, so that
    /// chunks held by stalled handlers can never take the last buffers from those that run.
    fn is_plenty(&self, share: usize) -> bool {
        self.free * share > usize::from(self.count)
    }

    fn free(&self) -> usize {
        self.free
    }

    /// Records that the kernel filled a buffer.
    pub(super) fn filled(&mut self) {
        self.free -= 1;
    }

    /// Returns the bytes that the kernel put in `buffer`.
    fn view(&self, buffer: u16, len: u32) -> &[u8] {
        // SAFETY: named by a completion of `len` bytes that the worker has not recycled yet (it holds the `Received`),
        // so the kernel is done with it; the borrow of `self` rules out `recycle` until it ends.
        unsafe { std::slice::from_raw_parts(self.pool.address(buffer), len as usize) }
    }

    /// Turns a filled buffer into a lease, which uses up the completion that named it.
    fn lease(&self, buffer: u16, len: u32) -> Lease {
        // SAFETY: named by a completion of `len` bytes, so the kernel is done with it; the worker gives up the
        // `Received` for this, so neither a second lease nor `recycle` follows before the buffer is returned.
        unsafe { self.pool.lease(buffer, len) }
    }

    /// Puts `buffer` at the end of the table, for the next [`publish`](Self::publish).
    pub(super) fn recycle(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.pool.address(buffer) as u64;
        // SAFETY: `slot` is below the entry count of the table, which is zeroed memory mapped by `new`; the kernel
        // reads an entry only after the tail has passed it, and at most `count` buffers exist, so this one was
        // consumed.
        let entry = unsafe { &mut *self.table.address().cast::<BufRingEntry>().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.pool.buffer_bytes() as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Takes back the buffers of dropped leases and publishes all recycled buffers to the kernel.
    fn publish(&mut self) {
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
