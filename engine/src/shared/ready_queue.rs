//! The tasks and endpoints of one executor that are due to be polled.
//!
//! A task finds the queue of its executor through its connection: a way in each task would cost every idle connection a
//! pointer, and every wake two more references to the task.
//!
//! An endpoint is the handler's end of a connection that is polled without a task: data in a table of its executor's
//! thread. Nothing is allocated to wake it. Its [`Ready`] value, two numbers, goes into the queue of its executor, and
//! its waker is these numbers and that of the queue in one word. A wake for an endpoint that has ended polls whichever
//! endpoint has its place now, or none: a poll without a reason does no harm.
//!
//! Pushes of the executor's own thread take no lock. Those of other threads go through one, and notify the executor by
//! the protocol of `signal`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::shared::ConnShared;
use crate::shared::signal::Signal;
use crate::shared::wake_scope;
use crate::util::sync::{AtomicBool, Mutex, Ordering};
use crate::util::task;

/// A task that is due, with the connection that it serves.
pub(crate) type Runnable = task::Runnable<Arc<ConnShared>>;

/// An endpoint that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The number of its table, below [`TABLES_MAX`].
    pub(crate) table: u8,
    /// Its place in the table.
    pub(crate) place: u32,
}

/// Maximum tables of a thread: a connection stores the number of its own in one byte, where 0 stands for none.
pub(crate) const TABLES_MAX: usize = u8::MAX as usize;

/// Maximum executors whose endpoints have wakers. Further ones have no endpoints.
const QUEUES_MAX: usize = 1 << 14;

/// Whether a waker's word can hold the three numbers. Elsewhere every handler is a task.
const IS_SUPPORTED: bool = usize::BITS >= 64;

/// The queues by number, to be found by wakers. An entry is used again once its queue is gone.
static QUEUES: std::sync::Mutex<Vec<Weak<ReadyQueue>>> = std::sync::Mutex::new(Vec::new());

/// The queue that the executor of a thread takes from. Without a destructor, so that reading it needs no check of its
/// state: every turn and every wake does.
struct Claim {
    /// Null on other threads.
    queue: Cell<*const ReadyQueue>,
    /// The lengths of [`DUE`].
    tasks: Cell<usize>,
    endpoints: Cell<usize>,
}

impl Claim {
    const fn new() -> Self {
        Self { queue: Cell::new(ptr::null()), tasks: Cell::new(0), endpoints: Cell::new(0) }
    }
}

/// What is due on one thread.
#[derive(Default)]
pub(crate) struct Due {
    tasks: VecDeque<Runnable>,
    endpoints: VecDeque<Ready>,
}

impl Due {
    pub(crate) const fn new() -> Self {
        Self { tasks: VecDeque::new(), endpoints: VecDeque::new() }
    }
}

#[cfg(not(loom))]
thread_local! {
    static CLAIM: Claim = const { Claim::new() };
    static DUE: RefCell<Due> = const { RefCell::new(Due::new()) };
}

#[cfg(loom)]
loom::thread_local! {
    static CLAIM: Claim = Claim::new();
    static DUE: RefCell<Due> = RefCell::new(Due::new());
}

/// Changes what is due on the current thread, which must not be ending.
fn with_due<R>(change: impl FnOnce(&mut Due) -> R) -> R {
    DUE.with(|due| {
        let mut due = due.borrow_mut();
        let result = change(&mut due);
        CLAIM.with(|claim| {
            claim.tasks.set(due.tasks.len());
            claim.endpoints.set(due.endpoints.len());
        });
        result
    })
}

/// The queue of one executor.
pub(crate) struct ReadyQueue {
    /// The number for wakers; `None` if there are too many queues.
    number: Option<u16>,
    signal: Arc<Signal>,
    inbox: Mutex<Inbox>,
    /// Whether the inbox can have something. Changed under its lock, and read without it.
    filled: AtomicBool,
}

/// What other threads have pushed.
#[derive(Default)]
struct Inbox {
    tasks: Vec<Runnable>,
    endpoints: Vec<Ready>,
}

impl ReadyQueue {
    /// Creates the queue of an executor that `signal` wakes.
    pub(crate) fn new(signal: Arc<Signal>) -> Arc<Self> {
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        let free = queues.iter().position(|queue| queue.strong_count() == 0).unwrap_or(queues.len());
        let number = (IS_SUPPORTED && free < QUEUES_MAX).then_some(free as u16);
        let queue = Arc::new(Self { number, signal, inbox: Mutex::default(), filled: AtomicBool::new(false) });
        if number.is_some() {
            match queues.get_mut(free) {
                Some(entry) => *entry = Arc::downgrade(&queue),
                None => queues.push(Arc::downgrade(&queue)),
            }
        }
        queue
    }

