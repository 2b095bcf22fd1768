//! A lock that costs its owner next to nothing.
//!
//! With inline handlers nearly every lock of a connection's queues is taken by the worker's own thread, several times a
//! message, and an atomic read-modify-write costs it 6 to 10 ns each, two for each lock. A [`Biased`] lock belongs to the
//! thread that made it, if that has [claimed](claim) such locks. The owner enters with plain loads and stores. The first
//! other thread that wants the lock takes the bias away for good; from then on everybody uses the mutex.
//!
//! ```text
//!   Owned ──── another thread locks ────▶ Shared
//!   owner: two stores, two loads          all: the mutex
//! ```
//!
//! What makes it safe is an asymmetric fence, as membarrier(2) describes it. The owner announces itself (`inside`) and then
//! looks whether the bias is gone (`shared`); the other thread declares it gone and then looks whether the owner is inside.
//! Each needs a full fence between its two steps. The owner's is a compiler fence; the other thread makes up for that by
//! having the kernel run a fence on every core that runs a thread of this process. So either the owner sees that the bias is
//! gone and goes to the mutex, or the other thread sees the owner inside and waits until it has left.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, compiler_fence};

use crate::util::sync::{Guard, Mutex};

thread_local! {
    /// The number under which this thread owns locks; 0 for none.
    static OWNER: Cell<u32> = const { Cell::new(NOBODY) };
}

const NOBODY: u32 = 0;

/// Lets the present thread own the locks that it makes from now on, where the system has the fence that takes.
pub(crate) fn claim() {
    static NEXT: AtomicU32 = AtomicU32::new(NOBODY + 1);
    if OWNER.get() == NOBODY && fence::prepare() {
        // Never used again, so that no later thread is taken for this one. After 4 billion claims there are no more.
        let claimed = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| next.checked_add(1));
        OWNER.set(claimed.unwrap_or(NOBODY));
    }
}

/// A mutual-exclusion lock that belongs to one thread until another wants it.
pub(crate) struct Biased<T> {
    mutex: Mutex<()>,
    owner: u32,
    /// The owner holds the lock without the mutex, or is about to look whether it may.
    inside: AtomicBool,
    /// Everybody uses the mutex. Changed once, under the mutex.
    shared: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: as for a mutex: the value is handed to one thread at a time (see `lock`), and lives no longer than the lock.
unsafe impl<T: Send> Send for Biased<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Biased<T> {}

impl<T> Biased<T> {
    /// A lock that belongs to the present thread, if it has claimed locks.
    pub(crate) fn new(value: T) -> Self {
        let owner = OWNER.get();
        Self {
            mutex: Mutex::new(()),
            owner,
            inside: AtomicBool::new(false),
            shared: AtomicBool::new(owner == NOBODY),
            value: UnsafeCell::new(value),
        }
    }

    /// # Panics
    /// If the owner holds the lock: a thread that locks twice would wait for itself.
    #[inline]
    pub(crate) fn lock(&self) -> BiasedGuard<'_, T> {
        if !self.shared.load(Ordering::Relaxed) && OWNER.with(Cell::get) == self.owner {
            assert!(!self.inside.load(Ordering::Relaxed), "locked twice by one thread");
            self.inside.store(true, Ordering::Relaxed);
            // Not moved by the compiler; the processor's part is in `share`.
            compiler_fence(Ordering::SeqCst);
            if !self.shared.load(Ordering::Relaxed) {
                return BiasedGuard { lock: self, mutex: None, _not_send: PhantomData };
            }
            self.inside.store(false, Ordering::Release);
        }
        self.lock_shared()
    }

    #[inline(never)]
    fn lock_shared(&self) -> BiasedGuard<'_, T> {
        let guard = self.mutex.lock();
        if !self.shared.load(Ordering::Relaxed) {
            self.share();
        }
        BiasedGuard { lock: self, mutex: Some(guard), _not_send: PhantomData }
    }

    /// Takes the bias away; with the mutex held.
    #[cold]
    fn share(&self) {
        self.shared.store(true, Ordering::SeqCst);
        fence::on_every_core();
        // The owner leaves soon: what it does inside is bounded, and it waits for nobody there.
        while self.inside.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }
}

/// Access to the value of a [`Biased`] lock.
pub(crate) struct BiasedGuard<'a, T> {
    lock: &'a Biased<T>,
    /// `None` for the owner of a lock that is not shared.
    mutex: Option<Guard<'a, ()>>,
    /// Stays on its thread.
    _not_send: PhantomData<*const ()>,
}

