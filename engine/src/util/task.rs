//! A future and its state in one block of memory, to be polled by one thread whenever it is woken.
//!
//! There is one for each of very many idle connections, so it is small: two words, what its owner keeps with it, and
//! the future. Nothing waits for the end of a task, which has no output.
//!
//! ```text
//!            woken             run              ready, or a panic
//!   Idle ──────────▶ Scheduled ─────▶ Running ─────────────────────▶ Done
//!     ▲                  ▲               │                             ▲
//!     └──── pending ─────┴─ and woken ───┘                             │
//!                    Scheduled ── its runnable is dropped ─────────────┘
//! ```
//!
//! A task that is scheduled or runs has one [`Runnable`]. Its holder alone touches the future. Everyone else has the
//! state, an atomic word that also counts the references to the block, and the owner's part.

use std::cell::UnsafeCell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::process::abort;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use crate::util::sync::{AtomicU32, Ordering, fence};

/// What an owner keeps with each of its tasks: the way to the queue of the thread that runs them.
pub(crate) trait Owner: Send + Sync + Sized + 'static {
    /// The [`waker_table`] for these tasks: a static, so that wakers of one task are equal.
    const WAKERS: &'static RawWakerVTable;

    /// Queues a task that was woken.
    fn schedule(task: Runnable<Self>);
}

/// A runnable exists, or the poll in progress makes one at its end.
const SCHEDULED: u32 = 1;
/// The future is being polled.
const RUNNING: u32 = 1 << 1;
/// The future is dropped. The other two bits have no meaning any more.
const DONE: u32 = 1 << 2;
/// One reference: a [`Task`], a [`Runnable`] or a waker.
const REFERENCE: u32 = 1 << 3;
/// With more references than this, wakers are leaked in a loop. The process is aborted before the count overflows.
const STATE_MAX: u32 = u32::MAX / 2;

/// The part of a task that does not depend on its future.
#[repr(C)]
struct Header<O: Owner> {
    state: AtomicU32,
    /// A number that the owner keeps.
    note: u32,
    functions: &'static Functions<O>,
    owner: O,
}

/// What depends on the future.
struct Functions<O: Owner> {
    poll: unsafe fn(NonNull<Header<O>>, &mut Context<'_>) -> Poll<()>,
    drop_future: unsafe fn(NonNull<Header<O>>),
    free: unsafe fn(NonNull<Header<O>>),
}

/// The memory of a task.
#[repr(C)]
struct Block<O: Owner, F> {
    header: Header<O>,
    future: UnsafeCell<ManuallyDrop<F>>,
}

impl<O: Owner, F: Future<Output = ()>> Block<O, F> {
    const FUNCTIONS: Functions<O> = Functions { poll: Self::poll, drop_future: Self::drop_future, free: Self::free };

    /// # Safety
    /// `header` must be that of a `Block<O, F>` that is not freed, and the caller must have its runnable. The future
    /// must not be dropped.
    unsafe fn poll(header: NonNull<Header<O>>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the runnable gives access to the future, which stays in its place until it is dropped.
        let future = unsafe { Pin::new_unchecked(&mut **(*header.cast::<Self>().as_ptr()).future.get()) };
        future.poll(cx)
    }

    /// # Safety
    /// As for [`poll`](Self::poll). It is called once.
    unsafe fn drop_future(header: NonNull<Header<O>>) {
        // SAFETY: the runnable gives access to the future.
        unsafe { ManuallyDrop::drop(&mut *(*header.cast::<Self>().as_ptr()).future.get()) }
    }

