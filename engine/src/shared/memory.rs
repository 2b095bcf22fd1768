//! The budget of all messages and bodies that have not arrived in full.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use crate::config::MemoryConfig;
use crate::util::sync::Mutex;

/// The memory that the messages and bodies still being gathered hold together. Clones are handles to the same budget.
/// See [`MemoryConfig`].
///
/// ```
/// use tidegate_engine::MemoryBudget;
///
/// /// Returns whether large messages have to wait, for a health page.
/// fn is_spent(memory: &MemoryBudget) -> bool {
///     memory.bytes() + 64 * 1024 > memory.bytes_max()
/// }
/// ```
#[derive(Clone)]
pub struct MemoryBudget(Arc<State>);

struct State {
    limits: MemoryConfig,
    bytes_max: usize,
    bytes: AtomicUsize,
    /// Messages that hold a part.
    holders: AtomicUsize,
    /// Messages that wait for a part.
    waiting: AtomicUsize,
    refused: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
}

impl MemoryBudget {
    pub(crate) fn new(limits: MemoryConfig, bytes_max: usize) -> Self {
        Self(Arc::new(State {
            limits,
            bytes_max,
            bytes: AtomicUsize::new(0),
            holders: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            wakers: Mutex::default(),
        }))
    }

    /// Returns the bytes in use.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Returns the most bytes.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Returns the number of messages that hold a part of the budget, a current value.
    pub fn messages(&self) -> usize {
        self.0.holders.load(Ordering::Relaxed)
    }

    /// Returns the number of messages refused because the budget was spent.
    pub fn refused_total(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn limits(&self) -> &MemoryConfig {
        &self.0.limits
    }

    /// Takes `bytes`, if they are there, for a message that holds a part already or begins to.
    pub(crate) fn take(&self, bytes: usize, begins: bool) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.0.bytes_max);
        let taken = self.0.bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok();
        if taken && begins {
            self.0.holders.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Returns all that a message holds, and wakes those that wait.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.holders.fetch_sub(1, Ordering::Relaxed);
        self.0.bytes.fetch_sub(bytes, Ordering::SeqCst);
        // A message that begins to wait looks at the bytes after it is counted.
        if self.is_short() {
            let wakers = std::mem::take(&mut *self.0.wakers.lock());
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Returns the bytes that each of the messages would hold if all had the same.
    pub(crate) fn fair_share(&self) -> usize {
        self.0.bytes_max / self.messages().max(1)
    }

    /// Returns whether a message waits.
    pub(crate) fn is_short(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst) > 0
    }

    pub(crate) fn count_refusal(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a message that waits. The budget is to be asked again after [`wake`](Waiting::wake).
    pub(crate) fn begin_waiting(&self) -> Waiting {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self.clone())
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("bytes", &self.bytes())
            .field("bytes_max", &self.bytes_max())
            .field("messages", &self.messages())
            .field("refused_total", &self.refused_total())
            .finish()
    }
}

/// A message that waits for memory, until it is dropped.
pub(crate) struct Waiting(MemoryBudget);

impl Waiting {
    /// Wakes `waker` when memory comes back.
    pub(crate) fn wake(&self, waker: &Waker) {
        let mut wakers = self.0.0.wakers.lock();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.0.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Those of messages that were given up while they waited.
            let wakers = std::mem::take(&mut *self.0.0.wakers.lock());
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_never_exceeded_and_everything_comes_back() {
        let budget = MemoryBudget::new(MemoryConfig::default().rate_min(5), 100);
        assert_eq!(budget.limits().rate_min, 5);
        assert!(budget.take(60, true) && budget.take(40, false) && !budget.take(1, true));
        assert_eq!((budget.bytes(), budget.messages(), budget.fair_share()), (100, 1, 100));
        assert!(!budget.take(usize::MAX, true));
        budget.give_back(100);
        assert_eq!((budget.bytes(), budget.messages()), (0, 0));
        assert!(budget.take(50, true) && budget.take(50, true));
        assert_eq!((budget.fair_share(), budget.bytes_max()), (50, 100));
    }

    #[test]
    fn memory_is_short_while_a_message_waits() {
        let budget = MemoryBudget::new(MemoryConfig::default(), 100);
        assert!(!budget.is_short());
        let waiting = budget.begin_waiting();
        assert!(budget.is_short());
        waiting.wake(Waker::noop());
        drop(waiting);
        assert!(!budget.is_short() && budget.0.wakers.lock().is_empty());
    }
}
