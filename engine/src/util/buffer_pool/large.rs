//! A per-thread pool of large buffers: copies of large chunks, queues that have grown, and the plaintext and the
//! ciphertext of large records.
//!
//! The heap of a thread that allocates and frees them for each message shrinks and grows all the time, with a page
//! fault for every 4 KiB. A thread keeps no more buffers than it has taken or made, so the large buffers of
//! applications do not stay in memory.

use std::cell::RefCell;

use super::{BUFFER_BYTES_MAX, Boxed, Buffer, Pool};

/// Maximum total capacity kept per thread, in bytes: two buffers for each of the records of a busy tick.
const POOL_BYTES_MAX: usize = 1024 * 1024;
/// A larger buffer is freed.
const LARGE_BYTES_MAX: usize = 512 * 1024;
/// New buffers have a multiple of this size, so that one for ciphertext fits for its plaintext and the other way round.
const GRAIN_BYTES: usize = 4096;

struct LargePool {
    pool: Pool,
    /// Buffers that were taken or made and not given back to this pool. Some are given back on another thread.
    taken: usize,
}

thread_local! {
    static LARGE: RefCell<LargePool> = const { RefCell::new(LargePool { pool: Pool::new(), taken: 0 }) };
}

impl Buffer {
    /// Returns a buffer with room for about `space` bytes. A large one holds what is left from its last use.
    pub(crate) fn with_room(space: usize) -> Self {
        if space <= BUFFER_BYTES_MAX {
            return Self::default();
        }
        let taken = LARGE.try_with(|large| {
            let LargePool { pool, taken } = &mut *large.borrow_mut();
            *taken += 1;
            // One that is too small makes room for the new one.
            let fitting = pool.buffers.iter().rposition(|buffer| buffer.capacity() >= space);
            let at = fitting.or_else(|| pool.buffers.len().checked_sub(1))?;
            Some(pool.take(at)).filter(|buffer| buffer.capacity() >= space)
        });
        let new = || Box::new(Vec::with_capacity(space.next_multiple_of(GRAIN_BYTES)));
        Self(Some(taken.ok().flatten().unwrap_or_else(new)))
    }

    /// Copies `bytes`, into a large buffer of the pool if they are long.
    pub(crate) fn copy_long(bytes: &[u8]) -> Self {
        if bytes.len() <= BUFFER_BYTES_MAX {
            return Self::copy(bytes);
        }
        let mut buffer = Self::with_room(bytes.len());
        let memory = buffer.vec_mut();
        memory.clear();
        memory.extend_from_slice(bytes);
        buffer
    }

    /// Returns whether its memory comes back to the pool of large buffers.
    pub(crate) fn is_large(&self) -> bool {
        self.capacity() > BUFFER_BYTES_MAX
    }
}

/// Takes an empty buffer of any size. Without one, counts that which the caller makes.
pub(super) fn take() -> Option<Boxed> {
    let taken = LARGE.try_with(|large| {
        let LargePool { pool, taken } = &mut *large.borrow_mut();
        *taken += 1;
        pool.buffers.len().checked_sub(1).map(|last| pool.take(last))
    });
    let mut buffer = taken.ok()??;
    buffer.clear();
    Some(buffer)
}

/// Gives the memory of a large buffer to the pool, if this thread has taken as many.
pub(super) fn give(buffer: Boxed) {
    if buffer.capacity() > LARGE_BYTES_MAX {
        return;
    }
    // An error means that the thread is ending; the buffer is then freed.
    let _ = LARGE.try_with(|large| {
        let LargePool { pool, taken } = &mut *large.borrow_mut();
        if *taken > 0 && pool.keep(buffer, POOL_BYTES_MAX) {
            *taken -= 1;
        }
    });
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn kept() -> usize {
        LARGE.with(|large| large.borrow().pool.buffers.len())
    }

    #[test]
    fn a_large_buffer_is_used_again_as_it_was_left() {
        let mut buffer = Buffer::with_room(20_000);
        buffer.vec_mut().extend_from_slice(b"the last use");
        let address = buffer.as_ptr();
        drop(buffer);
        assert!(Buffer::with_room(BUFFER_BYTES_MAX).is_empty());
        let buffer = Buffer::with_room(20_400);
        assert_eq!((buffer.as_ptr(), &buffer[..]), (address, &b"the last use"[..]));
        // One that is too small is replaced.
        drop(buffer);
        let buffer = Buffer::with_room(100_000);
        assert!(buffer.is_empty() && buffer.capacity() >= 100_000);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn the_memory_of_a_long_copy_is_used_again() {
        let copy = Buffer::copy_long(&[1; 20_000]);
        let address = copy.as_ptr();
        drop(copy);
        assert_eq!(kept(), 1);
        let copy = Buffer::copy_long(&[2; 10_000]);
        assert_eq!((copy.as_ptr(), &copy[..]), (address, &[2; 10_000][..]));
        assert_eq!(&Buffer::copy_long(b"short")[..], b"short");
    }

    #[test]
    fn the_memory_of_a_buffer_that_has_grown_is_used_again() {
        let mut grown = Buffer::copy(b"tiny");
        grown.vec_mut().resize(20_000, b'x');
        let address = grown.as_ptr();
        drop(grown);
        assert_eq!(kept(), 1);
        let again = Buffer::copy(b"tiny");
        assert_eq!((again.as_ptr(), &again[..]), (address, &b"tiny"[..]));
    }

    #[test]
    fn no_more_buffers_are_kept_than_were_taken() {
        drop(Buffer::from(vec![0; 20_000]));
        assert_eq!(kept(), 0);
        let taken = Buffer::with_room(20_000);
        drop([(); 2].map(|()| Buffer::from(vec![0; 20_000])));
        assert_eq!(kept(), 1);
        drop(taken);
        assert_eq!(kept(), 1);
    }

    #[test]
    fn the_pool_of_a_thread_is_bounded() {
        let huge = Buffer::with_room(LARGE_BYTES_MAX + 1);
        let buffers: Vec<_> = (0..100).map(|_| Buffer::with_room(20_000)).collect();
        drop((huge, buffers));
        assert_eq!(kept(), POOL_BYTES_MAX / 20_480);
    }
}
