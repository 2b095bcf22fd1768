//! The mutex below a biased lock, without a value and without poisoning.
//!
//! Taking it costs one compare-and-swap, giving it back one swap, which is less than half of the instructions of
//! `std::sync::Mutex`, and a thread that would have to wait can be stopped before it does. Waiting threads park on one
//! of a few shared places.
//!
//! ```text
//!   Biased ── take_bias ──┐
//!                         ▼
//!   Free ── try_lock ──▶ Held ── another thread waits ──▶ Contended
//!     ◀── unlock ─────────┘                                  │
//!     ◀── unlock, wakes the waiting threads ─────────────────┘
//! ```

use crate::util::sync::{AtomicU8, Condvar, Mutex, Ordering};

const FREE: u8 = 0;
const HELD: u8 = 1;
/// Held, and threads can be waiting for it.
const CONTENDED: u8 = 2;
/// Never held yet: the lock above it has an owner, which enters without it. Once left, this state does not come back.
const BIASED: u8 = 3;

/// Looks at a held lock before the thread parks. The critical sections are short.
#[cfg(not(loom))]
const SPINS: u32 = 100;

/// A mutual-exclusion lock. Each time it is taken is to be followed by one [`unlock`](Self::unlock).
pub(super) struct RawLock {
    state: AtomicU8,
    #[cfg(loom)]
    place: Place,
}

/// A place where threads wait, for locks that share it.
struct Place {
    mutex: Mutex<()>,
    freed: Condvar,
}

impl RawLock {
    /// Creates a lock that is free, or biased.
    pub(super) fn new(biased: bool) -> Self {
        Self {
            state: AtomicU8::new(if biased { BIASED } else { FREE }),
            #[cfg(loom)]
            place: Place { mutex: Mutex::new(()), freed: Condvar::new() },
        }
    }

    /// Returns whether no thread has taken the bias away.
    #[inline]
    pub(super) fn is_biased(&self) -> bool {
        self.state.load(Ordering::Relaxed) == BIASED
    }

    /// Takes the lock if it is free. Returns whether it was.
    #[inline]
    pub(super) fn try_lock(&self) -> bool {
        self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock in place of its bias. Returns whether it was biased. Of many threads one gets it so.
    #[cold]
    pub(super) fn take_bias(&self) -> bool {
        self.state.compare_exchange(BIASED, HELD, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Gives the lock back. The caller must hold it.
    #[inline]
    pub(super) fn unlock(&self) {
        if self.state.swap(FREE, Ordering::Release) == CONTENDED {
            self.wake();
        }
    }

    /// Waits for the lock, which must not be biased.
    #[cold]
    pub(super) fn wait(&self) {
        debug_assert!(!self.is_biased(), "nobody gives a bias back");
        #[cfg(not(loom))]
        for _ in 0..SPINS {
            if self.state.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
            std::hint::spin_loop();
        }
        let place = self.place();
        let mut waiting = place.mutex.lock();
        // Taken as contended, because others can be waiting too.
        while self.state.swap(CONTENDED, Ordering::Acquire) != FREE {
            waiting = place.freed.wait(waiting);
        }
    }

    #[cold]
    fn wake(&self) {
        let place = self.place();
        // A thread that has set the state to contended is waiting once it has let go of this.
        drop(place.mutex.lock());
        place.freed.notify_all();
    }

    #[cfg(loom)]
    fn place(&self) -> &Place {
        &self.place
    }

    #[cfg(not(loom))]
    fn place(&self) -> &'static Place {
        const PLACES: usize = 64;
        static SHARED: [Place; PLACES] = [const { Place { mutex: Mutex::new(()), freed: Condvar::new() } }; PLACES];
        // Locks lie in connections, which are a few hundred bytes apart.
        &SHARED[(std::ptr::from_ref(self) as usize >> 7) % PLACES]
    }
}

#[cfg(test)]
fn take(lock: &RawLock) {
    if !lock.try_lock() && !lock.take_bias() {
        lock.wait();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::sync::Arc;

    use super::*;

    /// Three threads, so that one waits while another is woken: one is inside at a time, and none waits for ever.
    #[test]
    fn loom_one_thread_is_inside_and_none_is_left_waiting() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared = Arc::new((RawLock::new(false), AtomicU8::new(0)));
            let add = |shared: &(RawLock, AtomicU8)| {
                take(&shared.0);
                // Not one step: others would be lost if two threads were inside.
                shared.1.store(shared.1.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                shared.0.unlock();
            };
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    loom::thread::spawn(move || add(&shared))
                })
                .collect();
            add(&shared);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(shared.1.load(Ordering::Relaxed), 3);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;

    #[test]
    fn waiting_threads_get_it_one_after_the_other() {
        const THREADS: u32 = 4;
        let steps = if cfg!(miri) { 20 } else { 20_000 };
        let (lock, count) = (RawLock::new(true), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..steps {
                        take(&lock);
                        // Not one step: others would be lost if two threads were inside.
                        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                        lock.unlock();
                    }
                });
            }
        });
        assert_eq!(count.load(Ordering::Relaxed), THREADS * steps);
    }

    #[test]
    fn a_bias_is_taken_once_and_does_not_come_back() {
        let lock = RawLock::new(true);
        assert!(lock.is_biased() && !lock.try_lock());
        assert!(lock.take_bias() && !lock.take_bias());
        assert!(!lock.is_biased() && !lock.try_lock());
        lock.unlock();
        assert!(!lock.is_biased() && !lock.take_bias() && lock.try_lock());
        lock.unlock();
        assert!(!RawLock::new(false).is_biased());
    }
}
