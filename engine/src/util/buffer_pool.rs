//! A per-thread pool of emptied buffers.
//!
//! Without it a busy connection would allocate for every chunk and every send. A worker takes buffers for chunks and
//! its handler thread gives them back; the handler takes buffers for sends and the worker gives those back. So neither
//! runs dry, and no lock is needed. The buffer given back last is taken first, because it is still in the processor's
//! caches. An idle connection holds none.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

mod large;

/// Maximum total capacity kept per thread, in bytes: enough for some hundred small messages of a busy tick. Bounds
/// threads that only ever give back.
const POOL_BYTES_MAX: usize = 128 * 1024;
/// A larger buffer goes to a pool with a bound of its own (`large`).
const BUFFER_BYTES_MAX: usize = 8 * 1024;
/// A smaller buffer is not worth keeping.
const BUFFER_BYTES_MIN: usize = 64;

struct Pool {
    buffers: Vec<Boxed>,
    /// The sum of their capacities.
    bytes: usize,
}

impl Pool {
    const fn new() -> Self {
        Self { buffers: Vec::new(), bytes: 0 }
    }

    /// Takes the buffer at `at`, whose place the last one gets.
    #[inline]
    fn take(&mut self, at: usize) -> Boxed {
        let buffer = self.buffers.swap_remove(at);
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Keeps a buffer, unless all would then have more than `bytes_max` bytes. Returns whether it did.
    #[inline]
    fn keep(&mut self, buffer: Boxed, bytes_max: usize) -> bool {
        let fits = self.bytes + buffer.capacity() <= bytes_max;
        if fits {
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
        fits
    }
}

/// In a box, because it is moved several times for each message.
type Boxed = Box<Vec<u8>>;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::new()) };
}

/// A vector in the size of a pointer, for each of very many connections: null until something is put into it. Its
/// memory comes from the pool and goes back to it.
#[derive(Default)]
pub(crate) struct Buffer(Option<Boxed>);

impl Buffer {
    /// Copies `bytes` into a buffer of the pool.
    #[inline]
    pub(crate) fn copy(bytes: &[u8]) -> Self {
        let mut buffer = take(bytes.len());
        buffer.extend_from_slice(bytes);
        Self(Some(buffer))
    }

    /// Returns the vector, which the pool provides if there is none.
    #[inline]
    pub(crate) fn vec_mut(&mut self) -> &mut Vec<u8> {
        self.0.get_or_insert_with(|| take(BUFFER_BYTES_MIN))
    }

    /// Takes the contents, and leaves an empty buffer.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.0.take().map(|bytes| *bytes).unwrap_or_default()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.capacity())
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self((bytes.capacity() > 0).then(|| Box::new(bytes)))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| bytes)
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], |bytes| bytes)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        if let Some(bytes) = self.0.take() {
            give(bytes);
        }
    }
}

/// Takes an empty buffer, a large one if the pool has no small one. If it has none at all, makes one of `bytes` bytes,
/// or of as many as the pool keeps: tiny messages then do not allocate each time.
fn take(bytes: usize) -> Boxed {
    let taken = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let last = pool.buffers.len().checked_sub(1)?;
        Some(pool.take(last))
    });
    match taken {
        Ok(Some(buffer)) => buffer,
        _ => allocate(bytes),
    }
}

#[cold]
fn allocate(bytes: usize) -> Boxed {
    large::take().unwrap_or_else(|| Box::new(Vec::with_capacity(bytes.max(BUFFER_BYTES_MIN))))
}

/// Gives the memory of `buffer` to the pool, if it is worth keeping.
fn give(mut buffer: Boxed) {
    if !(BUFFER_BYTES_MIN..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
        if buffer.capacity() > BUFFER_BYTES_MAX {
            large::give(buffer);
        }
        return;
    }
    buffer.clear();
    // An error means that the thread is ending; the buffer is then freed.
    let _ = POOL.try_with(|pool| pool.borrow_mut().keep(buffer, POOL_BYTES_MAX));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_buffer_given_is_taken_first_and_empty() {
        let buffers = [vec![1; 100], vec![2; 200]].map(Buffer::from);
        buffers.into_iter().for_each(drop);
        let mut buffer = Buffer::copy(b"");
        assert!(buffer.is_empty() && buffer.capacity() >= 200);
        assert!(Buffer::copy(b"").capacity() >= 100);
        assert!(buffer.take().capacity() >= 200);
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn the_memory_of_a_tiny_message_is_used_again() {
        let place = Buffer::copy(b"tiny").as_ptr();
        assert_eq!(Buffer::copy(b"more").as_ptr(), place);
        let mut buffer = Buffer::default();
        buffer.vec_mut().push(b'x');
        assert_eq!(buffer.as_ptr(), place);
    }

    #[test]
    fn too_small_and_too_large_buffers_are_freed() {
        drop(Buffer::from(vec![0; BUFFER_BYTES_MIN - 1]));
        drop(Buffer::from(vec![0; BUFFER_BYTES_MAX + 1]));
        assert_eq!(kept().len(), 0);
    }

    #[test]
    fn the_pool_of_a_thread_is_bounded() {
        for _ in 0..POOL_BYTES_MAX / BUFFER_BYTES_MAX + 1 {
            give(Box::new(vec![0; BUFFER_BYTES_MAX]));
        }
        assert_eq!(kept().len(), POOL_BYTES_MAX / BUFFER_BYTES_MAX);
    }

    /// Returns the buffers that the pool of this thread keeps.
    fn kept() -> Vec<Boxed> {
        POOL.with(|pool| std::mem::take(&mut pool.borrow_mut().buffers))
    }
}
