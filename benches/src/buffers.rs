//! A provided-buffer ring: the buffers multishot receives write into.
//!
//! Owns the buffers and the table shared with the kernel. A buffer the kernel filled is held as a [`Chunk`], which can't
//! be copied: it is read through the ring that owns it and given back by value, so a buffer is never read after the
//! kernel may write to it again. The memory lives for the rest of the process, like the ring it is registered with.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::cqueue;
use io_uring::types::BufRingEntry;

use crate::ring::{Completion, Ring};

/// The most buffers a ring can have: its indices are 16 bits and the kernel refuses more than 2^15.
pub const BUFFERS_MAX: u16 = 1 << 15;

/// Buffers are spaced by their size and one cache line, so that the short messages at their beginnings do not all fall
/// into the same few sets of the cache.
const SPACING_BYTES: usize = 64;

/// Buffers registered with one ring under one group.
pub struct BufferRing {
    table: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    group: u16,
    count: u16,
    buffer_bytes: u32,
    tail: u16,
}

/// One filled buffer. Give it back with [`BufferRing::recycle`]; dropping it loses the buffer.
#[derive(Debug)]
#[must_use = "a chunk that is not recycled is lost to the ring"]
pub struct Chunk {
    id: u16,
    length: u32,
}

impl Chunk {
    /// How many bytes were received into it.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length as usize
    }
}

impl BufferRing {
    /// Registers `count` buffers (a power of two, at most [`BUFFERS_MAX`]) of `buffer_bytes` each, all of them available.
    ///
    /// # Errors
    /// What `mmap` or the registration gives; invalid input for a count that is no power of two.
    pub fn register(ring: &Ring, group: u16, count: u16, buffer_bytes: u32) -> io::Result<Self> {
        if !count.is_power_of_two() || count > BUFFERS_MAX || buffer_bytes == 0 {
            let why = format!(
                "{count} buffers of {buffer_bytes} bytes: the count must be a power of two up to {BUFFERS_MAX}"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let table = map(usize::from(count) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let memory = map(usize::from(count) * stride(buffer_bytes))?;
        // SAFETY: the table is mapped, page-aligned, holds `count` entries, and is never unmapped.
        unsafe { ring.submitter().register_buf_ring_with_flags(table.as_ptr() as u64, count, group, 0) }?;
        let mut buffers = Self { table, memory, group, count, buffer_bytes, tail: 0 };
        for id in 0..count {
            buffers.provide(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The group to name in a receive.
    #[must_use]
    pub fn group(&self) -> u16 {
        self.group
    }

    /// The buffer a receive completed into, or `None` when it used none.
    ///
    /// # Safety
    /// The completion is of a receive from this group and is taken only once.
    #[inline]
    pub unsafe fn take(&self, completion: &Completion) -> Option<Chunk> {
        let id = cqueue::buffer_select(completion.flags)?;
        let length = u32::try_from(completion.result).unwrap_or(0);
        (id < self.count && length <= self.buffer_bytes).then_some(Chunk { id, length })
    }

    /// The bytes received.
    #[inline]
    #[must_use]
    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        // SAFETY: the chunk's identifier and length were checked when it was taken, the memory is mapped for good, and
        // the kernel does not write to a buffer it gave out until it is recycled, which takes the chunk by value.
        unsafe { std::slice::from_raw_parts(self.start(chunk.id), chunk.length as usize) }
    }

    /// Gives a buffer back. The kernel sees it after [`publish`](Self::publish).
    #[inline]
    pub fn recycle(&mut self, chunk: Chunk) {
        self.provide(chunk.id);
    }

    /// Shows the kernel every buffer given back so far.
    #[inline]
    pub fn publish(&mut self) {
        // SAFETY: the table is mapped for good and its first entry holds the tail, which is aligned to two bytes and
        // only ever written here; the kernel reads it, so the access is atomic.
        unsafe {
            let tail = BufRingEntry::tail(self.table.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// Writes the table's next entry.
    #[inline]
    fn provide(&mut self, id: u16) {
        let address = self.start(id) as u64;
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: the slot is below `count`, and the kernel does not read it before the tail passes it: there are never
        // more than `count` buffers given back because each is held by at most one chunk. The setters leave alone the
        // field that holds the tail.
        let entry = unsafe { &mut *self.table.as_ptr().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    #[inline]
    fn start(&self, id: u16) -> *mut u8 {
        debug_assert!(id < self.count);
        // SAFETY: `memory` holds `count` strides and the identifier is below `count`.
        unsafe { self.memory.as_ptr().add(usize::from(id) * stride(self.buffer_bytes)) }
    }
}

/// The distance between two buffers' beginnings.
#[inline]
fn stride(buffer_bytes: u32) -> usize {
    (buffer_bytes as usize).next_multiple_of(SPACING_BYTES) + SPACING_BYTES
}

/// Maps zeroed memory for the rest of the process.
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, kind, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_uring::{opcode, types};
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::net::UnixStream;

    /// Receives `rounds` short messages through two buffers, so that each is reused many times.
    #[test]
    fn buffers_are_reused_after_being_recycled() {
        let mut ring = Ring::new().unwrap();
        let mut buffers = BufferRing::register(&ring, 5, 2, 16).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let receive = opcode::RecvMulti::new(types::Fd(far.as_raw_fd()), buffers.group()).build();
        // SAFETY: the receive writes only into the provided buffers, which live for good.
        unsafe { ring.push(&receive) }.unwrap();
        let mut list = Vec::new();
        for round in 0..100_u8 {
            near.write_all(&[round; 16]).unwrap();
            ring.enter(None).unwrap();
            ring.reap(&mut list);
            assert_eq!(list.len(), 1);
            assert!(list[0].more());
            // SAFETY: the only receive of the only group, each completion taken once.
            let chunk = unsafe { buffers.take(&list[0]) }.unwrap();
            assert_eq!(buffers.bytes(&chunk), [round; 16]);
            buffers.recycle(chunk);
            buffers.publish();
        }
    }

    #[test]
    fn an_empty_ring_reports_the_shortage() {
        let mut ring = Ring::new().unwrap();
        let buffers = BufferRing::register(&ring, 5, 1, 8).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&[1; 20]).unwrap();
        let receive = opcode::RecvMulti::new(types::Fd(far.as_raw_fd()), buffers.group()).build();
        // SAFETY: the receive writes only into the provided buffers, which live for good.
        unsafe { ring.push(&receive) }.unwrap();
        let (mut list, mut all) = (Vec::new(), Vec::new());
        while !all.iter().any(|completion: &Completion| !completion.more()) {
            ring.enter(None).unwrap();
            ring.reap(&mut list);
            all.extend_from_slice(&list);
        }
        assert_eq!(all.iter().map(|completion| completion.result).collect::<Vec<_>>(), [8, -libc::ENOBUFS]);
    }

    #[test]
    fn odd_counts_are_refused() {
        let ring = Ring::new().unwrap();
        assert!(BufferRing::register(&ring, 5, 3, 16).is_err());
        assert!(BufferRing::register(&ring, 5, 0, 16).is_err());
        assert!(BufferRing::register(&ring, 5, 4, 0).is_err());
    }
}
