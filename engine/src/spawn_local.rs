//! Tasks on the thread of a handler that live longer than the handler.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_task::FallibleTask;

use crate::executor::lasting;

/// Starts a task on the current thread, which runs beside the thread's handlers. Its future need not be `Send`.
///
/// The task is independent of the connection whose handler starts it. It ends by itself, by
/// [`cancel`](LocalTask::cancel), or with its thread: when the engine has shut down, tasks still waiting are dropped. A
/// panic ends only the task.
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_engine::{Connection, spawn_local, time};
///
/// async fn handler(connection: Connection) {
///     let sender = connection.sender().clone();
///     spawn_local(async move {
///         // Runs on, also after the handler has returned.
///         while sender.send("still there\n").await.is_ok() {
///             time::sleep(Duration::from_secs(1)).await;
///         }
///     });
/// }
/// ```
///
/// A periodic task for each thread is started by a hook:
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_engine::{Config, ThreadHooks, spawn_local, time};
///
/// let hooks = ThreadHooks::default().on_start(|| {
///     spawn_local(async {
///         loop {
///             time::sleep(Duration::from_secs(60)).await;
///             println!("one more minute");
///         }
///     });
/// });
/// let config = Config::default().thread_hooks(hooks);
/// ```
///
/// # Panics
/// On a thread that runs no handlers.
pub fn spawn_local<F: Future + 'static>(future: F) -> LocalTask<F::Output> {
    let task = lasting::spawn(future);
    let task =
        task.expect("spawn_local: called on a thread that runs no handlers; call it in a handler or a thread hook");
    LocalTask { task: Some(task.fallible()) }
}

/// A task started by [`spawn_local`]. Awaiting it gives its result, or `None` if it panicked or was dropped with its
/// thread; this works on any thread. Dropping it lets the task run on.
pub struct LocalTask<T> {
    /// `None` only while dropped.
    task: Option<FallibleTask<Option<T>>>,
}

impl<T> LocalTask<T> {
    /// Drops the task's future, on its own thread and not at once.
    pub fn cancel(mut self) {
        drop(self.task.take());
    }

    /// Returns whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(FallibleTask::is_finished)
    }
}

impl<T> Future for LocalTask<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut self.task {
            Some(task) => Pin::new(task).poll(cx).map(Option::flatten),
            None => Poll::Ready(None),
        }
    }
}

impl<T> Drop for LocalTask<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for LocalTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalTask").field("finished", &self.is_finished()).finish()
    }
}
