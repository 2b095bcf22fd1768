//! Tests of tasks on a queue that the test runs.

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::util::sync::Mutex;

/// The tasks that are due.
struct Queue(Mutex<VecDeque<Runnable<Arc<Queue>>>>);

static WAKERS: RawWakerVTable = waker_table::<Arc<Queue>>();

impl Owner for Arc<Queue> {
    const WAKERS: &'static RawWakerVTable = &WAKERS;

    fn schedule(task: Runnable<Self>) {
        let queue = Self::clone(task.owner());
        queue.0.lock().push_back(task);
    }
}

impl Queue {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(VecDeque::new())))
    }

    /// Spawns a future, which is then due.
    fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + 'static) -> Task<Arc<Self>> {
        // SAFETY: each test runs and drops its runnables on the thread that spawns.
        let (runnable, task) = unsafe { spawn(Arc::clone(self), 7, future) };
        runnable.schedule();
        task
    }

    fn next(&self) -> Option<Runnable<Arc<Self>>> {
        self.0.lock().pop_front()
    }
}

#[cfg(not(loom))]
mod polls {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    use super::*;

    /// What a future has done so far. It is not `Send`.
    #[derive(Default)]
    struct Seen {
        polls: Cell<usize>,
        drops: Cell<usize>,
        waker: RefCell<Option<Waker>>,
    }

    struct NotesDrop(Rc<Seen>);

    impl Drop for NotesDrop {
        fn drop(&mut self) {
            self.0.drops.set(self.0.drops.get() + 1);
        }
    }

    impl Seen {
        fn counts(&self) -> (usize, usize) {
            (self.polls.get(), self.drops.get())
        }

        fn waker(&self) -> Waker {
            self.waker.borrow().clone().expect("the future was polled")
        }
    }

    /// Returns a future that leaves its waker and calls `poll` with the number of the poll.
    fn watched<P>(seen: &Rc<Seen>, poll: P) -> impl Future<Output = ()> + use<P>
    where
        P: Fn(usize, &Waker) -> Poll<()> + 'static,
    {
        let notes_drop = NotesDrop(Rc::clone(seen));
        poll_fn(move |cx| {
            let seen = &notes_drop.0;
            seen.polls.set(seen.polls.get() + 1);
            *seen.waker.borrow_mut() = Some(cx.waker().clone());
            poll(seen.polls.get(), cx.waker())
        })
    }

    fn run_all(queue: &Queue) -> usize {
        std::iter::from_fn(|| queue.next().map(Runnable::run)).count()
    }

    #[test]
    fn a_future_is_polled_when_it_is_woken_and_dropped_when_it_is_ready() {
        let (queue, seen) = (Queue::new(), Rc::new(Seen::default()));
        let ready_at_3 = |poll, _: &Waker| if poll == 3 { Poll::Ready(()) } else { Poll::Pending };
        let task = queue.spawn(watched(&seen, ready_at_3));
        assert_eq!(queue.next().map(|runnable| (runnable.note(), runnable.run())), Some((7, ())));
        assert_eq!((run_all(&queue), seen.counts()), (0, (1, 0)));
        let waker = seen.waker();
        assert!(waker.will_wake(&seen.waker()));
        // Several wakes before a poll are one.
        waker.wake_by_ref();
        waker.wake_by_ref();
        seen.waker().wake();
        assert_eq!((run_all(&queue), seen.counts()), (1, (2, 0)));
        waker.wake_by_ref();
        assert_eq!((run_all(&queue), seen.counts()), (1, (3, 1)));
        // Nothing wakes what has ended, and its memory stays for the wakers.
        waker.wake_by_ref();
        task.cancel();
        assert_eq!((run_all(&queue), seen.counts()), (0, (3, 1)));
        assert_eq!(Arc::strong_count(&queue), 2);
        seen.waker.take();
        waker.wake();
        assert_eq!((run_all(&queue), Arc::strong_count(&queue)), (0, 1));
    }

    #[test]
    fn a_waker_shows_the_owner_of_its_task() {
        let (queue, seen) = (Queue::new(), Rc::new(Seen::default()));
        let task = queue.spawn(watched(&seen, |_, waker| {
            assert!(owner_of::<Arc<Queue>>(waker).is_some());
            Poll::Pending
        }));
        assert_eq!(run_all(&queue), 1);
        let waker = seen.waker();
        assert!(owner_of::<Arc<Queue>>(&waker).is_some_and(|owner| Arc::ptr_eq(owner, &queue)));
        assert!(owner_of::<Arc<Queue>>(Waker::noop()).is_none());
        task.cancel();
        assert!(owner_of::<Arc<Queue>>(&waker).is_some(), "the waker keeps the memory of the task");
    }

