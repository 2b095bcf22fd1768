//! The earlier output that later output can repeat.

/// The last bytes of the output before, as many as the window has or fewer. It holds no more memory than twice what it
/// was given, and at most the window.
#[derive(Debug)]
pub(super) struct History {
    /// Once it is as long as the window, the oldest bytes are replaced.
    bytes: Vec<u8>,
    /// The place after the newest byte.
    end: usize,
    /// A power of two.
    window_bytes: usize,
}

/// The bytes that are copied at once where there is room for them.
const CHUNK_BYTES: usize = 32;

impl History {
    pub(super) const fn new(window_bits: u8) -> Self {
        Self { bytes: Vec::new(), end: 0, window_bytes: 1 << window_bits }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.end = 0;
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline(always)]
    pub(super) fn window_bytes(&self) -> usize {
        self.window_bytes
    }

    /// Returns the bytes of heap held.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds output.
    pub(super) fn push(&mut self, output: &[u8]) {
        let newest = &output[output.len().saturating_sub(self.window_bytes)..];
        let room = self.window_bytes - self.bytes.len();
        let (first, others) = newest.split_at(newest.len().min(room));
        if !first.is_empty() {
            self.reserve(first.len());
            self.bytes.extend_from_slice(first);
            self.end = self.bytes.len();
        }
        if !others.is_empty() {
            // The window is full.
            let place = self.end % self.window_bytes;
            let (before, after) = others.split_at(others.len().min(self.window_bytes - place));
            self.bytes[place..place + before.len()].copy_from_slice(before);
            self.bytes[..after.len()].copy_from_slice(after);
            self.end = if after.is_empty() { place + before.len() } else { after.len() };
        }
    }

    fn reserve(&mut self, more_bytes: usize) {
        let needed = self.bytes.len() + more_bytes;
        if needed > self.bytes.capacity() {
            let target = (2 * self.bytes.capacity()).clamp(needed, self.window_bytes);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
    }

    /// Copies bytes from `back` bytes before the end on, up to `count` of them and none beyond the end. Returns their
    /// number. `room` has at least `count` bytes; those behind what was copied can change.
    #[inline]
    pub(super) fn copy(&self, back: usize, count: usize, room: &mut [u8]) -> usize {
        let count = count.min(back);
        let start = if back <= self.end { self.end - back } else { self.end + self.bytes.len() - back };
        if count <= CHUNK_BYTES
            && let Some(chunk) = self.bytes.get(start..).and_then(|bytes| bytes.first_chunk::<CHUNK_BYTES>())
            && let Some(room) = room.first_chunk_mut()
        {
            *room = *chunk;
            return count;
        }
        let before_wrap = count.min(self.bytes.len() - start);
        room[..before_wrap].copy_from_slice(&self.bytes[start..start + before_wrap]);
        room[before_wrap..count].copy_from_slice(&self.bytes[..count - before_wrap]);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_of_the_window_can_be_copied_whatever_the_pieces_were() {
        for piece_len in [1, 7, 100, 511, 512, 513, 700, 3000] {
            let mut history = History::new(9);
            let mut all = Vec::new();
            // Each step takes long under miri.
            for number in 0..if cfg!(miri) { 3 } else { 40 } {
                let piece: Vec<u8> =
                    (0..piece_len).map(|index| (number * 31 + index * 7 + index / 256) as u8).collect();
                history.push(&piece);
                all.extend_from_slice(&piece);
                assert_eq!(history.len(), all.len().min(512));
                assert!(history.held_bytes() <= 512.min(2 * all.len()));
                for back in [1, 2, 30, 31, 32, 33, 100, 300, 511, 512] {
                    for count in [1, 3, 31, 32, 33, 258] {
                        if back <= history.len() {
                            let mut room = [0; 300];
                            let copied = history.copy(back, count, &mut room);
                            assert_eq!(copied, count.min(back));
                            let start = all.len() - back;
                            assert_eq!(room[..copied], all[start..start + copied], "{back} bytes back");
                        }
                    }
                }
            }
        }
    }
}
