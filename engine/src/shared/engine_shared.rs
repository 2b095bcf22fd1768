//! The part of an engine that all of its workers share.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;
use crate::config::MemoryConfig;
use crate::shared::memory::MemoryBudget;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// The part of an engine that all of its workers share.
pub(crate) struct EngineShared {
    pub(crate) memory: MemoryBudget,
    pub(crate) accept_failures: LogLimit,
    /// The TLS of each listener, by number; shorter if the last ones have none.
    #[cfg(feature = "tls")]
    pub(crate) tls: Vec<Option<Tls>>,
    /// What a client that does not speak TLS gets on a listener with it, before the connection is closed.
    #[cfg(feature = "tls")]
    pub(crate) plaintext_answer: &'static [u8],
}

impl EngineShared {
    pub(crate) fn new(memory: MemoryBudget) -> Self {
        Self {
            memory,
            accept_failures: LogLimit::default(),
            #[cfg(feature = "tls")]
            tls: Vec::new(),
            #[cfg(feature = "tls")]
            plaintext_answer: &[],
        }
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
