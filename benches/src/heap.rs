//! A global allocator that counts the blocks of each size, so that a program can say what its memory consists of.
//!
//! ```
//! use tidegate_benches::heap::Heap;
//!
//! #[global_allocator]
//! static HEAP: Heap = Heap::new();
//!
//! let before = HEAP.counts();
//! let taken = std::hint::black_box(vec![[0_u8; 312]; 1]);
//! assert!(HEAP.counts().since(&before).blocks().contains(&(312, 1)));
//! drop(taken);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Blocks of up to so many bytes are counted by their size, larger ones by their bytes together.
pub const COUNTED_BYTES_MAX: usize = 20_480;

/// The system's allocator, and the blocks in use.
pub struct Heap {
    /// Blocks of each size.
    blocks: [AtomicUsize; COUNTED_BYTES_MAX + 1],
    /// Bytes of all larger blocks.
    large_bytes: AtomicUsize,
}

impl Heap {
    /// Returns a heap without blocks.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default is not const")]
    pub const fn new() -> Self {
        Self { blocks: [const { AtomicUsize::new(0) }; COUNTED_BYTES_MAX + 1], large_bytes: AtomicUsize::new(0) }
    }

    /// Returns the blocks in use now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let blocks = self.blocks.iter().map(|count| count.load(Ordering::Relaxed) as i64).collect();
        Counts { blocks, large_bytes: self.large_bytes.load(Ordering::Relaxed) as i64 }
    }

    fn taken(&self, bytes: usize) {
        match self.blocks.get(bytes) {
            Some(count) => count.fetch_add(1, Ordering::Relaxed),
            None => self.large_bytes.fetch_add(bytes, Ordering::Relaxed),
        };
    }

    fn freed(&self, bytes: usize) {
        match self.blocks.get(bytes) {
            Some(count) => count.fetch_sub(1, Ordering::Relaxed),
            None => self.large_bytes.fetch_sub(bytes, Ordering::Relaxed),
        };
    }
}

// SAFETY: every call is passed on to the system's allocator as it is; counting touches no memory but its own atomics.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.taken(layout.size());
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.taken(layout.size());
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.freed(layout.size());
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        self.freed(layout.size());
        self.taken(bytes);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(block, layout, bytes) }
    }
}

/// Blocks in use, or the difference of two counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    blocks: Vec<i64>,
    /// Bytes of all blocks above [`COUNTED_BYTES_MAX`].
    pub large_bytes: i64,
}

impl Counts {
    /// Returns what was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let blocks = self.blocks.iter().zip(&earlier.blocks).map(|(now, before)| now - before).collect();
        Self { blocks, large_bytes: self.large_bytes - earlier.large_bytes }
    }

    /// Returns the sizes whose number of blocks is not 0, those that take the most bytes first.
    #[must_use]
    pub fn blocks(&self) -> Vec<(usize, i64)> {
        let mut found: Vec<_> = self.blocks.iter().copied().enumerate().filter(|(_, count)| *count != 0).collect();
        found.sort_by_key(|(bytes, count)| -(*bytes as i64 * count));
        found
    }

    /// Returns the bytes of all blocks that are counted by size, as they were asked for.
    #[must_use]
    pub fn counted_bytes(&self) -> i64 {
        self.blocks.iter().enumerate().map(|(bytes, count)| bytes as i64 * count).sum()
    }
}

/// Memory of the system's allocator, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocator {
    /// What it has taken from the kernel.
    pub taken: u64,
    /// The part in use: blocks in use with their headers and what their sizes were rounded up by.
    pub used: u64,
}

impl Allocator {
    /// Returns the values of now; zeros where the C library does not have them.
    #[must_use]
    pub fn now() -> Self {
        #[cfg(target_env = "gnu")]
        {
            // SAFETY: only reads counters of the allocator, under its own locks.
            let info = unsafe { libc::mallinfo2() };
            let mapped = info.hblkhd as u64;
            Self { taken: info.arena as u64 + mapped, used: info.uordblks as u64 + mapped }
        }
        #[cfg(not(target_env = "gnu"))]
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_by_size_and_large_ones_together() {
        let heap = Heap::new();
        let [small, large] = [24, COUNTED_BYTES_MAX + 1].map(|bytes| Layout::from_size_align(bytes, 8).unwrap());
        // SAFETY: each block is freed as it was taken; the small one has grown to 40 bytes by then.
        unsafe {
            let blocks = [heap.alloc(small), heap.alloc_zeroed(small), heap.alloc(large)];
            let before = heap.counts();
            assert_eq!((before.blocks(), before.large_bytes), (vec![(24, 2)], large.size() as i64));
            let grown = heap.realloc(blocks[0], small, 40);
            let grown_by = heap.counts().since(&before);
            assert_eq!((grown_by.blocks(), grown_by.counted_bytes()), (vec![(40, 1), (24, -1)], 16));
            heap.dealloc(grown, Layout::from_size_align(40, 8).unwrap());
            heap.dealloc(blocks[1], small);
            heap.dealloc(blocks[2], large);
        }
        assert_eq!((heap.counts().blocks(), heap.counts().large_bytes), (vec![], 0));
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn the_allocator_knows_what_is_used() {
        let now = Allocator::now();
        assert!(now.used > 0 && now.taken >= now.used, "{now:?}");
    }
}
