//! Memory of large messages that were dropped, kept for the next ones.
//!
//! A large message that comes in many chunks would else be gathered in new pages each time, and the kernel clears each
//! page of them: that cost as much as all copying. Every thread that gathers messages keeps a little; what it gathered
//! comes back to it from wherever the message is dropped.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::sync::lock;

/// Smaller messages are left to the allocator, which has such memory at hand.
const SPARE_BYTES_MIN: usize = 64 * 1024;
/// A thread keeps no more than this in all; a larger message leaves nothing behind.
const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What one thread keeps, the one used last at the end.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Vec<u8>>>);

thread_local! {
    static KEPT: RefCell<Option<Arc<Kept>>> = const { RefCell::new(None) };
}

/// An empty buffer for a message of `total_bytes`, if one is kept that has room for all of it and not much more.
pub(crate) fn take(total_bytes: usize) -> Option<Vec<u8>> {
    if !(SPARE_BYTES_MIN..=KEPT_BYTES_MAX).contains(&total_bytes) {
        return None;
    }
    let kept = KEPT.try_with(|kept| kept.borrow().clone()).ok()??;
    let mut buffers = lock(&kept.0);
    let fits = |buffer: &Vec<u8>| (total_bytes..=2 * total_bytes).contains(&buffer.capacity());
    let index = buffers.iter().rposition(fits)?;
    Some(buffers.remove(index))
}

/// Makes room for `arriving_bytes` more: doubles, so that copying stays linear, but goes no further than the end of
/// the message where that is known, so that a message ends in a buffer of its own size.
#[inline]
pub(crate) fn reserve_for_arrival(buffer: &mut Vec<u8>, arriving_bytes: usize, expected_bytes: Option<u64>) {
    let needed = buffer.len().saturating_add(arriving_bytes);
    if needed > buffer.capacity() {
        grow(buffer, needed, expected_bytes);
    }
}

fn grow(buffer: &mut Vec<u8>, needed: usize, expected_bytes: Option<u64>) {
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

/// The message that was gathered in `buffer`; the memory is kept once that is dropped, if it is worth it.
pub(crate) fn into_bytes(buffer: Vec<u8>) -> Bytes {
    if !(SPARE_BYTES_MIN..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
        return Bytes::from(buffer);
    }
    match KEPT.try_with(|kept| Arc::clone(kept.borrow_mut().get_or_insert_default())) {
        Ok(home) => Bytes::from_owner(Returning { buffer, home }),
        // The thread is ending.
        Err(_) => Bytes::from(buffer),
    }
}

/// A message's memory on its way back.
struct Returning {
    buffer: Vec<u8>,
    home: Arc<Kept>,
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
        let mut buffers = lock(&self.home.0);
        buffers.push(buffer);
        // What has not been used for the longest goes first.
        while buffers.iter().map(Vec::capacity).sum::<usize>() > KEPT_BYTES_MAX {
            buffers.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_message_serves_the_next_of_about_its_size() {
        let message = into_bytes(vec![7; 100_000]);
        assert_eq!(message, vec![7; 100_000]);
        assert!(take(100_000).is_none(), "it is still held");
        let address = message.as_ptr();
        // From whichever thread it comes.
        std::thread::spawn(move || drop(message)).join().unwrap();
        assert!(take(100_001).is_none() && take(49_999).is_none());
        let buffer = take(70_000).unwrap();
        assert!(buffer.is_empty() && buffer.as_ptr() == address);
        assert!(take(70_000).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        for bytes in [SPARE_BYTES_MIN - 1, KEPT_BYTES_MAX + 1] {
            drop(into_bytes(vec![0; bytes]));
            assert!(take(bytes).is_none());
        }
        let messages: Vec<_> = (0..10).map(|_| into_bytes(vec![0; 300_000])).collect();
        drop(messages);
        let kept = std::iter::from_fn(|| take(300_000)).count();
        assert_eq!(kept, KEPT_BYTES_MAX / 300_000);
    }

    #[test]
    fn memory_of_another_size_makes_way() {
        let large: Vec<_> = (0..2).map(|_| into_bytes(vec![0; 1 << 20])).collect();
        drop(large);
        drop(into_bytes(vec![0; 100_000]));
        assert!(take(100_000).is_some());
        assert!(take(1 << 20).is_some(), "the older of the two went");
        assert!(take(1 << 20).is_none());
    }
}
