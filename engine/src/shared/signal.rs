//! The announced sleep of a thread, and its end by other threads.

use std::sync::Arc;

use crate::util::sync::{AtomicBool, Ordering, fence};

/// A flag that one thread raises before its last look at shared state, and that other threads check after changing that
/// state.
///
/// Both sides fence in between. Whichever fence comes first in the total order, either the announcer sees the change or
/// the other thread sees the flag. Of several threads exactly one takes it.
#[derive(Debug)]
pub(crate) struct SleepFlag(AtomicBool);

impl SleepFlag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Raises the flag. Must be followed by the last look.
    pub(crate) fn announce(&self) {
        // In theory a store suffices; loom finds a lost wake with one, and compared to a sleep the swap costs nothing.
        self.0.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn withdraw(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Takes the flag, after the change. Returns true to exactly one thread, which must wake the announcer.
    pub(crate) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// The announced sleep of one consumer thread, with the function that ends it.
pub(crate) struct Signal {
    sleeping: SleepFlag,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Signal {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { sleeping: SleepFlag::new(), wake: Box::new(wake) })
    }

    /// Announces that the consumer is about to block. It must check all of its queues after this call and before it
    /// blocks.
    pub(crate) fn announce_sleep(&self) {
        self.sleeping.announce();
    }

    /// Withdraws the announcement: the consumer runs again.
    pub(crate) fn awake(&self) {
        self.sleeping.withdraw();
    }

    /// Wakes the consumer if it announced a sleep. To be called after queuing something for it.
    pub(crate) fn notify_now(&self) {
        if self.sleeping.take() {
            (self.wake)();
        }
    }
}

#[cfg(all(test, loom))]
pub(crate) mod parker {
    //! A thread's park and unpark for models. loom's own lose an unpark that comes while the thread waits for a lock.

    use std::sync::atomic::AtomicUsize;

    use super::*;

    pub(crate) struct Parker {
        unparked: Arc<(loom::sync::Mutex<bool>, loom::sync::Condvar)>,
        wakes: Arc<AtomicUsize>,
    }

    impl Parker {
        pub(crate) fn new() -> Self {
            let unparked = Arc::new((loom::sync::Mutex::new(false), loom::sync::Condvar::new()));
            Self { unparked, wakes: Arc::default() }
        }

        /// Creates a signal that unparks, and counts.
        pub(crate) fn signal(&self) -> Arc<Signal> {
            let (unparked, wakes) = (Arc::clone(&self.unparked), Arc::clone(&self.wakes));
            Signal::new(move || {
                wakes.fetch_add(1, Ordering::Relaxed);
                *unparked.0.lock().unwrap() = true;
                unparked.1.notify_one();
            })
        }

        pub(crate) fn park(&self) {
            let mut unparked = self.unparked.0.lock().unwrap();
            while !*unparked {
                unparked = self.unparked.1.wait(unparked).unwrap();
            }
            *unparked = false;
        }

        pub(crate) fn wakes(&self) -> usize {
            self.wakes.load(Ordering::Relaxed)
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::util::sync::Mutex;

    /// A flag raised for a receive buffer: two leases end while their worker takes its last look. It finds a buffer by
    /// itself or is woken, by one of them only.
    #[test]
    fn loom_a_flag_is_answered_once() {
        loom::model(|| {
            let (returned, flag) = (Arc::new(Mutex::new(0)), Arc::new(SleepFlag::new()));
            let answers = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
            let leases: Vec<_> = (0..2)
                .map(|_| {
                    let (returned, flag, answers) = (Arc::clone(&returned), Arc::clone(&flag), Arc::clone(&answers));
                    loom::thread::spawn(move || {
                        *returned.lock() += 1;
                        if flag.take() {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            flag.announce();
            let found = *returned.lock();
            for lease in leases {
                lease.join().unwrap();
            }
            let answered = answers.load(Ordering::Relaxed);
            assert!(answered <= 1, "one flag is answered once");
            assert!(found == 2 || answered == 1, "a buffer came back unnoticed");
        });
    }
}
