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

#[cfg(not(loom))]
thread_local! {
    static OUTBOX: RefCell<Outbox> =
        const { RefCell::new(Outbox { turns: 0, worker: None, commands: Vec::new() }) };
}

#[cfg(loom)]
loom::thread_local! {
    static OUTBOX: RefCell<Outbox> = RefCell::new(Outbox { turns: 0, worker: None, commands: Vec::new() });
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

#[cfg(all(test, loom))]
mod loom_tests {
    use std::time::Instant;

    use super::*;
    use crate::clock::sleep_entry::SleepEntry;
    use crate::config::{InboundMarks, OutboundMarks};
    use crate::shared::key::ConnKey;
    use crate::shared::mailbox::notify;
    use crate::shared::signal::parker::Parker;

    fn worker(parker: &Parker) -> Arc<WorkerShared> {
        let inbound = InboundMarks { bytes_high: 2, bytes_low: 1, chunks_high: 2, chunks_low: 1 };
        let outbound = OutboundMarks { bytes_high: 2, bytes_low: 1 };
        WorkerShared::new(0, parker.signal(), Instant::now(), inbound, outbound)
    }

    fn flush(index: u32) -> Command {
        Command::Flush(ConnKey { index, generation: 0 })
    }

    /// What a worker does: takes `count` commands, and sleeps by the protocol while there are none. Returns their order.
    fn take(worker: &WorkerShared, parker: &Parker, count: usize) -> Vec<u32> {
        let (mut seen, mut commands) = (Vec::new(), Vec::new());
        while seen.len() < count {
            worker.mailbox.take(&mut commands);
            seen.extend(commands.drain(..).map(|command| match command {
                Command::Flush(key) => key.index,
                _ => panic!("only flushes were posted"),
            }));
            if seen.len() < count {
                worker.mailbox.signal().announce_sleep();
                if worker.mailbox.is_empty() {
                    parker.park();
                }
                worker.mailbox.signal().awake();
            }
        }
        seen
    }

    /// Commands and wakes of nested scopes arrive in order at the end of the outermost, with one wake at most.
    #[test]
    fn loom_a_scope_hands_over_in_order_and_wakes_once() {
        loom::model(|| {
            let parker = Parker::new();
            let worker = worker(&parker);
            let producer = {
                let worker = Arc::clone(&worker);
                loom::thread::spawn(move || {
                    let _outer = Turn::begin();
                    notify(worker.mailbox.signal());
                    post(&worker, flush(1));
                    drop(Turn::begin());
                    post(&worker, flush(2));
                })
            };
            assert_eq!(take(&worker, &parker, 2), [1, 2]);
            producer.join().unwrap();
            assert!(parker.wakes() <= 1, "woken {} times by one scope", parker.wakes());
        });
    }

    /// Each of two workers gets its commands in order and is woken at most once, however the scope alternates.
    #[test]
    fn loom_a_scope_serves_several_workers() {
        loom::model(|| {
            let parkers = [Parker::new(), Parker::new()];
            let workers = [worker(&parkers[0]), worker(&parkers[1])];
            let producer = {
                let workers = workers.clone();
                loom::thread::spawn(move || {
                    let _scope = Turn::begin();
                    post(&workers[0], flush(1));
                    post(&workers[1], flush(2));
                    post(&workers[0], flush(3));
                })
            };
            assert_eq!(take(&workers[0], &parkers[0], 2), [1, 3]);
            assert_eq!(take(&workers[1], &parkers[1], 1), [2]);
            producer.join().unwrap();
            assert!(parkers.iter().all(|parker| parker.wakes() <= 1), "woken more than once by one scope");
        });
    }

    /// A worker ends while scopes of two threads hand over: every sleep is answered.
    #[test]
    fn loom_a_worker_that_ends_answers_every_scope() {
        loom::model(|| {
            let parker = Parker::new();
            let worker = worker(&parker);
            let entries = [0, 1].map(|tick| Arc::new(SleepEntry::new(tick)));
            let producer = {
                let (worker, entry) = (Arc::clone(&worker), Arc::clone(&entries[0]));
                loom::thread::spawn(move || {
                    let _scope = Turn::begin();
                    post(&worker, Command::Sleep(entry));
                })
            };
            let other = {
                let (worker, entry) = (Arc::clone(&worker), Arc::clone(&entries[1]));
                loom::thread::spawn(move || post(&worker, Command::Sleep(entry)))
            };
            worker.end();
            producer.join().unwrap();
            other.join().unwrap();
            assert!(entries.iter().all(|entry| entry.has_fired()), "a sleep that nobody answers");
        });
    }
}
