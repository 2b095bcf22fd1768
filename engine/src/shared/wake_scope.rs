//! What a thread asks of workers during one turn, handed over at its end.
//!
//! Inside a [`Turn`] commands are collected and the wakes put off: a turn that serves hundreds of connections takes the
//! mailbox's lock once and wakes its worker at most once. Outside of one they go at once. Either way one thread's
//! commands to a worker arrive in the order in which it gave them.

use std::cell::RefCell;
use std::sync::Arc;

use crate::shared::command::Command;
use crate::shared::mailbox::Batch;
use crate::shared::worker_shared::WorkerShared;

struct Outbox {
    turns: usize,
    /// Whom the commands are for.
    worker: Option<Arc<WorkerShared>>,
    commands: Vec<Command>,
}

thread_local! {
    static OUTBOX: RefCell<Outbox> =
        const { RefCell::new(Outbox { turns: 0, worker: None, commands: Vec::new() }) };
}

/// Asks `worker` for something, at the end of the present turn if there is one.
pub(crate) fn post(worker: &Arc<WorkerShared>, command: Command) {
    let mut command = Some(command);
    let other = OUTBOX.try_with(|outbox| {
        let mut outbox = outbox.borrow_mut();
        let mut other = None;
        if !outbox.worker.as_ref().is_some_and(|known| Arc::ptr_eq(known, worker)) {
            if outbox.turns == 0 {
                return None;
            }
            other = outbox.take();
            outbox.worker = Some(Arc::clone(worker));
        }
        if let Some(command) = command.take() {
            outbox.commands.push(command);
        }
        other
    });
    if let Ok(Some((other, commands))) = other {
        hand_over(&other, commands);
    }
    // No turn, or a thread that is ending.
    if let Some(command) = command {
        worker.post(command);
    }
}

impl Outbox {
    fn take(&mut self) -> Option<(Arc<WorkerShared>, Vec<Command>)> {
        Some((self.worker.take()?, std::mem::take(&mut self.commands)))
    }
}

/// While one lives on a thread, that thread's commands and wakes are collected; dropping the outermost sends them.
pub(crate) struct Turn(Batch);

impl Turn {
    pub(crate) fn begin() -> Self {
        OUTBOX.with(|outbox| outbox.borrow_mut().turns += 1);
        Self(Batch::begin())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let due = OUTBOX.with(|outbox| {
            let mut outbox = outbox.borrow_mut();
            outbox.turns -= 1;
            if outbox.turns == 0 { outbox.take() } else { None }
        });
        if let Some((worker, commands)) = due {
            let spent = hand_over(&worker, commands);
            // The vector goes back so that its capacity is used again.
            OUTBOX.with(|outbox| outbox.borrow_mut().commands = spent);
        }
        // Dropping the batch sends the wakes.
    }
}

fn hand_over(worker: &WorkerShared, mut commands: Vec<Command>) -> Vec<Command> {
    worker.post_all(&mut commands);
    commands
}
