//! Sleeping on a worker's timer wheel.
//!
//! One sleep costs one entry in the wheel of the worker it belongs to, and dropping it early takes the entry out. For
//! the deadlines of a connection use its own `set_*_deadline` calls: they cost no entry and no command a message.

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

/// A handle to one worker's timers, usable from any thread.
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

    /// The timer of the worker that the present thread runs or serves; `None` on threads that are not the engine's.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten().map(Self::new)
    }

    /// Completes once `duration` has passed.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        // A deadline beyond the clock's range is never reached in practice: thirty years stand for it.
        let now = Instant::now();
        self.sleep_until(now.checked_add(duration).unwrap_or(now + Duration::from_secs(30 * 365 * 86_400)))
    }

    /// Completes once `deadline` has passed.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        let tick = self.worker.clock.tick_of(deadline);
        Sleep { worker: Arc::clone(&self.worker), entry: Arc::new(SleepEntry::new(tick)), posted: false }
    }
}

/// Completes once `duration` has passed, at most [`GRANULARITY`] late on an idle worker.
///
/// # Panics
/// On a thread that is not one of the engine's: use [`Timer`] there.
pub fn sleep(duration: Duration) -> Sleep {
    current("sleep").sleep(duration)
}

/// Completes once `deadline` has passed. See [`sleep`].
///
/// # Panics
/// On a thread that is not one of the engine's: use [`Timer`] there.
pub fn sleep_until(deadline: Instant) -> Sleep {
    current("sleep_until").sleep_until(deadline)
}

fn current(call: &str) -> Timer {
    Timer::current().unwrap_or_else(|| panic!("{call}: not on a thread of the engine; use Connection::timer()"))
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

/// Makes `worker` the one whose timers the present thread uses.
pub(crate) fn enter(worker: &Arc<WorkerShared>) {
    CURRENT.with(|current| *current.borrow_mut() = Some(Arc::clone(worker)));
}

/// The same, unless the thread uses another's already: a handler thread serves one worker or all of them.
pub(crate) fn enter_first(worker: &Arc<WorkerShared>) {
    CURRENT.with(|current| {
        current.borrow_mut().get_or_insert_with(|| Arc::clone(worker));
    });
}
