//! The receive buffers of one ring: memory that the kernel fills in the order in which it was given back.
//!
//! [`BufferRing`] belongs to the worker: it publishes free buffers to the kernel. [`Lease`]s are filled buffers on their
//! way to handlers; dropping one, on any thread, queues its buffer for the worker to publish again.
//!
//! Invariant: each buffer is in exactly one place: published to the kernel, named by an unprocessed completion, leased,
//! or in the return queue. The memory outlives the ring's receives and every lease.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crossbeam_queue::ArrayQueue;
use io_uring::types::BufRingEntry;

use crate::shared::mailbox::{self, Signal, SleepFlag};

/// Zeroed pages of its own, given back when dropped.
struct Pages {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: `Pages` is plain memory; who may touch which part of it when is for its owner to see to.
unsafe impl Send for Pages {}
// SAFETY: as above; `Pages` itself gives out nothing but the address.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range was mapped just now; the advice changes no contents, and its failure is of no matter.
        unsafe { libc::madvise(address, len, libc::MADV_HUGEPAGE) };
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address, len })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and with `self` goes the last that knows its address.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len) };
    }
}

/// The memory of the buffers and the way back for leased ones.
struct Pool {
    pages: Pages,
    buffer_bytes: usize,
    returned: ArrayQueue<u16>,
    /// The worker has connections that wait for a buffer: a returned one is worth a wake.
    wanted: SleepFlag,
    signal: Arc<Signal>,
}

impl Pool {
    fn buffer(&self, buffer: u16) -> *mut u8 {
        debug_assert!((usize::from(buffer) + 1) * self.buffer_bytes <= self.pages.len);
        // SAFETY: buffer numbers are below the count the pages were sized for, so the address stays inside them.
        unsafe { self.pages.address.as_ptr().add(usize::from(buffer) * self.buffer_bytes) }
    }
}

/// A filled receive buffer, uniquely held.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    buffer: u16,
    len: u32,
}

impl Lease {
    /// The size of the buffer.
    pub(crate) fn held_bytes(&self) -> usize {
        self.pool.buffer_bytes
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the kernel filled `len` bytes of this buffer before its completion was reaped, and it is not
        // published again before `self` is dropped; the pool keeps the memory mapped.
        unsafe { std::slice::from_raw_parts(self.pool.buffer(self.buffer), self.len as usize) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; a buffer has one lease at a time and this borrows it exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pool.buffer(self.buffer), self.len as usize) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let pushed = self.pool.returned.push(self.buffer);
        debug_assert!(pushed.is_ok(), "the return queue holds every buffer");
        // Either the worker sees the buffer in `want` or this thread sees the wish.
        if self.pool.wanted.take() {
            mailbox::notify(&self.pool.signal);
        }
    }
}

/// The worker's side: the table shared with the kernel.
pub(super) struct BufferRing {
    pool: Arc<Pool>,
    table: Pages,
    count: u16,
    tail: u16,
    /// BufferGroups published to the kernel and not yet filled.
    free: usize,
}

impl BufferRing {
    /// `count` (a power of two, at most 32768) buffers of `buffer_bytes` each, all free; not yet registered.
    pub(super) fn new(count: u16, buffer_bytes: usize, signal: Arc<Signal>) -> io::Result<Self> {
        debug_assert!(count.is_power_of_two());
        let pool = Arc::new(Pool {
            pages: Pages::new(usize::from(count) * buffer_bytes)?,
            buffer_bytes,
            returned: ArrayQueue::new(usize::from(count)),
            wanted: SleepFlag::new(),
            signal,
        });
        let table = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let mut ring = Self { pool, table, count, tail: 0, free: 0 };
        for buffer in 0..count {
            ring.recycle(buffer);
        }
        ring.publish();
        Ok(ring)
    }

    pub(super) fn table_address(&self) -> u64 {
        self.table.address.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Whether more than one of `share` buffers is free: only then may filled ones leave by lease, so that chunks held
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
        // so the kernel is done with it; the borrow of `self` keeps `recycle` away meanwhile.
        unsafe { std::slice::from_raw_parts(self.pool.buffer(buffer), len as usize) }
    }

    /// Turns a filled buffer into a lease; the completion that named it is used up.
    pub(super) fn lease(&self, buffer: u16, len: u32) -> Lease {
        Lease { pool: Arc::clone(&self.pool), buffer, len }
    }

    /// Puts `buffer` at the end of the table, for the next [`publish`](Self::publish).
    pub(super) fn recycle(&mut self, buffer: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.pool.buffer(buffer) as u64;
        // SAFETY: `slot` is below the entry count of the table, which is zeroed memory mapped by `new`; the kernel reads
        // an entry only after the tail has passed it, and at most `count` buffers exist, so this one was consumed.
        let entry = unsafe { &mut *self.table.address.as_ptr().cast::<BufRingEntry>().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.pool.buffer_bytes as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Takes back what was returned by dropped leases and shows the kernel all that was recycled.
    pub(super) fn publish(&mut self) {
        while let Some(buffer) = self.pool.returned.pop() {
            self.recycle(buffer);
        }
        // SAFETY: the tail lies in the first entry of the table, 2-byte aligned, for as long as the table is mapped;
        // the kernel only reads it.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.table.address.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    /// Notes that connections wait for buffers: the next returned lease wakes the worker.
    pub(super) fn want(&mut self) {
        self.pool.wanted.announce();
        self.publish();
    }

    /// Keeps the memory mapped for ever: for a ring that could not be brought to an end.
    pub(super) fn leak(&self) {
        std::mem::forget(Arc::clone(&self.pool));
    }
}
