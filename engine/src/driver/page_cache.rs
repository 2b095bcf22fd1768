//! What the kernel holds in memory of a file.

use std::fs::File;
use std::io;

/// The state of a part of a file in the page cache of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// The part begins and ends in memory.
    Cached,
    /// Reading it waits for a disk.
    Uncached,
    /// The file system or the system cannot say.
    Unknown,
    /// The file ends before the part does.
    Short,
}

/// Returns the state of a part of a file, by reading its first and its last byte without waiting (`RWF_NOWAIT`,
/// preadv2(2)). Bytes in between can be missing all the same. Systems other than Linux always answer
/// [`Unknown`](CacheState::Unknown).
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use tidegate_engine::file::{CacheState, cache_state};
///
/// let file = std::fs::File::open(std::env::current_exe()?)?;
/// let length = file.metadata()?.len();
/// assert_ne!(cache_state(&file, 0, 4096)?, CacheState::Short);
/// # #[cfg(target_os = "linux")]
/// assert_eq!(cache_state(&file, length - 1, 2)?, CacheState::Short);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of reading.
pub fn cache_state(file: &File, offset: u64, len: usize) -> io::Result<CacheState> {
    let last = offset + (len.max(1) - 1) as u64;
    // The last byte first, because it shows a file that has become shorter.
    for at in [last, offset] {
        let mut byte = [0];
        match read_without_waiting(file, &mut byte, at) {
            Ok(0) => return Ok(CacheState::Short),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(CacheState::Uncached),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(CacheState::Unknown),
            Err(error) => return Err(error),
        }
    }
    Ok(CacheState::Cached)
}

/// Reads what is in memory, without waiting.
///
/// # Errors
/// `WouldBlock` if the first byte is not in memory, `Unsupported` if the file system or the system cannot say, and
/// those of reading.
#[cfg(target_os = "linux")]
pub(crate) fn read_without_waiting(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::fd::AsRawFd;
    loop {
        let vector = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
        let (descriptor, offset) = (file.as_raw_fd(), offset as libc::off_t);
        // SAFETY: the kernel writes at most `into.len()` bytes to `into`, which is borrowed for the call, as the file
        // is.
        let read = unsafe { libc::preadv2(descriptor, &raw const vector, 1, offset, libc::RWF_NOWAIT) };
        if read >= 0 {
            return Ok(read as usize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Err(io::ErrorKind::Unsupported.into()),
            _ => return Err(error),
        }
    }
}

/// See the other one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_without_waiting(_file: &File, _into: &mut [u8], _offset: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
