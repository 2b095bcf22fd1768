//! Tasks of an executor's thread that belong to no connection.
//!
//! They have queues of their own, because the other tasks carry their connection. The executor runs them after those,
//! and its end drops their futures.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_task::{Runnable, Task};

use super::{LOCAL, Local, RunQueue};
use crate::shared::wake_scope;
use crate::util::contained::catch;

/// What other threads hand to an executor, other than the tasks of connections.
pub(super) enum Arrived {
    /// A task that was woken.
    Task(Runnable),
    /// A call for the executor's thread.
    Call(Box<dyn FnOnce() + Send>),
}

/// The lasting tasks of the current thread.
#[derive(Default)]
pub(super) struct Lasting {
    pub(super) runnables: VecDeque<Runnable>,
    /// The wakers of the tasks whose futures live, by number, once they have been polled.
    wakers: BTreeMap<u64, Waker>,
    next: u64,
    /// Number of futures that are not dropped.
    futures: usize,
    /// Whether the tasks must end, because their thread does.
    ending: bool,
}

/// Spawns `future` on the current thread; `None` if it runs no handlers. The task gives `None` if the future panicked
/// or was dropped with its thread.
pub(crate) fn spawn<F: Future + 'static>(future: F) -> Option<Task<Option<F::Output>>> {
    let queue = with_local(|local| {
        local.lasting.futures += 1;
        Arc::clone(&local.queue)
    })?;
    let schedule = move |runnable| queue.schedule_lasting(runnable);
    let future = LastingFuture { future: Some(Box::pin(future)), number: None };
    let (runnable, task) = async_task::spawn_local(future, schedule);
    runnable.schedule();
    Some(task)
}

/// Queues the tasks of `arrived` on this thread and makes the calls. A panic in a call ends nothing else.
pub(super) fn take_in(arrived: Vec<Arrived>) {
    for arrived in arrived {
        match arrived {
            Arrived::Task(runnable) => {
                with_local(|local| local.lasting.runnables.push_back(runnable));
            }
            Arrived::Call(call) => {
                if let Err(message) = catch(call) {
                    log::error!("a call on a handler's thread panicked: {message}");
                }
            }
        }
    }
}

/// Makes the tasks end when they next run, and schedules them.
pub(super) fn end() {
    let wakers = with_local(|local| {
        local.lasting.ending = true;
        std::mem::take(&mut local.lasting.wakers)
    });
    wakers.into_iter().flatten().for_each(|(_, waker)| waker.wake());
}

/// Returns the number of futures that are not dropped.
pub(super) fn futures() -> usize {
    with_local(|local| local.lasting.futures).unwrap_or_default()
}

/// Returns the number of tasks that are due.
pub(super) fn due() -> usize {
    with_local(|local| local.lasting.runnables.len()).unwrap_or_default()
}

pub(super) fn next() -> Option<Runnable> {
    with_local(|local| local.lasting.runnables.pop_front()).flatten()
}

impl RunQueue {
    fn schedule_lasting(&self, runnable: Runnable) {
        let mut runnable = Some(runnable);
        with_local(|local| {
            if std::ptr::eq(&*local.queue, self) {
                local.lasting.runnables.extend(runnable.take());
            }
        });
        if let Some(runnable) = runnable {
            self.inbox.lock().lasting.push(Arrived::Task(runnable));
            wake_scope::notify(&self.signal);
        }
    }
}

/// Calls `with` with what the executor of this thread has; `None` if it has none. `with` must not drop a future.
fn with_local<R>(with: impl FnOnce(&mut Local) -> R) -> Option<R> {
    LOCAL.try_with(|local| local.borrow_mut().as_mut().map(with)).ok().flatten()
}

/// A task's future, known to its executor until it is dropped. A panic in it, or in its destructor, ends nothing else.
struct LastingFuture<F> {
    /// `None` only while dropped.
    future: Option<Pin<Box<F>>>,
    /// Its number in the executor, from the first poll on.
    number: Option<u64>,
}

impl<F: Future> Future for LastingFuture<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.number.is_none() {
            let waker = cx.waker().clone();
            self.number = with_local(|local| {
                let number = local.lasting.next;
                local.lasting.next += 1;
                local.lasting.wakers.insert(number, waker);
                number
            });
        }
        let Some(future) = self.future.as_mut().filter(|_| with_local(|local| local.lasting.ending) == Some(false))
        else {
            return Poll::Ready(None);
        };
        match catch(|| future.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Some),
            Err(message) => {
                log::error!("a task of spawn_local panicked: {message}");
                Poll::Ready(None)
            }
        }
    }
}

impl<F> Drop for LastingFuture<F> {
    fn drop(&mut self) {
        let future = self.future.take();
        if let Err(message) = catch(|| drop(future)) {
            log::error!("the destructor of a task of spawn_local panicked: {message}");
        }
        let waker = with_local(|local| {
            local.lasting.futures -= 1;
            self.number.and_then(|number| local.lasting.wakers.remove(&number))
        });
        // Dropped outside of the borrow: it can be the last reference to its task.
        drop(waker);
    }
}
