//! The counts of the server process: its connections and handlers, and its live allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The system's allocator, which counts what is live.
pub struct CountingAllocator;

static LIVE_BLOCKS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicU64 = AtomicU64::new(0);

/// Returns the number of live allocations and their bytes.
pub fn live() -> (u64, u64) {
    (LIVE_BLOCKS.load(Ordering::Relaxed), LIVE_BYTES.load(Ordering::Relaxed))
}

fn allocated(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if !pointer.is_null() {
        LIVE_BLOCKS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pointer
}

// SAFETY: every call goes to the system's allocator unchanged; the counters never influence it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is the same.
        allocated(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        allocated(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BLOCKS.fetch_sub(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        let moved = unsafe { System.realloc(pointer, layout, bytes) };
        if !moved.is_null() {
            LIVE_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
            LIVE_BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        }
        moved
    }
}

/// Numbers with names, as one line of text between the processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub fn set(&mut self, name: impl Into<String>, value: u64) {
        self.0.insert(name.into(), value);
    }

    pub fn add(&mut self, name: &str, more: u64) {
        *self.0.entry(name.to_owned()).or_default() += more;
    }

    pub fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, value)| self.add(name, *value));
    }

    /// Returns the value, or 0 if there is none.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub fn to_line(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(" ")
    }

    pub fn parse(line: &str) -> Option<Self> {
        let pair = |word: &str| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        line.split_whitespace().map(pair).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_their_text_form() {
        let mut counts = Counts::default();
        counts.set("connections", 3);
        counts.add("kills", 2);
        counts.add("kills", 5);
        assert_eq!(counts.to_line(), "connections=3 kills=7");
        assert_eq!(Counts::parse(&counts.to_line()), Some(counts));
        assert_eq!(Counts::parse("a=1 b"), None);
    }

    #[test]
    fn live_allocations_are_counted() {
        let (blocks, bytes) = live();
        let taken = std::hint::black_box(vec![1_u8; 1 << 22]);
        // Other tests allocate and free at the same time, but nothing near this size.
        assert!(live().1 >= bytes + (1 << 21), "{blocks} {bytes}");
        drop(taken);
    }
}
