//! The part of an engine that all of its workers share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;
use crate::config::MemoryConfig;
use crate::shared::memory::MemoryBudget;

/// The part of an engine that all of its workers share.
pub(crate) struct EngineShared {
    pub(crate) memory: MemoryBudget,
    pub(crate) accept_failures: LogLimit,
}

impl EngineShared {
    pub(crate) fn new(memory: MemoryBudget) -> Self {
        Self { memory, accept_failures: LogLimit::default() }
    }
}

impl Default for EngineShared {
    fn default() -> Self {
        Self::new(MemoryBudget::new(MemoryConfig::default(), usize::MAX))
    }
}

/// Lets one line in a while into the log, by the engine's clock.
#[derive(Default)]
pub(crate) struct LogLimit {
    /// The tick from which on the next line is due.
    due: AtomicU64,
    /// Lines left out since the last.
    left_out: AtomicU64,
}

/// Time between two lines.
const LINES_APART: std::time::Duration = std::time::Duration::from_secs(60);

impl LogLimit {
    /// Returns the number of lines left out since the last one, if another is due.
    pub(crate) fn take_turn(&self, now: u64) -> Option<u64> {
        let next = now + Clock::ticks_in(LINES_APART);
        let turn = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| (now >= due).then_some(next));
        if turn.is_ok() {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_is_due() {
        let (limit, minute) = (LogLimit::default(), Clock::ticks_in(LINES_APART));
        assert_eq!(limit.take_turn(5), Some(0));
        assert_eq!(limit.take_turn(5), None);
        assert_eq!(limit.take_turn(4 + minute), None);
        assert_eq!(limit.take_turn(5 + minute), Some(2));
        assert_eq!(limit.take_turn(6 + minute), None);
    }
}
