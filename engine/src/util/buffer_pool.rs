//! Small buffers that were emptied on this thread and wait to be filled on it again.
//!
//! A busy connection would else allocate for every chunk and every send. What a worker takes for a chunk its handler
//! thread gives back, and what the handler takes for a send the worker gives back, so neither runs dry and no lock is
//! needed; with inline handlers the two are one thread. The buffer given back last is taken first: it is still in the
//! processor's caches. An idle connection holds none.

use std::cell::RefCell;

/// Bytes a thread keeps at most, by capacity: some hundred small messages of a busy tick. A thread to which buffers
/// only come keeps no more.
const SPARE_BYTES_TOTAL_MAX: usize = 128 * 1024;
/// A larger buffer is freed: one large message must not stay in memory.
const SPARE_BYTES_MAX: usize = 8 * 1024;
/// A buffer that could hold less is not worth the way.
const SPARE_BYTES_MIN: usize = 64;

struct Spare {
    buffers: Vec<Vec<u8>>,
    /// The sum of their capacities.
    bytes: usize,
}

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { buffers: Vec::new(), bytes: 0 }) };
}

/// An empty buffer, with capacity if one was spare.
pub(crate) fn take() -> Vec<u8> {
    let taken = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        let buffer = spare.buffers.pop()?;
        spare.bytes -= buffer.capacity();
        Some(buffer)
    });
    taken.ok().flatten().unwrap_or_default()
}

/// A copy of `bytes` in a spare buffer.
pub(crate) fn copy(bytes: &[u8]) -> Vec<u8> {
    let mut buffer = take();
    buffer.extend_from_slice(bytes);
    buffer
}

/// Keeps the memory of `buffer` for the next [`take`], if it is worth keeping.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if !(SPARE_BYTES_MIN..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    // An error means that the thread is ending: the buffer is freed.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.bytes + buffer.capacity() <= SPARE_BYTES_TOTAL_MAX {
            spare.bytes += buffer.capacity();
            spare.buffers.push(buffer);
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
    fn what_is_too_small_or_too_large_is_freed() {
        give(vec![0; SPARE_BYTES_MIN - 1]);
        give(vec![0; SPARE_BYTES_MAX + 1]);
        assert_eq!(take().capacity(), 0);
    }

    #[test]
    fn a_thread_keeps_so_many_and_no_more() {
        for _ in 0..SPARE_BYTES_TOTAL_MAX / SPARE_BYTES_MAX + 1 {
            give(vec![0; SPARE_BYTES_MAX]);
        }
        let kept = std::iter::from_fn(|| Some(take()).filter(|buffer| buffer.capacity() > 0)).count();
        assert_eq!(kept, SPARE_BYTES_TOTAL_MAX / SPARE_BYTES_MAX);
    }
}
