//! The tasks of one executor, so that the end of its thread can drop every future, and the watchdog can name the
//! connection whose handler holds the thread.
//!
//! A future can wait for something that never comes, and then nobody but its executor knows of it. The table has one
//! pointer per task. A task's place in it is stored with its connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shared::ConnShared;
use crate::util::slab::Slab;
use crate::util::task;

/// A task, with the connection that it serves.
pub(super) type Task = task::Task<Arc<ConnShared>>;

/// The tasks whose futures live.
#[derive(Default)]
pub(super) struct Tasks {
    /// By place.
    tasks: Slab<Task>,
    futures: usize,
    /// The connection whose handler is being called and has not returned its future.
    pub(super) starting: Option<Arc<ConnShared>>,
}

impl Tasks {
    /// Takes a place for a task of `connection` and stores it there.
    pub(super) fn reserve(&mut self, connection: &ConnShared) {
        connection.task.store(self.tasks.reserve(), Ordering::Relaxed);
        self.futures += 1;
    }

    /// Keeps a task in its place.
    pub(super) fn keep(&mut self, task: Task) {
        let place = task.owner().task.load(Ordering::Relaxed);
        self.tasks.keep(place, task);
    }

    /// Removes the task of a future that is dropped.
    pub(super) fn remove(&mut self, place: u32) -> Option<Task> {
        self.futures -= 1;
        self.tasks.remove(place)
    }

    /// Takes all tasks. No more can be added.
    pub(super) fn take_all(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.tasks).into_entries().collect()
    }

    /// Returns the number of futures that are not dropped.
    pub(super) fn futures(&self) -> usize {
        self.futures
    }

    /// Returns the connection of the task at `place`.
    pub(super) fn connection(&mut self, place: u32) -> Option<Arc<ConnShared>> {
        self.tasks.get(place).map(|task| Arc::clone(task.owner()))
    }
}