    /// Makes the current thread the one that takes from this queue.
    pub(crate) fn claim(&self) {
        CLAIM.with(|claim| claim.queue.set(self));
    }

    /// Ends the claim of the current thread, and forgets what is due.
    pub(crate) fn release() {
        let due = DUE.try_with(RefCell::take);
        let _ = CLAIM.try_with(|claim| {
            claim.queue.set(ptr::null());
            claim.tasks.set(0);
            claim.endpoints.set(0);
        });
        drop(due);
    }

    /// Returns whether endpoints of this queue can be woken.
    pub(crate) fn has_number(&self) -> bool {
        self.number.is_some()
    }

    /// Queues an endpoint to be polled.
    #[inline]
    pub(crate) fn push(&self, ready: Ready) {
        if self.is_claimed() {
            with_due(|due| due.endpoints.push_back(ready));
        } else {
            self.push_from_outside(|inbox| inbox.endpoints.push(ready));
        }
    }

    /// Returns whether the current thread takes from this queue.
    #[inline]
    fn is_claimed(&self) -> bool {
        // (An error means that the thread is ending.)
        CLAIM.try_with(|claim| ptr::eq(claim.queue.get(), self)).unwrap_or(false)
    }

    fn push_from_outside(&self, push: impl FnOnce(&mut Inbox)) {
        {
            let mut inbox = self.inbox.lock();
            push(&mut inbox);
            self.filled.store(true, Ordering::Relaxed);
        }
        wake_scope::notify(&self.signal);
    }

    /// Moves what other threads have pushed to the current thread, which must have claimed the queue.
    #[inline]
    pub(crate) fn take_inbox(&self) {
        if !self.is_inbox_empty() {
            self.take_filled_inbox();
        }
    }

    #[cold]
    fn take_filled_inbox(&self) {
        let mut inbox = self.inbox.lock();
        self.filled.store(false, Ordering::Relaxed);
        let inbox = &mut *inbox;
        with_due(|due| {
            due.tasks.extend(inbox.tasks.drain(..));
            due.endpoints.extend(inbox.endpoints.drain(..));
        });
    }

    /// Returns whether no other thread has pushed anything. To be called after announcing a sleep, whose fence stands
    /// between the announcement and this look, as that of the notification stands between the push and its look.
    #[inline]
    pub(crate) fn is_inbox_empty(&self) -> bool {
        !self.filled.load(Ordering::Relaxed)
    }

    /// Returns the waker of an endpoint. A clone costs nothing.
    #[inline]
    pub(crate) fn waker(&self, ready: Ready) -> Waker {
        endpoint_waker(self.number.unwrap_or_default(), ready)
    }
}

static TASK: RawWakerVTable = task::waker_table::<Arc<ConnShared>>();

/// The executor of a task is the one that its connection names.
impl task::Owner for Arc<ConnShared> {
    const WAKERS: &'static RawWakerVTable = &TASK;

    #[inline]
    fn schedule(task: Runnable) {
        if task.owner().local.ready.is_claimed() {
            with_due(|due| due.tasks.push_back(task));
        } else {
            schedule_from_outside(task);
        }
    }
}

fn schedule_from_outside(task: Runnable) {
    // Once it is pushed, the task can run and end on its thread, and its connection with it.
    let queue = Arc::clone(&task.owner().local.ready);
    queue.push_from_outside(|inbox| inbox.tasks.push(task));
}

/// Returns the number of tasks that are due on the current thread.
#[inline]
pub(crate) fn tasks_due() -> usize {
    CLAIM.try_with(|claim| claim.tasks.get()).unwrap_or(0)
}

/// Returns the number of endpoints that are due on the current thread.
#[inline]
pub(crate) fn endpoints_due() -> usize {
    CLAIM.try_with(|claim| claim.endpoints.get()).unwrap_or(0)
}

/// Takes the next task that is due on the current thread.
#[inline]
pub(crate) fn next_task() -> Option<Runnable> {
    with_due(|due| due.tasks.pop_front())
}

/// Takes the next endpoint that is due on the current thread.
#[inline]
pub(crate) fn next_endpoint() -> Option<Ready> {
    with_due(|due| due.endpoints.pop_front())
}

