//! A lock that costs its owner almost nothing.
//!
//! With inline handlers the worker's own thread takes nearly every lock of a connection's queues, several times per
//! message, and an atomic read-modify-write costs 6 to 10 ns, two per lock. A [`Biased`] lock belongs to the thread
//! that created it, if that thread has [claimed](claim) such locks. The owner enters with plain loads and stores. The
//! first other thread that wants the lock removes the bias for good; from then on all threads use the mutex.
//!
//! ```text
//!   Owned ──── another thread locks ────▶ Shared
//!   owner: two stores, two loads          all: the mutex
//! ```
//!
//! An asymmetric fence makes it safe, as described in membarrier(2). The owner announces itself (`inside`) and then
//! checks whether the bias is gone (`shared`). The other thread declares the bias gone and then checks whether the
//! owner is inside. Each side needs a full fence between its two steps. The owner has only a compiler fence; the other
//! thread compensates by having the kernel run a fence on every core that runs a thread of this process. So either the
//! owner sees that the bias is gone and uses the mutex, or the other thread sees the owner inside and waits until it
//! has left.

use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU32;

use crate::util::raw_lock::RawLock;
use crate::util::sync::{AtomicBool, Ordering, yield_now};

#[cfg(not(loom))]
thread_local! {
    static THREAD: Thread = const { Thread::new() };
}

#[cfg(loom)]
loom::thread_local! {
    static THREAD: Thread = Thread::new();
}

const NOBODY: u32 = 0;

/// The state of a thread, in one place: finding a thread-local costs more than its use.
struct Thread {
    /// The number under which this thread owns locks, or 0 for none.
    owner: Cell<u32>,
    /// The number of [`NoWaiting`]s that live on this thread.
    no_waiting: Cell<u32>,
}

impl Thread {
    const fn new() -> Self {
        Self { owner: Cell::new(NOBODY), no_waiting: Cell::new(0) }
    }
}

/// Lets the current thread own the locks that it creates from now on, if the system has the required fence.
pub(crate) fn claim() {
    static NEXT: AtomicU32 = AtomicU32::new(NOBODY + 1);
    if THREAD.with(|thread| thread.owner.get()) == NOBODY && fence::prepare() {
        // Numbers are never reused, so no later thread is taken for this one. After 4 billion claims no more are given.
        let claimed = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| next.checked_add(1));
        THREAD.with(|thread| thread.owner.set(claimed.unwrap_or(NOBODY)));
    }
}

/// While one lives, the current thread runs code of the application inside a lock. That code must not wait for another
/// lock: two threads could wait for each other, or one for itself. An attempt that would have to wait panics instead.
pub(crate) struct NoWaiting(());

impl NoWaiting {
    #[inline]
    pub(crate) fn begin() -> Self {
        THREAD.with(|thread| thread.no_waiting.set(thread.no_waiting.get() + 1));
        Self(())
    }
}

impl Drop for NoWaiting {
    #[inline]
    fn drop(&mut self) {
        THREAD.with(|thread| thread.no_waiting.set(thread.no_waiting.get() - 1));
    }
}

/// The panic of code that uses a connection inside the lock of one.
const NESTED: &str = "a connection was used by code that runs under a connection's lock, such as a closure of `append`";

/// Panics if the current thread may not wait (see [`NoWaiting`]).
#[cold]
fn refuse_to_wait() {
    assert!(THREAD.with(|thread| thread.no_waiting.get()) == 0, "{NESTED}");
}