    /// # Safety
    /// `header` must be that of a `Block<O, F>` whose future is dropped and to which there are no references any more.
    unsafe fn free(header: NonNull<Header<O>>) {
        // SAFETY: the block was made by `Box::new`.
        drop(unsafe { Box::from_raw(header.cast::<Self>().as_ptr()) });
    }
}

/// A counted reference to a task.
struct Reference<O: Owner>(NonNull<Header<O>>);

// SAFETY: the header consists of an atomic word, constants, and the owner's part, which can be used and dropped by all
// threads. The future is touched by the holder of the runnable alone (see `spawn`).
unsafe impl<O: Owner> Send for Reference<O> {}
// SAFETY: as above.
unsafe impl<O: Owner> Sync for Reference<O> {}

impl<O: Owner> Reference<O> {
    fn header(&self) -> &Header<O> {
        // SAFETY: the block lives as long as there are references to it, and nothing has a unique one to its header.
        unsafe { self.0.as_ref() }
    }

    /// Returns the data of a waker that has this reference.
    fn data(&self) -> *const () {
        self.0.as_ptr().cast_const().cast()
    }

    /// Returns the reference of a waker with this data.
    ///
    /// # Safety
    /// `data` must be that of a waker that is not dropped. The result can be dropped once, in place of the waker.
    unsafe fn of(data: *const ()) -> ManuallyDrop<Self> {
        // SAFETY: it is the address of a header.
        ManuallyDrop::new(Self(unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }))
    }
}

impl<O: Owner> Drop for Reference<O> {
    fn drop(&mut self) {
        let header = self.header();
        let before = header.state.fetch_sub(REFERENCE, Ordering::Release);
        // (The memory of a future that is not dropped must not be used for anything else: it is leaked.)
        if before < 2 * REFERENCE && before & DONE != 0 {
            let free = header.functions.free;
            // What all others have done with the block comes before this.
            fence(Ordering::Acquire);
            // SAFETY: it was the last reference.
            unsafe { free(self.0) };
        }
    }
}

/// Makes a task of `future`, which is scheduled.
///
/// # Safety
/// If the future is not `Send`, the runnables of the task must be run and dropped by the current thread alone, and so
/// must [`Task::cancel`] be called.
pub(crate) unsafe fn spawn<O: Owner, F>(owner: O, note: u32, future: F) -> (Runnable<O>, Task<O>)
where
    F: Future<Output = ()> + 'static,
{
    let header =
        Header { state: AtomicU32::new(SCHEDULED + 2 * REFERENCE), note, functions: &Block::<O, F>::FUNCTIONS, owner };
    let block = Box::new(Block { header, future: UnsafeCell::new(ManuallyDrop::new(future)) });
    let header = NonNull::from(Box::leak(block)).cast();
    (Runnable(Reference(header)), Task(Reference(header)))
}

/// The right to run a task once. Dropping it drops the future.
pub(crate) struct Runnable<O: Owner>(Reference<O>);

impl<O: Owner> Runnable<O> {
    pub(crate) fn owner(&self) -> &O {
        &self.0.header().owner
    }

    /// Returns the number that was given to [`spawn`].
    pub(crate) fn note(&self) -> u32 {
        self.0.header().note
    }

    /// Queues the task.
    pub(crate) fn schedule(self) {
        O::schedule(self);
    }