/// Exchanges what the current thread has claimed, for simulations of several threads on one.
#[cfg(all(test, not(loom)))]
pub(crate) fn exchange(queue: Option<&Arc<ReadyQueue>>, due: Due) -> Due {
    CLAIM.with(|claim| claim.queue.set(queue.map_or(ptr::null(), Arc::as_ptr)));
    with_due(|current| std::mem::replace(current, due))
}

/// The bits of a waker's word, from the highest: a one, so that no word is the address of a task; the number of the
/// queue; that of the table; the place; a zero, for users that mark words in the lowest bit.
const QUEUE_SHIFT: u32 = 49;
const TABLE_SHIFT: u32 = 33;
const PLACE_SHIFT: u32 = 1;

static ENDPOINT: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, |_| ());

#[inline]
fn endpoint_waker(queue: u16, ready: Ready) -> Waker {
    let word = 1 << 63
        | u64::from(queue) << QUEUE_SHIFT
        | u64::from(ready.table) << TABLE_SHIFT
        | u64::from(ready.place) << PLACE_SHIFT;
    // SAFETY: the functions of the table take any word, from any thread, and own nothing: a copy of the word is as good
    // as the word, and `drop` has nothing to release.
    unsafe { Waker::new(ptr::without_provenance(word as usize), &ENDPOINT) }
}

fn clone(word: *const ()) -> RawWaker {
    RawWaker::new(word, &ENDPOINT)
}

fn wake(word: *const ()) {
    let word = word.addr() as u64;
    let queue = (word >> QUEUE_SHIFT) as usize % QUEUES_MAX;
    let ready = Ready { table: (word >> TABLE_SHIFT) as u8, place: (word >> PLACE_SHIFT) as u32 };
    let queue = {
        let queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(queue).and_then(Weak::upgrade)
    };
    if let Some(queue) = queue {
        queue.push(ready);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn taken() -> Vec<Ready> {
        std::iter::from_fn(next_endpoint).collect()
    }

    #[test]
    fn a_waker_finds_its_endpoint_from_every_thread() {
        let (first, second) = (ReadyQueue::new(Signal::new(|| {})), ReadyQueue::new(Signal::new(|| {})));
        first.claim();
        let ready = [Ready { table: 254, place: u32::MAX }, Ready { table: 0, place: 0 }, Ready { table: 7, place: 1 }];
        for ready in ready {
            first.waker(ready).wake();
            second.waker(ready).wake_by_ref();
        }
        assert_eq!(taken(), ready);
        std::thread::scope(|scope| {
            let waker = first.waker(ready[0]).clone();
            scope.spawn(move || waker.wake());
        });
        assert_eq!(endpoints_due(), 0);
        first.take_inbox();
        assert_eq!((taken(), first.is_inbox_empty()), (vec![ready[0]], true));
        second.claim();
        second.take_inbox();
        assert_eq!(taken(), ready);
        let stale = first.waker(ready[0]);
        drop(first);
        stale.wake();
        ReadyQueue::release();
    }

    /// What marks wakers in their lowest bit must still tell neighbours apart.
    #[test]
    fn words_differ_above_their_lowest_bit() {
        let queue = ReadyQueue::new(Signal::new(|| {}));
        let word = |place| queue.waker(Ready { table: 0, place }).data().addr() | 1;
        assert_ne!(word(2), word(3));
        assert!(!queue.waker(Ready { table: 0, place: 2 }).will_wake(&queue.waker(Ready { table: 1, place: 2 })));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::shared::signal::parker::Parker;

    /// An executor that sleeps by the protocol finds the pushes of two threads, and is woken for them.
    #[test]
    fn loom_no_push_is_missed() {
        loom::model(|| {
            let parker = Parker::new();
            let queue = ReadyQueue::new(parker.signal());
            let producers: Vec<_> = (0..2)
                .map(|place| {
                    let queue = Arc::clone(&queue);
                    loom::thread::spawn(move || queue.push(Ready { table: 0, place }))
                })
                .collect();
            queue.claim();
            let mut seen = Vec::new();
            while seen.len() < 2 {
                queue.take_inbox();
                seen.extend(std::iter::from_fn(next_endpoint));
                if seen.len() < 2 {
                    queue.signal.announce_sleep();
                    if queue.is_inbox_empty() {
                        parker.park();
                    }
                    queue.signal.awake();
                }
            }
            ReadyQueue::release();
            for producer in producers {
                producer.join().unwrap();
            }
        });
    }
}
