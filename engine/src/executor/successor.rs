//! A second task of a connection, in place of its first.

use std::future::Future;
use std::sync::Arc;

use super::{LOCAL, RunQueue};
use crate::connection::sender::ByteSender;

/// Spawns `future` as the task of the connection of `sender`, whose present task should end then: the memory of that is
/// freed, and the future is in no box. It is first polled in the next turn of this thread.
///
/// # Errors
/// Returns the future outside of the thread of the connection's handler.
pub fn succeed<F: Future<Output = ()> + 'static>(sender: &ByteSender, future: F) -> Result<(), F> {
    let shared = &sender.shared;
    let queue: Option<Arc<RunQueue>> = LOCAL
        .try_with(|local| local.borrow().as_ref().map(|local| Arc::clone(&local.queue)))
        .ok()
        .flatten()
        .filter(|queue| Arc::ptr_eq(queue.ready(), &shared.local.ready));
    match queue {
        Some(queue) => {
            queue.spawn(Arc::clone(shared), future);
            Ok(())
        }
        None => Err(future),
    }
}