    /// Polls the future. It is dropped if it is ready or panics, and the panic goes on.
    pub(crate) fn run(self) {
        let header = self.0.header();
        // What was done before the task was woken comes before the poll.
        header.state.fetch_add(RUNNING - SCHEDULED, Ordering::AcqRel);
        // SAFETY: the table is that of the owner's tasks. The waker borrows the reference of the runnable, which is
        // kept until the end of the poll.
        let waker = ManuallyDrop::new(unsafe { Waker::new(self.0.data(), O::WAKERS) });
        // SAFETY: this is the runnable. It is dropped, and the future with it, if this panics.
        let polled = unsafe { (header.functions.poll)(self.0.0, &mut Context::from_waker(&waker)) };
        if polled.is_ready() {
            return;
        }
        let this = ManuallyDrop::new(self);
        let header = this.0.header();
        let mut state = header.state.load(Ordering::Relaxed);
        loop {
            let is_woken = state & SCHEDULED != 0;
            // The reference of the runnable goes on to the next one, or ends. It is not the last: that of the `Task`
            // ends after the future.
            let next = state - RUNNING - if is_woken { 0 } else { REFERENCE };
            match header.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if is_woken => return ManuallyDrop::into_inner(this).schedule(),
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }
}

impl<O: Owner> Drop for Runnable<O> {
    /// Drops the future, and then the reference.
    fn drop(&mut self) {
        let header = self.0.header();
        // SAFETY: this is the runnable. While the state is Scheduled or Running there is no other, and later there is
        // none any more.
        unsafe { (header.functions.drop_future)(self.0.0) };
        header.state.fetch_or(DONE, Ordering::Release);
    }
}

/// A task in the hands of its executor, which keeps it until the future is dropped.
pub(crate) struct Task<O: Owner>(Reference<O>);

impl<O: Owner> Task<O> {
    pub(crate) fn owner(&self) -> &O {
        &self.0.header().owner
    }

    /// Drops the future of a task that waits. If the task is scheduled, its runnable has still to be dropped.
    pub(crate) fn cancel(self) {
        let before = self.0.header().state.fetch_or(SCHEDULED, Ordering::AcqRel);
        if before & (SCHEDULED | RUNNING | DONE) == 0 {
            drop(Runnable(self.0));
        }
    }
}

/// Returns the owner's part of the task that `waker` wakes; `None` if it wakes something else.
#[inline]
pub(crate) fn owner_of<O: Owner>(waker: &Waker) -> Option<&O> {
    if !ptr::eq(waker.vtable(), O::WAKERS) {
        return None;
    }
    // SAFETY: a waker with this table has a reference to a task with this owner, which lasts as long as the waker.
    Some(unsafe { &(*waker.data().cast::<Header<O>>()).owner })
}

/// Returns the functions of the wakers of tasks with this owner.
pub(crate) const fn waker_table<O: Owner>() -> RawWakerVTable {
    RawWakerVTable::new(clone::<O>, wake::<O>, wake_by_ref::<O>, drop_waker::<O>)
}

unsafe fn clone<O: Owner>(data: *const ()) -> RawWaker {
    // SAFETY: `data` is that of a waker, whose reference stays its own.
    let task = unsafe { Reference::<O>::of(data) };
    let before = task.header().state.fetch_add(REFERENCE, Ordering::Relaxed);
    if before > STATE_MAX {
        abort();
    }
    RawWaker::new(data, O::WAKERS)
}

unsafe fn wake<O: Owner>(data: *const ()) {
    // SAFETY: `data` is that of a waker, whose reference is given up: to the runnable, or at the end.
    let task = ManuallyDrop::into_inner(unsafe { Reference::<O>::of(data) });
    if note_wake(&task) {
        O::schedule(Runnable(task));
    }
}

unsafe fn wake_by_ref<O: Owner>(data: *const ()) {
    // SAFETY: `data` is that of a waker, whose reference stays its own.
    let task = unsafe { Reference::<O>::of(data) };
    if note_wake(&task) {
        task.header().state.fetch_add(REFERENCE, Ordering::Relaxed);
        O::schedule(Runnable(Reference(task.0)));
    }
}

unsafe fn drop_waker<O: Owner>(data: *const ()) {
    // SAFETY: `data` is that of a waker, whose reference ends.
    drop(ManuallyDrop::into_inner(unsafe { Reference::<O>::of(data) }));
}

/// Marks a task as scheduled. Returns whether it waited: the caller then has to queue it, and has the right to.
fn note_wake<O: Owner>(task: &Reference<O>) -> bool {
    // Also a task that is scheduled learns of what was done before this wake.
    let before = task.header().state.fetch_or(SCHEDULED, Ordering::AcqRel);
    before & (SCHEDULED | RUNNING | DONE) == 0
}

#[cfg(test)]
mod tests;
