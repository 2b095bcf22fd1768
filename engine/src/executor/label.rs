//! The label of the handler that runs on a thread, for the log.
//!
//! The engine knows the connection that a handler serves, but not the handler's name. A protocol stores a number on the
//! handler's thread when it enters a handler, which is two instructions, and one function turns numbers into names.
//! Internal: it can change in any version.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The label of a thread on which no protocol has set one.
pub const UNKNOWN: u32 = 0;

/// The cell of all threads that run no executor.
static NOWHERE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// Cells of threads that have ended. A cell is never freed, because the watchdog reads it from another thread.
static SPARE: Mutex<Vec<&'static AtomicU32>> = Mutex::new(Vec::new());

static NAMES: OnceLock<fn(u32) -> String> = OnceLock::new();

thread_local! {
    static CELL: Cell<&'static AtomicU32> = const { Cell::new(&NOWHERE) };
}

/// Sets the label of the handler that runs on this thread.
#[inline]
pub fn set(label: u32) {
    CELL.with(|cell| cell.get().store(label, Ordering::Relaxed));
}

/// Returns the label that was set last on this thread. Threads that run no handlers of an engine share one label.
#[inline]
pub fn get() -> u32 {
    CELL.with(|cell| cell.get().load(Ordering::Relaxed))
}

/// Sets the function that returns the name of a label, such as `the handler of /rooms/:room`. Later calls do nothing.
pub fn name_by(names: fn(u32) -> String) {
    let _ = NAMES.set(names);
}

/// The label of one executor's thread.
pub(super) struct Label(&'static AtomicU32);

impl Label {
    /// Gives the current thread a cell for its label.
    pub(super) fn claim() -> Self {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let cell = spare.unwrap_or_else(|| Box::leak(Box::default()));
        cell.store(UNKNOWN, Ordering::Relaxed);
        CELL.with(|current| current.set(cell));
        Self(cell)
    }

    /// Sets the label from the thread that claimed the cell.
    #[inline]
    pub(super) fn set(&self, label: u32) {
        self.0.store(label, Ordering::Relaxed);
    }

    /// Returns the name of the handler that was entered last.
    pub(super) fn name(&self) -> String {
        match (self.0.load(Ordering::Relaxed), NAMES.get()) {
            (UNKNOWN, _) | (_, None) => "a handler".to_owned(),
            (label, Some(names)) => names(label),
        }
    }
}

impl Drop for Label {
    fn drop(&mut self) {
        // The thread that drops it can be another one than the thread that set it; the cell of that one has ended.
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(self.0);
    }
}
