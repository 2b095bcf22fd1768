//! Reuses the memory of large messages: those that are assembled, copied, or masked by a client.
//!
//! In new pages each time, the kernel would have to clear each of them. That cost as much as all copying where messages
//! had mappings of their own, and half as much as all else for 16 KiB in a heap that shrank each time a tick had freed
//! its messages. Every thread that makes such messages has a small pool, to which the memory returns from wherever the
//! message is dropped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::sync::lock;

/// The smallest buffer that is pooled. Shorter messages are copied into the outbound queue, which reuses its memory.
const POOLED_BYTES_MIN: usize = 4096;
/// Maximum bytes in a thread's pool. A larger message is not pooled.
const POOL_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The buffers of one thread.
#[derive(Debug, Default)]
struct Pool(Mutex<Buffers>);

#[derive(Debug, Default)]
struct Buffers {
    /// The most recently used last.
    list: VecDeque<Vec<u8>>,
    /// The sum of their capacities.
    bytes: usize,
}

thread_local! {
    static POOL: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

impl Buffers {
    /// Takes the most recently used buffer that fits: large enough, and at most twice as large.
    fn take(&mut self, total_bytes: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (total_bytes..=2 * total_bytes).contains(&buffer.capacity());
        let index = self.list.iter().rposition(fits)?;
        let buffer = self.list.remove(index)?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer. The least recently used ones go, if all have too many bytes.
    fn keep(&mut self, buffer: Vec<u8>) {
        self.bytes += buffer.capacity();
        self.list.push_back(buffer);
        while self.bytes > POOL_BYTES_MAX {
            let Some(oldest) = self.list.pop_front() else { return };
            self.bytes -= oldest.capacity();
        }
    }
}

/// Returns an empty buffer with room for `total_bytes`, from the pool if it has one that fits.
#[inline]
pub(crate) fn with_capacity(total_bytes: usize) -> Vec<u8> {
    take(total_bytes).unwrap_or_else(|| Vec::with_capacity(total_bytes))
}

/// Copies `bytes`, into a buffer of the pool if they are long.
#[inline]
pub(crate) fn copy(bytes: &[u8]) -> Bytes {
    if bytes.len() < POOLED_BYTES_MIN { Bytes::copy_from_slice(bytes) } else { copy_long(bytes) }
}

#[inline(never)]
fn copy_long(bytes: &[u8]) -> Bytes {
    let mut buffer = with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    into_bytes(buffer)
}

/// Takes an empty buffer for a message of `total_bytes`, if the pool has one that fits: large enough, and at most twice
/// as large.
pub(crate) fn take(total_bytes: usize) -> Option<Vec<u8>> {
    if !(POOLED_BYTES_MIN..=POOL_BYTES_MAX).contains(&total_bytes) {
        return None;
    }
    // An error means that the thread is ending.
    POOL.try_with(|pool| lock(&pool.borrow().as_ref()?.0).take(total_bytes)).ok()?
}

/// Makes room for `arriving_bytes` more. The buffer doubles, so copying stays linear, but does not grow beyond the end
/// of the message where that is known, so a message ends in a buffer of its size.
#[inline]
pub(crate) fn reserve_for_arrival(buffer: &mut Vec<u8>, arriving_bytes: usize, expected_bytes: Option<u64>) {
    let needed = buffer.len().saturating_add(arriving_bytes);
    if needed > buffer.capacity() {
        grow(buffer, needed, expected_bytes);
    }
}

/// Makes room for `needed` bytes in all, and for some of those that are expected after them.
#[cold]
pub(crate) fn grow(buffer: &mut Vec<u8>, needed: usize, expected_bytes: Option<u64>) {
    if let (0, Some(expected)) = (buffer.len(), expected_bytes)
        && let Some(pooled) = usize::try_from(expected).ok().and_then(|more| take(needed.saturating_add(more)))
    {
        *buffer = pooled;
        return;
    }
    let doubled = needed.saturating_mul(2);
    let target = match expected_bytes {
        Some(expected) => {
            let expected = usize::try_from(expected).unwrap_or(usize::MAX);
            doubled.min(needed.saturating_add(expected))
        }
        None => doubled,
    };
    buffer.reserve_exact(target - buffer.len());
}

/// Returns the message assembled in `buffer`. Its memory goes to the pool when the message is dropped, if it is large
/// enough.
pub(crate) fn into_bytes(buffer: Vec<u8>) -> Bytes {
    if !(POOLED_BYTES_MIN..=POOL_BYTES_MAX).contains(&buffer.capacity()) {
        return Bytes::from(buffer);
    }
    match POOL.try_with(|pool| Arc::clone(pool.borrow_mut().get_or_insert_default())) {
        Ok(home) => Bytes::from_owner(Returning { buffer, home }),
        // The thread is ending.
        Err(_) => Bytes::from(buffer),
    }
}

/// The memory of a message; dropping it returns it to the pool.
struct Returning {
    buffer: Vec<u8>,
    home: Arc<Pool>,
}

impl AsRef<[u8]> for Returning {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        lock(&self.home.0).keep(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_message_is_reused_for_one_of_similar_size() {
        let message = into_bytes(vec![7; 100_000]);
        assert_eq!(message, vec![7; 100_000]);
        assert!(take(100_000).is_none(), "the buffer is still in use");
        let address = message.as_ptr();
        // On another thread.
        std::thread::spawn(move || drop(message)).join().unwrap();
        assert!(take(100_001).is_none() && take(49_999).is_none());
        let buffer = take(70_000).unwrap();
        assert!(buffer.is_empty() && buffer.as_ptr() == address);
        assert!(take(70_000).is_none());
    }

    #[test]
    fn the_memory_of_a_long_copy_is_reused() {
        assert_eq!(copy(b"short"), &b"short"[..]);
        let payload = vec![7; POOLED_BYTES_MIN];
        let message = copy(&payload);
        assert_eq!(message, payload);
        let address = message.as_ptr();
        drop(message);
        let buffer = take(POOLED_BYTES_MIN).unwrap();
        assert_eq!(buffer.as_ptr(), address);
    }

    #[test]
    fn the_pool_is_bounded() {
        for bytes in [POOLED_BYTES_MIN - 1, POOL_BYTES_MAX + 1] {
            drop(into_bytes(vec![0; bytes]));
            assert!(take(bytes).is_none());
        }
        let messages: Vec<_> = (0..10).map(|_| into_bytes(vec![0; 300_000])).collect();
        drop(messages);
        let pooled = std::iter::from_fn(|| take(300_000)).count();
        assert_eq!(pooled, POOL_BYTES_MAX / 300_000);
    }

    #[test]
    fn the_least_recently_used_memory_goes_first() {
        let large: Vec<_> = (0..2).map(|_| into_bytes(vec![0; 1 << 20])).collect();
        drop(large);
        drop(into_bytes(vec![0; 100_000]));
        assert!(take(100_000).is_some());
        assert!(take(1 << 20).is_some(), "the older of the two went");
        assert!(take(1 << 20).is_none());
    }
}
