//! The tasks of one executor, so that the end of its thread can drop every future, and the watchdog can name the
//! connection whose handler holds the thread.
//!
//! A future can wait for something that never comes, and then nobody but its executor knows of it. The table has one
//! pointer per task. A task's place in it is stored with its connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shared::ConnShared;
use crate::util::task;

/// A task, with the connection that it serves.
pub(super) type Task = task::Task<Arc<ConnShared>>;

/// Places per piece of the table. It grows by pieces, because doubling would cost up to twice the memory.
const PIECE_PLACES: usize = 512;

/// The tasks whose futures live.
#[derive(Default)]
pub(super) struct Tasks {
    pieces: Vec<Box<[Option<Task>]>>,
    free: Vec<u32>,
    futures: usize,
    /// The connection whose handler is being called and has not returned its future.
    pub(super) starting: Option<Arc<ConnShared>>,
}

impl Tasks {
    /// Takes a place for a task of `connection` and stores it there.
    pub(super) fn reserve(&mut self, connection: &ConnShared) {
        if self.free.is_empty() {
            let first = self.pieces.len() * PIECE_PLACES;
            self.pieces.push((0..PIECE_PLACES).map(|_| None).collect());
            self.free.extend((first..first + PIECE_PLACES).rev().map(|place| place as u32));
        }
        if let Some(place) = self.free.pop() {
            connection.task.store(place, Ordering::Relaxed);
            self.futures += 1;
        }
    }

    /// Keeps a task in its place.
    pub(super) fn keep(&mut self, task: Task) {
        let place = task.owner().task.load(Ordering::Relaxed);
        if let Some(kept) = self.at(place) {
            *kept = Some(task);
        }
    }

    /// Removes the task of a future that is dropped.
    pub(super) fn remove(&mut self, place: u32) -> Option<Task> {
        self.futures -= 1;
        let task = self.at(place)?.take()?;
        self.free.push(place);
        Some(task)
    }

    /// Takes all tasks. No more can be added.
    pub(super) fn take_all(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.pieces).into_iter().flatten().flatten().collect()
    }

    /// Returns the number of futures that are not dropped.
    pub(super) fn futures(&self) -> usize {
        self.futures
    }

    /// Returns the connection of the task at `place`.
    pub(super) fn connection(&mut self, place: u32) -> Option<Arc<ConnShared>> {
        self.at(place)?.as_ref().map(|task| Arc::clone(task.owner()))
    }

    fn at(&mut self, place: u32) -> Option<&mut Option<Task>> {
        let place = place as usize;
        self.pieces.get_mut(place / PIECE_PLACES)?.get_mut(place % PIECE_PLACES)
    }
}
