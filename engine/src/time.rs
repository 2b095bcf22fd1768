//! Sleeping on a worker's timer wheel.
//!
//! A sleep costs one entry in the wheel of its worker; dropping it early removes the entry. For the deadlines of a
//! connection use its `set_*_deadline` methods, which cost no entry and no command per message.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::clock::sleep_entry::SleepEntry;
use crate::shared::command::Command;
use crate::shared::wake_scope;
use crate::shared::worker_shared::WorkerShared;

pub use crate::clock::TICK as GRANULARITY;

/// A handle to the timers of one worker, usable from any thread.
///
/// ```no_run
/// # async fn example(connection: tidegate_engine::Connection) {
/// let timer = connection.timer();
/// timer.sleep(std::time::Duration::from_secs(15)).await;
/// # }
/// ```
#[derive(Clone)]
pub struct Timer {
    worker: Arc<WorkerShared>,
}

impl Timer {
    pub(crate) fn new(worker: Arc<WorkerShared>) -> Self {
        Self { worker }
    }

    /// Returns the timer of the worker that the current thread runs or serves, or `None` outside the engine's threads.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten().map(Self::new)
    }

    /// Returns a future that completes once `duration` has passed.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        // A deadline beyond the clock's range becomes thirty years.
        let now = Instant::now();
        self.sleep_until(now.checked_add(duration).unwrap_or(now + Duration::from_secs(30 * 365 * 86_400)))
    }

    /// Returns a future that completes once `deadline` has passed.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        let tick = self.worker.clock.tick_of(deadline);
        Sleep { worker: Arc::clone(&self.worker), entry: Arc::new(SleepEntry::new(tick)), posted: false }
    }
}

/// Completes once `duration` has passed, at most [`GRANULARITY`] later on an idle worker.
///
/// # Panics
/// Outside the engine's threads. Use [`Timer`] there.
pub fn sleep(duration: Duration) -> Sleep {
    current("sleep").sleep(duration)
}

/// Returns a future that completes once `deadline` has passed. See [`sleep`].
///
/// # Panics
/// Outside the engine's threads. Use [`Timer`] there.
pub fn sleep_until(deadline: Instant) -> Sleep {
    current("sleep_until").sleep_until(deadline)
}

fn current(call: &str) -> Timer {
    Timer::current()
        .unwrap_or_else(|| panic!("{call}: called outside the engine's threads; use Connection::timer() there"))
}

/// The future of [`sleep`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    worker: Arc<WorkerShared>,
    entry: Arc<SleepEntry>,
    posted: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.entry.poll_fired(cx.waker()) {
            return Poll::Ready(());
        }
        if !self.posted {
            self.posted = true;
            wake_scope::post(&self.worker, Command::Sleep(Arc::clone(&self.entry)));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.posted && !self.entry.has_fired() {
            wake_scope::post(&self.worker, Command::CancelSleep(Arc::clone(&self.entry)));
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<WorkerShared>>> = const { RefCell::new(None) };
}

/// Makes `worker` the worker whose timers the current thread uses.
pub(crate) fn enter(worker: &Arc<WorkerShared>) {
    CURRENT.with(|current| *current.borrow_mut() = Some(Arc::clone(worker)));
}

/// As [`enter`], unless the thread already uses another worker's timers: a handler thread serves one worker or all of
/// them.
pub(crate) fn enter_first(worker: &Arc<WorkerShared>) {
    CURRENT.with(|current| {
        current.borrow_mut().get_or_insert_with(|| Arc::clone(worker));
    });
}