/// A mutual-exclusion lock that is biased to one thread until another wants it.
pub(crate) struct Biased<T> {
    mutex: RawLock,
    owner: u32,
    /// The owner holds the lock without the mutex, or is about to check whether it can.
    inside: AtomicBool,
    /// All threads use the mutex. Set once, under the mutex.
    shared: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: as for a mutex: one thread at a time has the value (see `lock`), and it lives no longer than the lock.
unsafe impl<T: Send> Send for Biased<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Biased<T> {}

impl<T> Biased<T> {
    /// Creates a lock that belongs to the current thread, if that thread has claimed locks.
    pub(crate) fn new(value: T) -> Self {
        let owner = THREAD.with(|thread| thread.owner.get());
        Self {
            mutex: RawLock::new(),
            owner,
            inside: AtomicBool::new(false),
            shared: AtomicBool::new(owner == NOBODY),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// If the owner already holds the lock, or the thread would have to wait and may not (see [`NoWaiting`]).
    #[inline]
    pub(crate) fn lock(&self) -> BiasedGuard<'_, T> {
        if !self.shared.load(Ordering::Relaxed) && THREAD.with(|thread| thread.owner.get()) == self.owner {
            assert!(!self.inside.load(Ordering::Relaxed), "locked twice by one thread: {NESTED}");
            self.inside.store(true, Ordering::Relaxed);
            // Keeps the compiler from reordering; `share` does the processor's part.
            fence::on_this_core();
            if !self.shared.load(Ordering::Relaxed) {
                return BiasedGuard { lock: self, holds_mutex: false, _not_send: PhantomData };
            }
            self.inside.store(false, Ordering::Release);
        }
        self.lock_shared()
    }

    #[inline(never)]
    fn lock_shared(&self) -> BiasedGuard<'_, T> {
        self.mutex.lock(refuse_to_wait);
        let guard = BiasedGuard { lock: self, holds_mutex: true, _not_send: PhantomData };
        if !self.shared.load(Ordering::Relaxed) {
            self.share();
        }
        guard
    }

    /// Removes the bias. The mutex must be held.
    #[cold]
    fn share(&self) {
        refuse_to_wait();
        self.shared.store(true, Ordering::SeqCst);
        fence::on_every_core();
        // The owner leaves soon: its critical sections are bounded and never wait.
        while self.inside.load(Ordering::Acquire) {
            yield_now();
        }
    }
}

/// Access to the value of a [`Biased`] lock.
pub(crate) struct BiasedGuard<'a, T> {
    lock: &'a Biased<T>,
    /// False for the owner of an unshared lock.
    holds_mutex: bool,
    /// Keeps the guard on its thread.
    _not_send: PhantomData<*const ()>,
}

impl<T> Deref for BiasedGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a guard gives exclusive access to the value. With the mutex: no other thread has the mutex, and the
        // owner does not enter without it, because the lock was shared, and the owner had left, before this guard was
        // created. Without: this is the owner's thread (a guard cannot be sent), it has no other guard, because
        // `inside` was false before, and any thread that now shares the lock waits for `inside`, which the fence in
        // `share` makes it see.
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
        if self.holds_mutex {
            self.lock.mutex.unlock();
        } else {
            self.lock.inside.store(false, Ordering::Release);
        }
    }
}

/// Available where the system can run a fence on the cores of other threads.
#[cfg(all(target_os = "linux", not(loom), not(miri)))]
mod fence {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{Ordering, compiler_fence};

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

    /// Returns whether [`on_every_core`] can be called from now on (Linux 4.14 or later, and not filtered).
    pub(super) fn prepare() -> bool {
        static PREPARED: OnceLock<bool> = OnceLock::new();
        *PREPARED.get_or_init(|| {
            let prepared = membarrier(REGISTER_PRIVATE_EXPEDITED).and_then(|()| membarrier(PRIVATE_EXPEDITED));
            if let Err(error) = &prepared {
                log::debug!("membarrier is unavailable, so every lock is a mutex: {error}");
            }
            prepared.is_ok()
        })
    }

    /// The owner's half: keeps the compiler from reordering. [`on_every_core`] does the processor's part.
    #[inline]
    pub(super) fn on_this_core() {
        compiler_fence(Ordering::SeqCst);
    }

