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

use crate::clock::instant_after;
use crate::clock::sleep_entry::SleepEntry;
use crate::shared::command::Command;
use crate::shared::wake_scope;
use crate::shared::worker_shared::WorkerShared;

pub use crate::clock::TICK as GRANULARITY;

/// A handle to the timers of one worker, usable from any thread, such as that of a [`blocking`](crate::blocking)
/// handler. In handlers the functions [`sleep`] and [`sleep_until`] are shorter.
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_engine::{BlockingConnection, block_on};
///
/// fn greet_slowly(connection: BlockingConnection) {
///     let timer = connection.connection().timer();
///     for word in ["hello ", "world\n"] {
///         block_on(timer.sleep(Duration::from_secs(1)));
///         if connection.send(word).is_err() {
///             break;
///         }
///     }
/// }
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
        current_worker().map(Self::new)
    }

    /// Returns a future that completes once `duration` has passed, by the later of the system's clock and the worker's.
    pub(crate) fn timeout(&self, duration: Duration) -> Sleep {
        let tick = self.worker.clock.tick_from_now(duration);
        Sleep { worker: Arc::clone(&self.worker), entry: Arc::new(SleepEntry::new(tick)), posted: false }
    }

    /// Returns the current instant of the worker's clock. See [`now`].
    pub fn now(&self) -> Instant {
        self.worker.clock.instant()
    }

    /// Returns a future that completes once `duration` has passed. See [`sleep`].
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(instant_after(self.now(), duration))
    }

    /// Returns a future that completes once `deadline` has passed. See [`sleep`].
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        let tick = self.worker.clock.tick_of(deadline);
        Sleep { worker: Arc::clone(&self.worker), entry: Arc::new(SleepEntry::new(tick)), posted: false }
    }
}

/// Returns the current instant: [`Instant::now`], except in handlers under a test engine (feature `testing`), whose
/// clock stands still until the test moves it. Measure durations with it to make them testable.
///
/// ```
/// let began = tidegate_engine::time::now();
/// let seconds = tidegate_engine::time::now().duration_since(began).as_secs();
/// # assert_eq!(seconds, 0);
/// ```
pub fn now() -> Instant {
    #[cfg(feature = "testing")]
    if let Some(timer) = Timer::current() {
        return timer.now();
    }
    Instant::now()
}

/// Returns a future that completes once `duration` has passed, at most [`GRANULARITY`] later on an idle worker and
/// never earlier. Dropping it cancels the sleep.
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_engine::{Connection, time};
///
/// /// Sends a dot each second until the peer is gone.
/// async fn tick(connection: Connection) {
///     while connection.sender().send(".").await.is_ok() {
///         time::sleep(Duration::from_secs(1)).await;
///     }
/// }
/// ```
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

/// The future of [`sleep`], [`sleep_until`] and the methods of [`Timer`].
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

/// Returns the worker that the current thread runs or serves.
pub(crate) fn current_worker() -> Option<Arc<WorkerShared>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Returns whether the current thread runs or serves a worker.
pub(crate) fn is_engine_thread() -> bool {
    CURRENT.try_with(|current| current.borrow().is_some()).unwrap_or(false)
}

/// Makes `worker` the worker whose timers the current thread uses.
pub(crate) fn enter(worker: &Arc<WorkerShared>) {
    CURRENT.with(|current| *current.borrow_mut() = Some(Arc::clone(worker)));
}

/// Does as [`enter`] for the first worker only: a shared handler thread uses the timers of the first worker it serves.
pub(crate) fn enter_first(worker: &Arc<WorkerShared>) {
    CURRENT.with(|current| {
        current.borrow_mut().get_or_insert_with(|| Arc::clone(worker));
    });
}
