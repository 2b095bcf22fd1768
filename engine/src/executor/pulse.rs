//! The signs of life of an executor's thread, for the watchdog.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::executor::label::Label;

/// The task that a thread runs, and how many it has run: a few plain stores for each poll, and no look at a clock. The
/// watchdog sees that a poll takes long by finding the same numbers again.
pub(super) struct Pulse {
    /// The place of the task that runs, or one of the three below.
    current: AtomicU32,
    /// Number of polls begun, modulo 2^32.
    polls: AtomicU32,
    label: Label,
}

/// The state of a [`Pulse`] at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    current: u32,
    polls: u32,
}

impl Pulse {
    /// A handler is being polled that has no task.
    pub(super) const ENDPOINT: u32 = u32::MAX - 2;
    /// A handler is being called, and has no task yet.
    pub(super) const STARTING: u32 = u32::MAX - 1;
    /// The thread runs no handler.
    const RESTING: u32 = u32::MAX;

    /// Creates the pulse of the current thread.
    pub(super) fn new() -> Self {
        Self { current: AtomicU32::new(Self::RESTING), polls: AtomicU32::new(0), label: Label::claim() }
    }

    /// Records that a task begins to run, or a handler without one.
    #[inline]
    pub(super) fn begin(&self, task: u32) {
        self.current.store(task, Ordering::Relaxed);
        self.polls.store(self.polls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Records that a task with a label begins to run.
    #[inline]
    pub(super) fn begin_task(&self, task: u32, label: u32) {
        self.label.set(label);
        self.begin(task);
    }

    /// Records that no task runs.
    #[inline]
    pub(super) fn rest(&self) {
        self.current.store(Self::RESTING, Ordering::Relaxed);
    }

    /// Returns the place of the task that runs.
    pub(super) fn current(&self) -> u32 {
        self.current.load(Ordering::Relaxed)
    }

    /// Returns the name of the handler that runs.
    pub(super) fn name(&self) -> String {
        self.label.name()
    }

    pub(super) fn beat(&self) -> Beat {
        Beat { current: self.current(), polls: self.polls.load(Ordering::Relaxed) }
    }
}

impl Beat {
    /// Returns whether a handler runs.
    pub(crate) fn is_busy(self) -> bool {
        self.current != Pulse::RESTING
    }

    /// Returns the place of the task that runs.
    pub(super) fn task(self) -> u32 {
        self.current
    }
}
