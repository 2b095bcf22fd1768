//! Memory mapped from the kernel.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// Zeroed pages, mapped for one owner and unmapped when dropped.
pub(crate) struct Pages {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: `Pages` is plain memory; its owner decides which thread may touch which part of it and when.
unsafe impl Send for Pages {}
// SAFETY: as above; `Pages` itself gives out nothing but the address.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps `len` bytes, in huge pages where the system has them.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let pages = Self::small(len)?;
        #[cfg(target_os = "linux")]
        // SAFETY: the range is mapped; the advice changes no contents, and its failure is harmless.
        unsafe {
            libc::madvise(pages.address.as_ptr().cast(), len, libc::MADV_HUGEPAGE)
        };
        Ok(pages)
    }

    /// Maps `len` bytes in small pages, for memory that is mostly used in parts: a huge page is in memory as a whole.
    pub(crate) fn small(len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address, len })
    }

    pub(crate) fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Gives the memory of the pages that lie whole in a range back to the system. They read as zeros afterwards.
    ///
    /// # Safety
    /// Nothing else may access the range during the call, nor rely on its contents afterwards.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only rings give memory back"))]
    pub(crate) unsafe fn release(&self, range: Range<usize>) {
        // SAFETY: takes no pointers.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let Ok(page_bytes) = usize::try_from(page_bytes) else { return };
        let (start, end) =
            (range.start.next_multiple_of(page_bytes), range.end.min(self.len) / page_bytes * page_bytes);
        if start < end {
            // SAFETY: whole pages within the mapping, whose contents nobody needs by this function's contract. A
            // failure leaves them as they are.
            unsafe { libc::madvise(self.address.as_ptr().add(start).cast(), end - start, libc::MADV_DONTNEED) };
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and nothing else knows its address once `self` is gone.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len) };
    }
}
