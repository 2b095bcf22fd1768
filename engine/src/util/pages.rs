//! Memory mapped from the kernel.

use std::io;
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
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        #[cfg(target_os = "linux")]
        // SAFETY: the range was mapped just now; the advice changes no contents, and its failure is harmless.
        unsafe {
            libc::madvise(address, len, libc::MADV_HUGEPAGE)
        };
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address, len })
    }

    pub(crate) fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and nothing else knows its address once `self` is gone.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.len) };
    }
}