impl<T> Deref for BiasedGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: whoever has a guard has the value alone. With the mutex: nobody else has that, and the owner does not enter
        // without it, since the lock was shared before this guard was made, and had left when it was. Without: this is the
        // owner's thread (a guard can't be sent), `inside` was false before, so
        // it has no other guard, and any other thread that shares the lock now waits for `inside`, as the fence in `share`
        // makes it see it.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for BiasedGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`; the guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for BiasedGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.mutex.is_none() {
            self.lock.inside.store(false, Ordering::Release);
        }
    }
}

/// Where the system can run a fence on the cores of other threads.
#[cfg(all(target_os = "linux", not(loom), not(miri)))]
mod fence {
    use std::io;
    use std::sync::OnceLock;

    // From linux/membarrier.h.
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn membarrier(command: libc::c_int) -> io::Result<()> {
        // SAFETY: membarrier(2) takes no pointers; flags and CPU are 0.
        match unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether [`on_every_core`] can be called from now on (Linux 4.14, and no filter against it).
    pub(super) fn prepare() -> bool {
        static PREPARED: OnceLock<bool> = OnceLock::new();
        *PREPARED.get_or_init(|| {
            let prepared = membarrier(REGISTER_PRIVATE_EXPEDITED).and_then(|()| membarrier(PRIVATE_EXPEDITED));
            if let Err(error) = &prepared {
                log::debug!("no membarrier, so every lock is a mutex: {error}");
            }
            prepared.is_ok()
        })
    }

    /// A full fence on every core that runs a thread of this process; the present one's too.
    pub(super) fn on_every_core() {
        // It worked when it was prepared. A filter that came later must not be taken for a fence.
        membarrier(PRIVATE_EXPEDITED).expect("membarrier was allowed when the engine started, and must stay so");
    }
}

#[cfg(not(all(target_os = "linux", not(loom), not(miri))))]
mod fence {
    pub(super) const fn prepare() -> bool {
        false
    }

    pub(super) const fn on_every_core() {}
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    /// Makes a lock on a thread that owns it and keeps that thread busy with `body`.
    fn owned<T: Send + 'static>(
        value: T,
        body: impl FnOnce(&Biased<T>) + Send + 'static,
    ) -> (Arc<Biased<T>>, thread::JoinHandle<()>) {
        let (out, lock) = channel();
        let owner = thread::spawn(move || {
            claim();
            let lock = Arc::new(Biased::new(value));
            out.send(Arc::clone(&lock)).unwrap();
            body(&lock);
        });
        (lock.recv().unwrap(), owner)
    }

    /// Nothing is lost while the bias is taken away, in many races of both.
    #[test]
    fn one_thread_at_a_time_is_inside() {
        const STEPS: u64 = 2_000;
        let rounds = if cfg!(miri) { 2 } else { 300 };
        for _ in 0..rounds {
            let (lock, owner) = owned((0_u64, 0_u64), |lock| {
                for _ in 0..STEPS {
                    let mut pair = lock.lock();
                    pair.0 += 1;
                    pair.1 += 1;
                }
            });
            let others = [(); 2].map(|()| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || {
                    for _ in 0..STEPS / 10 {
                        let mut pair = lock.lock();
                        assert_eq!(pair.0, pair.1, "seen half done");
                        pair.0 += 1;
                        pair.1 += 1;
                    }
                })
            });
            owner.join().unwrap();
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(*lock.lock(), (STEPS + 2 * (STEPS / 10), STEPS + 2 * (STEPS / 10)));
        }
    }

    #[test]
    fn who_comes_while_the_owner_is_inside_waits() {
        let (let_go, may_leave) = channel();
        let (entered, is_inside) = channel();
        let (lock, owner) = owned(1, move |lock| {
            let mut value = lock.lock();
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
            *value = 2;
        });
        is_inside.recv().unwrap();
        let other = thread::spawn({
            let lock = Arc::clone(&lock);
            move || *lock.lock()
        });
        let_go.send(()).unwrap();
        assert_eq!(other.join().unwrap(), 2);
        owner.join().unwrap();
    }

    #[test]
    fn a_panic_inside_leaves_the_lock_open() {
        let (lock, owner) = owned(0, |lock| {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let mut value = lock.lock();
                *value = 1;
                panic!("as the test asked for");
            }));
            assert!(panicked.is_err());
            *lock.lock() += 1;
        });
        owner.join().unwrap();
        assert_eq!(*lock.lock(), 2);
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn an_owner_that_locks_twice_is_told() {
        let (_lock, owner) = owned((), |lock| {
            let _first = lock.lock();
            let _second = lock.lock();
        });
        assert!(owner.join().is_err());
    }

    #[test]
    fn without_a_claim_it_is_a_mutex() {
        let lock = Biased::new(7);
        assert!(lock.shared.load(Ordering::Relaxed));
        assert_eq!(*lock.lock(), 7);
    }
}
