//! Buffers of sends that have left, waiting to be filled again.
//!
//! A busy connection would else allocate a buffer for each send and grow it message by message. One pool serves a
//! worker and its handlers, whichever thread fills or empties a buffer; an idle connection holds none. The buffer given
//! back last is taken first: it is still in the processor's caches.

use crate::sync::Mutex;

/// Buffers kept at most: one for each send of a busy tick.
const SPARE_BUFFERS_MAX: usize = 512;
/// A larger buffer is freed: one large message must not stay in memory.
const SPARE_BYTES_MAX: usize = 8 * 1024;
/// A buffer that could hold less is not worth the way.
const SPARE_BYTES_MIN: usize = 64;

pub(crate) struct SpareBuffers(Mutex<Vec<Vec<u8>>>);

impl SpareBuffers {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// An empty buffer, with capacity if one was spare.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if !(SPARE_BYTES_MIN..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
            return;
        }
        buffer.clear();
        let mut buffers = self.0.lock();
        // With the pool full the buffer is freed.
        if buffers.len() < SPARE_BUFFERS_MAX {
            buffers.push(buffer);
        }
    }
}
