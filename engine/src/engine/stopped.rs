//! Waiting in async code for an engine to end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::engine::running::Running;
use crate::shutdown::ShutdownReport;

impl Running {
    /// Returns a future that completes when a shutdown has ended: [`join`](Self::join) for async code, such as a
    /// program of another runtime. It waits in a thread, and can be polled on any thread. Dropping it leaves the engine
    /// running.
    ///
    /// ```no_run
    /// use tidegate_engine::{Config, Engine, Shutdown};
    ///
    /// /// Serves until `stop` completes.
    /// async fn serve_until(stop: impl Future<Output = ()>) -> Result<(), tidegate_engine::Error> {
    ///     let running = Engine::new(Config::default()).bind("127.0.0.1:7000")?.start(async |_connection| ())?;
    ///     let handle = running.handle();
    ///     stop.await;
    ///     handle.begin_shutdown(Shutdown::default());
    ///     let report = running.stopped().await;
    ///     println!("{} connections ended by themselves, {} were reset", report.drained, report.forced);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Panics
    /// If the thread cannot be spawned.
    pub fn stopped(self) -> Stopped {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let wait = move || {
            let report = self.join();
            let waker = {
                let mut state = lock(&shared);
                state.report = Some(report);
                state.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        };
        thread::Builder::new().name("tidegate-stopped".to_owned()).spawn(wait).expect("cannot spawn a thread");
        Stopped { state }
    }
}

/// The future of [`Running::stopped`].
#[must_use = "futures do nothing unless awaited"]
pub struct Stopped {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    report: Option<ShutdownReport>,
    waker: Option<Waker>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Future for Stopped {
    type Output = ShutdownReport;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ShutdownReport> {
        let mut state = lock(&self.state);
        if let Some(report) = state.report {
            return Poll::Ready(report);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl fmt::Debug for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopped").finish_non_exhaustive()
    }
}
