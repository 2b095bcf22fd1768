//! Receive buffers on loan: a ring's buffer that a [`Chunk`](super::chunk::Chunk) holds until it is dropped.
//!
//! The pool is the half of a ring's receive buffers that other threads share: the memory, and the queue through which
//! dropped leases return their buffers. The other half, the table that the kernel reads, belongs to the ring's thread
//! (`driver::uring::buffers`).
//!
//! Invariant: each buffer is in exactly one place: published to the kernel, named by an unprocessed completion, leased,
//! in the return queue, or in the ring's reserve. The memory outlives the ring's receives and every lease.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::shared::signal::{Signal, SleepFlag};
use crate::shared::wake_scope;
use crate::util::pages::Pages;

/// The memory of a ring's buffers, and the return queue of leased ones.
pub(crate) struct LeasePool {
    pages: Pages,
    buffer_bytes: usize,
    returned: ArrayQueue<u16>,
    /// The ring has connections that wait for a buffer: the next one returned raises the signal.
    notify_on_return: SleepFlag,
    signal: Arc<Signal>,
}

impl LeasePool {
    /// Takes `pages` as the memory of `count` buffers of `buffer_bytes` each.
    pub(crate) fn new(pages: Pages, count: u16, buffer_bytes: usize, signal: Arc<Signal>) -> Arc<Self> {
        debug_assert!(usize::from(count) * buffer_bytes <= pages.len());
        Arc::new(Self {
            pages,
            buffer_bytes,
            returned: ArrayQueue::new(usize::from(count)),
            notify_on_return: SleepFlag::new(),
            signal,
        })
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Returns the start of a buffer.
    pub(crate) fn address(&self, buffer: u16) -> *mut u8 {
        debug_assert!((usize::from(buffer) + 1) * self.buffer_bytes <= self.pages.len());
        // SAFETY: buffer numbers are below the count the pages were sized for, so the address stays inside them.
        unsafe { self.pages.address().add(usize::from(buffer) * self.buffer_bytes) }
    }

    /// Gives the memory of neighbouring buffers back to the system, as far as it is in whole pages.
    ///
    /// # Safety
    /// The kernel writes to none of the buffers meanwhile, and nothing else uses them or relies on their contents.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings give memory back"))]
    pub(crate) unsafe fn release(&self, buffers: Range<u16>) {
        let (start, end) = (usize::from(buffers.start), usize::from(buffers.end));
        // SAFETY: guaranteed by the caller.
        unsafe { self.pages.release(start * self.buffer_bytes..end * self.buffer_bytes) };
    }

    /// Leases a filled buffer.
    ///
    /// # Safety
    /// The kernel filled `len` bytes of `buffer` and is done with it; no other lease of it exists, and it is not
    /// published again before it comes out of [`take_returned`](Self::take_returned).
    pub(crate) unsafe fn lease(self: &Arc<Self>, buffer: u16, len: u32) -> Lease {
        Lease { pool: Arc::clone(self), buffer, len }
    }

    /// Takes the next buffer whose lease was dropped.
    pub(crate) fn take_returned(&self) -> Option<u16> {
        self.returned.pop()
    }

    /// Makes the next returned buffer raise the signal. Must be followed by a last look at the return queue.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings run out of buffers"))]
    pub(crate) fn notify_on_return(&self) {
        self.notify_on_return.announce();
    }
}

/// A filled receive buffer, uniquely held.
pub(crate) struct Lease {
    pool: Arc<LeasePool>,
    buffer: u16,
    len: u32,
}

impl Lease {
    /// Returns the size of the buffer.
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
        // published again before `self` is dropped (see `LeasePool::lease`); the pool keeps the memory mapped.
        unsafe { std::slice::from_raw_parts(self.pool.address(self.buffer), self.len as usize) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; a buffer has one lease at a time and this borrows it exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pool.address(self.buffer), self.len as usize) }
    }
}

impl Drop for Lease {
    // Not inlined: a chunk is dropped in many places, and most own their memory.
    #[inline(never)]
    fn drop(&mut self) {
        let pushed = self.pool.returned.push(self.buffer);
        debug_assert!(pushed.is_ok(), "the return queue holds every buffer");
        // Either the worker's last look finds the buffer or this thread sees the flag.
        if self.pool.notify_on_return.take() {
            wake_scope::notify(&self.pool.signal);
        }
    }
}
