//! A per-thread pool of small emptied buffers.
//!
//! Without it a busy connection would allocate for every chunk and every send. A worker takes buffers for chunks and
//! its handler thread gives them back; the handler takes buffers for sends and the worker gives those back. So neither
//! runs dry, and no lock is needed. The buffer given back last is taken first, because it is still in the processor's
//! caches. An idle connection holds none.

use std::cell::RefCell;

/// Maximum total capacity kept per thread, in bytes: enough for some hundred small messages of a busy tick. Bounds
/// threads that only ever give back.
const POOL_BYTES_MAX: usize = 128 * 1024;
/// A larger buffer is freed, so that a large message does not stay in memory.
const BUFFER_BYTES_MAX: usize = 8 * 1024;
/// A smaller buffer is not worth keeping.
const BUFFER_BYTES_MIN: usize = 64;

struct Pool {
    buffers: Vec<Vec<u8>>,
    /// The sum of their capacities.
    bytes: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { buffers: Vec::new(), bytes: 0 }) };
}

/// Takes an empty buffer, with capacity if the pool has one.
pub(crate) fn take() -> Vec<u8> {
    let taken = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let buffer = pool.buffers.pop()?;
        pool.bytes -= buffer.capacity();
        Some(buffer)
    });
    taken.ok().flatten().unwrap_or_default()
}

/// Copies `bytes` into a buffer of the pool.
pub(crate) fn copy(bytes: &[u8]) -> Vec<u8> {
    let mut buffer = take();
    buffer.extend_from_slice(bytes);
    buffer
}

/// Gives the memory of `buffer` to the pool, if it is worth keeping.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if !(BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    // An error means that the thread is ending; the buffer is then freed.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.bytes + buffer.capacity() <= POOL_BYTES_MAX {
            pool.bytes += buffer.capacity();
            pool.buffers.push(buffer);
        }
    });
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_buffer_given_is_taken_first_and_empty() {
        give(vec![1; 100]);
        give(vec![2; 200]);
        let buffer = take();
        assert!(buffer.is_empty() && buffer.capacity() >= 200);
        assert!(take().capacity() >= 100);
        assert_eq!(take().capacity(), 0);
    }

    #[test]
    fn too_small_and_too_large_buffers_are_freed() {
        give(vec![0; BUFFER_BYTES_MIN - 1]);
        give(vec![0; BUFFER_BYTES_MAX + 1]);
        assert_eq!(take().capacity(), 0);
    }

    #[test]
    fn the_pool_of_a_thread_is_bounded() {
        for _ in 0..POOL_BYTES_MAX / BUFFER_BYTES_MAX + 1 {
            give(vec![0; BUFFER_BYTES_MAX]);
        }
        let kept = std::iter::from_fn(|| Some(take()).filter(|buffer| buffer.capacity() > 0)).count();
        assert_eq!(kept, POOL_BYTES_MAX / BUFFER_BYTES_MAX);
    }
}
