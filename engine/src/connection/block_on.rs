//! Running a future on a thread that may block.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::time;

/// Runs `future` on the current thread until it completes, parking the thread while it waits.
///
/// For threads outside the engine: those of [`blocking`](crate::blocking) handlers, of background work, of tests.
///
/// ```no_run
/// use tidegate_engine::{ByteSender, SendError, block_on};
///
/// /// Sends lines to a connection from a thread that computes them.
/// fn compute(sender: ByteSender) -> Result<(), SendError> {
///     for line in ["one\n", "two\n"] {
///         block_on(sender.send(line))?;
///     }
///     block_on(sender.flush())
/// }
/// ```
///
/// # Panics
/// On one of the engine's threads: it would stop every other connection of that thread, and a future that needs the
/// thread would never complete.
pub fn block_on<F: Future>(future: F) -> F::Output {
    assert!(
        !time::is_engine_thread(),
        "block_on was called on one of the engine's threads, and would stop its connections: await the future instead, \
         or call it on a thread of the application (see `blocking`)"
    );
    let mut future = pin!(future);
    let waker = UNPARK.try_with(Waker::clone).unwrap_or_else(|_| Unpark::waker());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            // A wake before the park makes it return at once.
            Poll::Pending => thread::park(),
        }
    }
}

thread_local! {
    /// The waker of this thread: one for all calls, because it identifies the thread as a task.
    static UNPARK: Waker = Unpark::waker();
}

struct Unpark(Thread);

impl Unpark {
    fn waker() -> Waker {
        Waker::from(Arc::new(Self(thread::current())))
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
