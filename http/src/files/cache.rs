//! The files that were served last: small ones with their content, large ones with an open descriptor.
//!
//! Bounded in bytes and in descriptors. An entry is compared with the disk after an interval, so a change shows after
//! that time at most. The cache is in several parts, each behind its own lock, so that threads rarely contend.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::Entry;

const PARTS: usize = 8;

/// Maximum descriptors that a cache keeps open.
const OPEN_FILES_MAX: usize = 256;

/// Memory of an entry in addition to its content, estimated.
const ENTRY_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Cache {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    bytes_max: usize,
    interval: Duration,
    started: Instant,
}

#[derive(Debug, Default)]
struct Part {
    entries: HashMap<Box<str>, Arc<Entry>>,
    /// All keys, the oldest first. One that was used meanwhile moves to the end.
    order: VecDeque<Box<str>>,
    bytes: usize,
    open_files: usize,
}

/// An entry of the cache.
pub(super) enum Cached {
    /// It can be served.
    Fresh(Arc<Entry>),
    /// It can have changed on disk.
    Stale(Arc<Entry>),
}

impl Cache {
    /// Creates a cache of up to `bytes_max` bytes; with zero it keeps nothing. Entries are compared with the disk after
    /// `interval`.
    pub(super) fn new(bytes_max: usize, interval: Duration) -> Cache {
        Cache { parts: Default::default(), hasher: RandomState::new(), bytes_max, interval, started: Instant::now() }
    }

    pub(super) fn get(&self, path: &str) -> Option<Cached> {
        if self.bytes_max == 0 {
            return None;
        }
        let entry = self.part(path).entries.get(path).cloned()?;
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        let age = self.now().saturating_sub(entry.checked_at.load(Ordering::Relaxed));
        Some(if u128::from(age) < self.interval.as_millis() { Cached::Fresh(entry) } else { Cached::Stale(entry) })
    }

    /// Notes that an entry is the same as the file on disk.
    pub(super) fn refresh(&self, entry: &Entry) {
        entry.checked_at.store(self.now(), Ordering::Relaxed);
    }

    /// Adds an entry, in place of an older one of the same path, and drops others while there are too many.
    pub(super) fn insert(&self, path: &str, entry: &Arc<Entry>) {
        self.refresh(entry);
        let (bytes_max, files_max) = (self.bytes_max / PARTS, OPEN_FILES_MAX / PARTS);
        if self.bytes_max == 0 || cost(path, entry) > bytes_max {
            return;
        }
        let mut part = self.part(path);
        part.bytes += cost(path, entry);
        part.open_files += entry.open_files();
        match part.entries.insert(path.into(), Arc::clone(entry)) {
            Some(old) => part.uncount(path, &old),
            None => part.order.push_back(path.into()),
        }
        while part.bytes > bytes_max || part.open_files > files_max {
            let Some(oldest) = part.order.pop_front() else { break };
            let Some(candidate) = part.entries.get(&oldest) else { continue };
            // An entry begins as used, so one that was just added moves to the end once.
            if candidate.used.swap(false, Ordering::Relaxed) {
                part.order.push_back(oldest);
            } else if let Some(dropped) = part.entries.remove(&oldest) {
                part.uncount(&oldest, &dropped);
            }
        }
    }

    /// Drops the entry of a path whose file is gone.
    pub(super) fn remove(&self, path: &str) {
        let mut part = self.part(path);
        if let Some(dropped) = part.entries.remove(path) {
            part.uncount(path, &dropped);
            part.order.retain(|known| &**known != path);
        }
    }

    fn part(&self, path: &str) -> MutexGuard<'_, Part> {
        let number = self.hasher.hash_one(path) as usize % PARTS;
        self.parts[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the cache was made, from 1 on.
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 + 1
    }
}

impl Part {
    fn uncount(&mut self, path: &str, entry: &Entry) {
        self.bytes -= cost(path, entry);
        self.open_files -= entry.open_files();
    }
}

fn cost(path: &str, entry: &Entry) -> usize {
    entry.memory_bytes() + ENTRY_BYTES + 2 * path.len()
}
