//! A provided-buffer ring: the buffers that multishot receives write into.
//!
//! Owns the buffers and the table shared with the kernel. A filled buffer is a [`Chunk`], which cannot be copied: it is
//! read through its ring and given back by value, so no buffer is read after the kernel may write to it again. The
//! memory lives as long as the process, like the ring it is registered with.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::cqueue;
use io_uring::types::BufRingEntry;

use crate::ring::{Completion, Ring};

/// The most buffers in a ring: the kernel refuses more than 2^15.
pub const BUFFERS_MAX: u16 = 1 << 15;

/// Gap between buffers: one cache line, so the beginnings of the buffers, where short messages lie, do not all map to
/// the same few cache sets.
const SPACING_BYTES: usize = 64;

/// Buffers registered with one ring as one group.
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
    /// Returns the number of bytes received.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length as usize
    }
}

impl BufferRing {
    /// Registers `count` buffers (a power of two, at most [`BUFFERS_MAX`]) of `buffer_bytes` each, all of them
    /// available.
    ///
    /// # Errors
    /// Any error from `mmap` or the registration, or invalid input if `count` is not a power of two or `buffer_bytes`
    /// is 0.
    pub fn register(ring: &Ring, group: u16, count: u16, buffer_bytes: u32) -> io::Result<Self> {
        if !count.is_power_of_two() || count > BUFFERS_MAX || buffer_bytes == 0 {
            let why = format!(
                "{count} buffers of {buffer_bytes} bytes: must be a power of two up to {BUFFERS_MAX}, of at least 1 byte"
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

    /// Returns the group to name in a receive.
    #[must_use]
    pub fn group(&self) -> u16 {
        self.group
    }

    /// Returns the buffer that a receive filled, or `None` if it filled none.
    ///
    /// # Safety
    /// The completion must be of a receive from this group, and each completion must be taken only once.
    #[inline]
    pub unsafe fn take(&self, completion: &Completion) -> Option<Chunk> {
        let id = cqueue::buffer_select(completion.flags)?;
        let length = u32::try_from(completion.result).unwrap_or(0);
        (id < self.count && length <= self.buffer_bytes).then_some(Chunk { id, length })
    }

    /// Returns the bytes received.
    #[inline]
    #[must_use]
    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        // SAFETY: the chunk's identifier and length were checked when it was taken, the memory is never unmapped, and
        // the kernel does not write to a buffer it handed out until it is recycled, which takes the chunk by value.
        unsafe { std::slice::from_raw_parts(self.start(chunk.id), chunk.length as usize) }
    }

    /// Gives a buffer back. The kernel sees it after [`publish`](Self::publish).
    #[inline]
    pub fn recycle(&mut self, chunk: Chunk) {
        self.provide(chunk.id);
    }

    /// Makes every buffer given back so far visible to the kernel.
    #[inline]
    pub fn publish(&mut self) {
        // SAFETY: the table is never unmapped and its first entry holds the tail, which is aligned to two bytes and
        // written only here. The kernel reads it concurrently, so the store is atomic.
        unsafe {
            let tail = BufRingEntry::tail(self.table.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// Writes the next entry of the table.
    #[inline]
    fn provide(&mut self, id: u16) {
        let address = self.start(id) as u64;
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: the slot is below `count`, and the kernel does not read it before the tail passes it: at most `count`
        // buffers are given back, because each is held by at most one chunk. The setters do not touch the field that
        // holds the tail.
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

/// Returns the distance between the beginnings of two buffers.
#[inline]
fn stride(buffer_bytes: u32) -> usize {
    (buffer_bytes as usize).next_multiple_of(SPACING_BYTES) + SPACING_BYTES
}

/// Maps zeroed memory that is never unmapped.
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

    /// Receives 100 short messages through two buffers, so each buffer is reused many times.
    #[test]
    fn buffers_are_reused_after_being_recycled() {
        let mut ring = Ring::new().unwrap();
        let mut buffers = BufferRing::register(&ring, 5, 2, 16).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let receive = opcode::RecvMulti::new(types::Fd(far.as_raw_fd()), buffers.group()).build();
        // SAFETY: the receive writes only into the provided buffers, which are never unmapped.
        unsafe { ring.push(&receive) }.unwrap();
        let mut list = Vec::new();
        for round in 0..100_u8 {
            near.write_all(&[round; 16]).unwrap();
            ring.enter(None).unwrap();
            ring.reap(&mut list);
            assert_eq!(list.len(), 1);
            assert!(list[0].more());
            // SAFETY: the only receive of the only group; each completion is taken once.
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
        // SAFETY: the receive writes only into the provided buffers, which are never unmapped.
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