    /// Runs a full fence on every core that runs a thread of this process, including the current one.
    ///
    /// It worked in `prepare`. If a filter installed since forbids it, the process aborts: without the fence this
    /// thread and the owner could both be inside, and after a panic here the next thread would go in unchecked.
    pub(super) fn on_every_core() {
        struct Abort;
        impl Drop for Abort {
            fn drop(&mut self) {
                std::process::abort();
            }
        }
        let abort = Abort;
        membarrier(PRIVATE_EXPEDITED).expect("membarrier was allowed when the engine started and must stay allowed");
        std::mem::forget(abort);
    }
}

/// In models both halves are full fences: loom has no other way to order a store before a load.
#[cfg(loom)]
mod fence {
    use crate::util::sync::{Ordering, fence};

    pub(super) const fn prepare() -> bool {
        true
    }

    pub(super) fn on_this_core() {
        fence(Ordering::SeqCst);
    }

    pub(super) fn on_every_core() {
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(not(loom), any(not(target_os = "linux"), miri)))]
mod fence {
    pub(super) const fn prepare() -> bool {
        false
    }

    pub(super) const fn on_this_core() {}

    pub(super) const fn on_every_core() {}
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::sync::Arc;

    use super::*;

    /// An owner that enters twice and another thread that removes the bias: one is inside at a time on every
    /// interleaving, and sees the other's write. loom's cell complains of two accesses at once.
    #[test]
    fn loom_the_owner_and_another_thread_are_never_both_inside() {
        loom::model(|| {
            claim();
            let lock = Arc::new(Biased::new(loom::cell::UnsafeCell::new(0)));
            let add = |lock: &Biased<loom::cell::UnsafeCell<u32>>| {
                // SAFETY: the guard gives exclusive access, which is what this model checks.
                lock.lock().with_mut(|value| unsafe { *value += 1 });
            };
            let other = {
                let lock = Arc::clone(&lock);
                loom::thread::spawn(move || add(&lock))
            };
            add(&lock);
            add(&lock);
            other.join().unwrap();
            // SAFETY: as above.
            lock.lock().with(|value| assert_eq!(unsafe { *value }, 3));
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    /// Creates a lock on a thread that owns it, and runs `body` there.
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

    /// No update is lost while the bias is removed, in many races.
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
    fn another_thread_waits_while_the_owner_is_inside() {
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
    fn an_owner_that_locks_twice_panics() {
        let (_lock, owner) = owned((), |lock| {
            let _first = lock.lock();
            let _second = lock.lock();
        });
        assert!(owner.join().is_err());
    }

    /// Without the flag it would wait for itself.
    #[test]
    fn code_that_may_not_wait_panics_instead() {
        let lock = Biased::new(());
        let nested = catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock.lock();
            let _no_waiting = NoWaiting::begin();
            // Another lock, which is free, is no reason to forget about it.
            drop((Biased::new(()).lock(), NoWaiting::begin()));
            drop(lock.lock());
        }));
        assert!(nested.is_err());
        drop(lock.lock());
    }

    /// Two threads that want each other's locks: the one that would close the circle panics, and both end.
    #[test]
    fn two_threads_in_a_circle_do_not_wait_for_each_other() {
        let (first, second) = (Biased::new(()), Biased::new(()));
        let both_inside = std::sync::Barrier::new(2);
        let cross = |own: &Biased<()>, other: &Biased<()>| {
            let crossed = catch_unwind(AssertUnwindSafe(|| {
                let _own = own.lock();
                let _no_waiting = NoWaiting::begin();
                both_inside.wait();
                drop(other.lock());
            }));
            crossed.is_err()
        };
        let panicked = thread::scope(|scope| {
            let other = scope.spawn(|| cross(&second, &first));
            [cross(&first, &second), other.join().unwrap()]
        });
        assert!(panicked.contains(&true));
    }

    #[test]
    fn without_a_claim_it_is_a_mutex() {
        let lock = Biased::new(7);
        assert!(lock.shared.load(Ordering::Relaxed));
        assert_eq!(*lock.lock(), 7);
    }
}
