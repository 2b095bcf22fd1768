//! A lock that costs its owner almost nothing.
//!
//! With inline handlers the worker's own thread takes nearly every lock of a connection's queues, several times per
//! message, and an atomic read-modify-write costs 6 to 10 ns, two per lock. A biased lock belongs to the thread that
//! created it, if that thread has [claimed](claim) such locks. The owner enters with plain loads and stores. The first
//! other thread that wants the lock removes the bias for good; from then on all threads use the mutex.
//!
//! ```text
//!   Biased ──── another thread locks ────▶ Shared
//!   owner: two stores, two loads           all: the mutex
//! ```
//!
//! An asymmetric fence makes it safe, as described in membarrier(2). The owner announces itself (`inside`) and then
//! checks whether the bias is gone. The other thread takes the bias away and then checks whether the owner is inside.
//! Each side needs a full fence between its two steps. The owner has only a compiler fence; the other thread
//! compensates by having the kernel run a fence on every core that runs a thread of this process. So either the owner
//! sees that the bias is gone and uses the mutex, or the other thread sees the owner inside and waits until it has
//! left.
//!
//! The two queues of a connection have one owner, so a [`BiasedPair`] keeps both locks in eight bytes. They are
//! independent otherwise: two threads can be inside at a time, one in each, and each lock loses its bias by itself.

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

/// A lock without its owner and its value.
pub(crate) struct Door {
    mutex: RawLock,
    /// The owner holds the lock without the mutex, or is about to check whether it can.
    inside: AtomicBool,
}

/// Two values, each with a mutual-exclusion lock of its own that is biased to one thread until another wants it. The
/// first is for the one that is locked more often: it has the address of the pair, which saves instructions.
#[repr(C)]
pub(crate) struct BiasedPair<A, B> {
    first: UnsafeCell<A>,
    owner: u32,
    first_door: Door,
    second_door: Door,
    second: UnsafeCell<B>,
}

// SAFETY: as for two mutexes: one thread at a time has each value (see `lock`), and it lives no longer than the pair.
unsafe impl<A: Send, B: Send> Send for BiasedPair<A, B> {}
// SAFETY: as above.
unsafe impl<A: Send, B: Send> Sync for BiasedPair<A, B> {}

// What the locks of the two queues take of each of very many idle connections.
#[cfg(not(loom))]
const _: () = assert!(size_of::<BiasedPair<(), ()>>() == 8);

impl<A, B> BiasedPair<A, B> {
    /// Creates locks that belong to the current thread, if that thread has claimed locks.
    pub(crate) fn new(first: A, second: B) -> Self {
        let owner = THREAD.with(|thread| thread.owner.get());
        Self {
            first: UnsafeCell::new(first),
            owner,
            first_door: Door::new(owner != NOBODY),
            second_door: Door::new(owner != NOBODY),
            second: UnsafeCell::new(second),
        }
    }

    /// Waits for the lock of the first value.
    ///
    /// # Panics
    /// If the owner already holds it, or the thread would have to wait and may not (see [`NoWaiting`]).
    #[inline]
    pub(crate) fn lock_first(&self) -> FirstGuard<'_, A, B> {
        self.lock()
    }

    /// Waits for the lock of the second value.
    ///
    /// # Panics
    /// As [`lock_first`](Self::lock_first).
    #[inline]
    pub(crate) fn lock_second(&self) -> SecondGuard<'_, A, B> {
        self.lock()
    }

    #[inline]
    fn lock<S: Side<A, B>>(&self) -> BiasedGuard<'_, A, B, S> {
        let door = S::door(self);
        if door.mutex.is_biased() && THREAD.with(|thread| thread.owner.get()) == self.owner {
            assert!(!door.inside.load(Ordering::Relaxed), "locked twice by one thread: {NESTED}");
            door.inside.store(true, Ordering::Relaxed);
            // Keeps the compiler from reordering; `take_bias` does the processor's part.
            fence::on_this_core();
            if door.mutex.is_biased() {
                return BiasedGuard { pair: self, holds_mutex: false, _not_send: PhantomData };
            }
            door.inside.store(false, Ordering::Release);
        }
        self.lock_shared()
    }

    #[inline(never)]
    fn lock_shared<S: Side<A, B>>(&self) -> BiasedGuard<'_, A, B, S> {
        let door = S::door(self);
        if !door.mutex.try_lock() {
            door.lock_slowly();
        }
        BiasedGuard { pair: self, holds_mutex: true, _not_send: PhantomData }
    }
}

impl Door {
    fn new(biased: bool) -> Self {
        Self { mutex: RawLock::new(biased), inside: AtomicBool::new(false) }
    }

    /// Waits for the mutex, or takes the bias away.
    #[cold]
    fn lock_slowly(&self) {
        refuse_to_wait();
        if !self.mutex.take_bias() {
            return self.mutex.wait();
        }
        fence::on_every_core();
        // The owner leaves soon: its critical sections are bounded and never wait.
        while self.inside.load(Ordering::Acquire) {
            yield_now();
        }
    }
}

/// The first or the second value of a pair. A type, so that a guard is one pointer and finds everything from there.
pub(crate) trait Side<A, B> {
    type Value;

    fn door(pair: &BiasedPair<A, B>) -> &Door;
    fn value(pair: &BiasedPair<A, B>) -> &UnsafeCell<Self::Value>;
}

pub(crate) struct First;
pub(crate) struct Second;

impl<A, B> Side<A, B> for First {
    type Value = A;

    #[inline(always)]
    fn door(pair: &BiasedPair<A, B>) -> &Door {
        &pair.first_door
    }

