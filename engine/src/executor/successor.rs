//! A second task of a connection, in place of its first.

use std::future::Future;
use std::sync::Arc;

use super::{current_queue, label};
use crate::connection::sender::ByteSender;

/// Spawns `future` as the task of the connection of `sender`. The current task of the connection must end in the same
/// poll: its memory is then freed, and `future` needs no box. `future` is first polled in the next turn of this thread,
/// and in each poll the label of the thread is at first what it is now.
///
/// # Errors
/// Returns the future outside of the thread of the connection's handler.
pub fn succeed<F: Future<Output = ()> + 'static>(sender: &ByteSender, future: F) -> Result<(), F> {
    let shared = &sender.shared;
    match current_queue().filter(|queue| Arc::ptr_eq(queue.ready(), &shared.local.ready)) {
        Some(queue) => {
            queue.spawn(Arc::clone(shared), label::get(), future);
            Ok(())
        }
        None => Err(future),
    }
}