    #[test]
    fn a_task_that_is_woken_during_its_poll_runs_again() {
        let (queue, seen) = (Queue::new(), Rc::new(Seen::default()));
        let task = queue.spawn(watched(&seen, |poll, waker| {
            if poll < 3 {
                let second = waker.clone();
                waker.wake_by_ref();
                second.wake();
            }
            Poll::Pending
        }));
        assert_eq!((run_all(&queue), seen.counts()), (3, (3, 0)));
        task.cancel();
        assert_eq!((run_all(&queue), seen.counts()), (0, (3, 1)));
    }

    #[test]
    fn a_task_that_is_woken_while_it_ends_has_ended() {
        let (queue, seen) = (Queue::new(), Rc::new(Seen::default()));
        let task = queue.spawn(watched(&seen, |_, waker| {
            waker.wake_by_ref();
            Poll::Ready(())
        }));
        assert_eq!((run_all(&queue), seen.counts()), (1, (1, 1)));
        drop(task);
        seen.waker.take();
        assert_eq!(Arc::strong_count(&queue), 1);
    }

    #[test]
    fn cancelling_drops_the_future_or_leaves_it_to_the_runnable() {
        for is_woken in [false, true] {
            let (queue, seen) = (Queue::new(), Rc::new(Seen::default()));
            let task = queue.spawn(watched(&seen, |_, _| Poll::Pending));
            assert_eq!(run_all(&queue), 1);
            if is_woken {
                seen.waker().wake();
            }
            task.cancel();
            assert_eq!(seen.counts(), (1, usize::from(!is_woken)));
            let runnable = queue.next();
            assert_eq!(runnable.is_some(), is_woken);
            drop(runnable);
            assert_eq!(seen.counts(), (1, 1));
            seen.waker().wake();
            seen.waker.take();
            assert_eq!((run_all(&queue), Arc::strong_count(&queue)), (0, 1));
        }
    }

    #[test]
    fn a_panic_drops_the_future_and_goes_on() {
        let (queue, seen) = (Queue::new(), Rc::new(Seen::default()));
        let task = queue.spawn(watched(&seen, |_, waker| {
            waker.wake_by_ref();
            panic!("on purpose")
        }));
        let runnable = queue.next().expect("it is due");
        assert!(catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err());
        assert_eq!((run_all(&queue), seen.counts()), (0, (1, 1)));
        seen.waker().wake();
        drop(task);
        seen.waker.take();
        assert_eq!((run_all(&queue), Arc::strong_count(&queue)), (0, 1));
    }

    #[test]
    fn a_future_can_hold_the_last_wakers_of_itself() {
        let queue = Queue::new();
        let waker = Rc::new(RefCell::new(None));
        let task = queue.spawn(poll_fn(move |cx| {
            *waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        }));
        assert_eq!(run_all(&queue), 1);
        task.cancel();
        assert_eq!(Arc::strong_count(&queue), 1);
    }

    #[test]
    fn wakers_of_other_threads_queue_the_task_once() {
        let (queue, seen) = (Queue::new(), Rc::new(Seen::default()));
        let task = queue.spawn(watched(&seen, |_, _| Poll::Pending));
        assert_eq!(run_all(&queue), 1);
        let waker = seen.waker();
        std::thread::scope(|scope| {
            for waker in [waker.clone(), waker.clone(), waker] {
                scope.spawn(move || waker.wake());
            }
        });
        assert_eq!((run_all(&queue), seen.counts()), (1, (2, 0)));
        task.cancel();
    }

    /// Each idle connection has one of these.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_task_takes_three_words_in_addition_to_its_future() {
        assert_eq!(size_of::<Block<Arc<Queue>, [u64; 5]>>(), 3 * 8 + 5 * 8);
    }
}

#[cfg(loom)]
mod interleavings {
    use std::future::poll_fn;

    use loom::sync::atomic::AtomicBool;

    use super::*;

    /// Another thread wakes a task twice while this one polls it. The last wake is followed by a poll that sees what
    /// was done before it, and the memory is freed once.
    #[test]
    fn loom_no_wake_of_a_task_is_lost() {
        loom::model(|| {
            let queue = Queue::new();
            let (done, waker) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
            let ended = Arc::new(());
            let (seen, kept, end) = (Arc::clone(&done), Arc::clone(&waker), Arc::clone(&ended));
            let task = queue.spawn(poll_fn(move |cx| {
                let _ = &end;
                if seen.load(Ordering::Relaxed) {
                    return Poll::Ready(());
                }
                *kept.lock() = Some(cx.waker().clone());
                Poll::Pending
            }));
            queue.next().expect("it is due").run();
            let woken = waker.lock().take().expect("the future has left its waker");
            woken.wake_by_ref();
            let other = loom::thread::spawn(move || {
                woken.wake_by_ref();
                done.store(true, Ordering::Relaxed);
                woken.wake();
            });
            while Arc::strong_count(&ended) > 1 {
                match queue.next() {
                    Some(runnable) => runnable.run(),
                    None => loom::thread::yield_now(),
                }
            }
            other.join().unwrap();
            assert!(queue.next().is_none());
            waker.lock().take();
            drop(task);
            assert_eq!(Arc::strong_count(&queue), 1);
        });
    }
}
