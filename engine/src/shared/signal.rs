//! The announced sleep of a thread, and how others end it.

use std::sync::Arc;

use crate::util::sync::{AtomicBool, Ordering, fence};

/// What one thread announces before it looks for the last time at what others change, and what they look at after.
///
/// Both sides fence in between, so that whichever comes first in the total order of fences, the announcer sees the
/// change or the other thread sees the announcement; of several threads one takes it.
#[derive(Debug)]
pub(crate) struct SleepFlag(AtomicBool);

impl SleepFlag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// To be followed by the last look.
    pub(crate) fn announce(&self) {
        // On paper a store would do; loom finds a lost wake with it, and beside a sleep the swap costs nothing.
        self.0.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn withdraw(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// To be preceded by the change; true for the one that is to answer.
    pub(crate) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// The announced sleep of one consumer thread and the way to end it.
pub(crate) struct Signal {
    sleeping: SleepFlag,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Signal {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { sleeping: SleepFlag::new(), wake: Box::new(wake) })
    }

    /// The consumer is about to block. It must look at all of its queues after this call and before it blocks.
    pub(crate) fn announce_sleep(&self) {
        self.sleeping.announce();
    }

    /// The consumer runs again, whatever woke it.
    pub(crate) fn awake(&self) {
        self.sleeping.withdraw();
    }

    /// Something was queued: wakes the consumer if it announced a sleep.
    pub(crate) fn notify_now(&self) {
        if self.sleeping.take() {
            (self.wake)();
        }
    }
}
