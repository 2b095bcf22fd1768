//! Memory for encrypted batches. Small ones use the pool of all sends; large ones would be allocated anew for each.

use std::cell::RefCell;

use crate::util::buffer_pool::Buffer;

/// Bytes above which a buffer comes from this pool: what the other one keeps.
const SMALL_BYTES_MAX: usize = 8 * 1024;
/// Maximum total capacity kept per thread, in bytes.
const POOL_BYTES_MAX: usize = 1024 * 1024;
/// A larger buffer is freed.
const BUFFER_BYTES_MAX: usize = 512 * 1024;

struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { buffers: Vec::new(), bytes: 0 }) };
}

/// Returns an empty buffer for about `space` bytes.
pub(super) fn take(space: usize) -> Buffer {
    if space <= SMALL_BYTES_MAX {
        return Buffer::default();
    }
    let taken = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let buffer = pool.buffers.pop()?;
        pool.bytes -= buffer.capacity();
        Some(buffer)
    });
    let mut buffer = taken.ok().flatten().unwrap_or_default();
    buffer.reserve(space);
    buffer.into()
}

/// Returns whether a buffer belongs into this pool.
pub(super) fn is_large(buffer: &Buffer) -> bool {
    buffer.capacity() > SMALL_BYTES_MAX
}

/// A large buffer, which goes back to the pool of the thread that drops it: the worker's, after the send.
pub(super) struct Large(pub(super) Vec<u8>);

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() > BUFFER_BYTES_MAX {
            return;
        }
        buffer.clear();
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.bytes + buffer.capacity() <= POOL_BYTES_MAX {
                pool.bytes += buffer.capacity();
                pool.buffers.push(buffer);
            }
        });
    }
}
