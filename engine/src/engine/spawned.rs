//! Tasks that threads outside of the engine start on the threads of handlers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_task::Task;

use crate::executor::{RunQueue, lasting};
use crate::util::sync::Mutex;

/// A task started by [`Running::spawn`](crate::Running::spawn). Awaiting it gives its result, or `None` if it panicked
/// or the engine ended first; this works on any thread. Dropping it lets the task run on.
pub struct SpawnedTask<T>(Arc<Slot<T>>);

struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    /// `Some(None)` if the task ended without a result.
    answer: Option<Option<T>>,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    fn set(&self, answer: Option<T>) {
        let waker = {
            let mut state = self.0.lock();
            if state.answer.is_some() {
                return;
            }
            state.answer = Some(answer);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Answers without a result when it is dropped before there is one.
struct Promise<T>(Arc<Slot<T>>);

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

/// Starts the task that `make` returns on the thread of `queue`.
pub(super) fn spawn<T, M, F>(queue: &RunQueue, make: M) -> SpawnedTask<T>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let slot = Arc::new(Slot(Mutex::new(State { answer: None, waker: None })));
    let promise = Promise(Arc::clone(&slot));
    queue.call(move || {
        let task = lasting::spawn(async move {
            let promise = promise;
            let result = make().await;
            promise.0.set(Some(result));
        });
        task.into_iter().for_each(Task::detach);
    });
    SpawnedTask(slot)
}

impl<T> SpawnedTask<T> {
    /// Returns whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.0.lock().answer.is_some()
    }
}

impl<T> Future for SpawnedTask<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.0.lock();
        match state.answer.take() {
            Some(answer) => {
                // A later poll finds that it has ended.
                state.answer = Some(None);
                Poll::Ready(answer)
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for SpawnedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnedTask").field("finished", &self.is_finished()).finish()
    }
}