    #[inline(always)]
    fn value(pair: &BiasedPair<A, B>) -> &UnsafeCell<A> {
        &pair.first
    }
}

impl<A, B> Side<A, B> for Second {
    type Value = B;

    #[inline(always)]
    fn door(pair: &BiasedPair<A, B>) -> &Door {
        &pair.second_door
    }

    #[inline(always)]
    fn value(pair: &BiasedPair<A, B>) -> &UnsafeCell<B> {
        &pair.second
    }
}

/// Access to one value of a [`BiasedPair`].
pub(crate) struct BiasedGuard<'a, A, B, S: Side<A, B>> {
    pair: &'a BiasedPair<A, B>,
    /// False for the owner of a biased lock.
    holds_mutex: bool,
    /// Keeps the guard on its thread.
    _not_send: PhantomData<(S, *const ())>,
}

pub(crate) type FirstGuard<'a, A, B> = BiasedGuard<'a, A, B, First>;
pub(crate) type SecondGuard<'a, A, B> = BiasedGuard<'a, A, B, Second>;

impl<A, B, S: Side<A, B>> Deref for BiasedGuard<'_, A, B, S> {
    type Target = S::Value;

    #[inline]
    fn deref(&self) -> &S::Value {
        // SAFETY: a guard gives exclusive access to the value of its side, whose door it has entered. With the mutex:
        // no other thread has the mutex, and the owner does not enter without it, because the bias was taken, and the
        // owner had left, before the first guard with the mutex was created. Without: this is the owner's thread (a
        // guard cannot be sent), it has no other guard, because `inside` was false before, and any thread that now
        // takes the bias waits for `inside`, which the fence after that makes it see.
        unsafe { &*S::value(self.pair).get() }
    }
}

impl<A, B, S: Side<A, B>> DerefMut for BiasedGuard<'_, A, B, S> {
    #[inline]
    fn deref_mut(&mut self) -> &mut S::Value {
        // SAFETY: as for `deref`; the guard is borrowed mutably.
        unsafe { &mut *S::value(self.pair).get() }
    }
}

impl<A, B, S: Side<A, B>> Drop for BiasedGuard<'_, A, B, S> {
    #[inline]
    fn drop(&mut self) {
        let door = S::door(self.pair);
        if self.holds_mutex {
            door.mutex.unlock();
        } else {
            door.inside.store(false, Ordering::Release);
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

    /// loom's cell complains of two accesses at once.
    type Number = loom::cell::UnsafeCell<u32>;
    type Numbers = BiasedPair<Number, Number>;

    fn owned() -> Arc<Numbers> {
        claim();
        Arc::new(BiasedPair::new(Number::new(0), Number::new(0)))
    }

    fn add<S: Side<Number, Number, Value = Number>>(number: &BiasedGuard<'_, Number, Number, S>) {
        // SAFETY: the guard gives exclusive access, which is what these models check.
        number.with_mut(|value| unsafe { *value += 1 });
    }

    fn value<S: Side<Number, Number, Value = Number>>(number: &BiasedGuard<'_, Number, Number, S>) -> u32 {
        // SAFETY: as above.
        number.with(|value| unsafe { *value })
    }

    fn spawn(numbers: &Arc<Numbers>, run: fn(&Numbers)) -> loom::thread::JoinHandle<()> {
        let numbers = Arc::clone(numbers);
        loom::thread::spawn(move || run(&numbers))
    }

    /// An owner that enters twice and another thread that removes the bias: one is inside at a time on every
    /// interleaving, and sees the other's write.
    #[test]
    fn loom_the_owner_and_another_thread_are_never_both_inside() {
        loom::model(|| {
            let numbers = owned();
            let other = spawn(&numbers, |numbers| add(&numbers.lock_first()));
            add(&numbers.lock_first());
            add(&numbers.lock_first());
            other.join().unwrap();
            assert_eq!(value(&numbers.lock_first()), 3);
        });
    }

    /// One of them takes the bias and waits for the owner. The other must wait for both.
    #[test]
    fn loom_two_threads_that_want_the_bias_enter_one_after_the_other() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let numbers = owned();
            let others = [(); 2].map(|()| spawn(&numbers, |numbers| add(&numbers.lock_first())));
            add(&numbers.lock_first());
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(value(&numbers.lock_first()), 3);
        });
    }

    /// The thread that takes the bias of one lock changes nothing about the other, whose owner goes on without the
    /// mutex.
    #[test]
    fn loom_a_lock_keeps_its_bias_when_the_other_of_the_pair_loses_it() {
        loom::model(|| {
            let numbers = owned();
            let other = spawn(&numbers, |numbers| add(&numbers.lock_second()));
            add(&numbers.lock_first());
            add(&numbers.lock_second());
            other.join().unwrap();
            assert!(numbers.first_door.mutex.is_biased() && !numbers.second_door.mutex.is_biased());
            assert_eq!((value(&numbers.lock_first()), value(&numbers.lock_second())), (1, 2));
        });
    }

    /// The owner of one lock and the holder of the other do not wait for each other: loom would find both stuck.
    #[test]
    fn loom_two_threads_can_be_inside_one_in_each_lock() {
        loom::model(|| {
            let numbers = owned();
            let other = spawn(&numbers, |numbers| add(&numbers.lock_second()));
            let first = numbers.lock_first();
            add(&first);
            other.join().unwrap();
            drop(first);
            assert_eq!((value(&numbers.lock_first()), value(&numbers.lock_second())), (1, 1));
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
