//! Commands and wakes that a thread collects within a scope and hands over at its end.
//!
//! Inside a [`WakeScope`] a thread's commands to workers and its wakes are collected: a turn that serves hundreds of
//! connections takes each mailbox's lock once and wakes each sleeping thread at most once. Outside of one they go at
//! once. Scopes nest, and only the outermost hands over.
//!
//! Guarantees, whether inside a scope or not:
//! - the commands that one thread [posts](post) to one worker arrive in the order in which it posted them;
//! - a scope wakes each [`Signal`] at most once, after everything it queued is in place;
//! - on a thread that is ending, whose locals are gone, commands and wakes go at once.
//!
//! Called by handlers (through [`ConnShared`](super::ConnShared)), sleeps, mailboxes and run queues; opened by the tick
//! of a worker and the turn of a handler thread. The protocol of sleep and wake is that of `signal`.

use std::cell::RefCell;
use std::sync::Arc;

use crate::shared::command::Command;
use crate::shared::signal::Signal;
use crate::shared::worker_shared::WorkerShared;

/// Commands and signals collected by the current thread.
struct Collected {
    /// Scopes open on this thread.
    depth: usize,
    /// The worker that the commands are for.
    worker: Option<Arc<WorkerShared>>,
    commands: Vec<Command>,
    /// Signals to notify at the end.
    signals: Vec<Arc<Signal>>,
}

impl Collected {
    const fn new() -> Self {
        Self { depth: 0, worker: None, commands: Vec::new(), signals: Vec::new() }
    }

    fn take_commands(&mut self) -> Option<(Arc<WorkerShared>, Vec<Command>)> {
        Some((self.worker.take()?, std::mem::take(&mut self.commands)))
    }
}

#[cfg(not(loom))]
thread_local! {
    static COLLECTED: RefCell<Collected> = const { RefCell::new(Collected::new()) };
}

#[cfg(loom)]
loom::thread_local! {
    static COLLECTED: RefCell<Collected> = RefCell::new(Collected::new());
}

/// While one lives on a thread, that thread's commands and wakes are collected; dropping the outermost hands them over.
pub(crate) struct WakeScope(());

impl WakeScope {
    pub(crate) fn begin() -> Self {
        COLLECTED.with(|collected| collected.borrow_mut().depth += 1);
        Self(())
    }
}

impl Drop for WakeScope {
    fn drop(&mut self) {
        loop {
            match COLLECTED.with(|collected| collected.borrow_mut().next_step()) {
                Step::Commands(worker, commands) => hand_over(&worker, commands),
                Step::Wakes(signals) => return wake(signals),
                Step::Nothing => return,
            }
        }
    }
}

/// The next step at the end of a scope.
enum Step {
    /// Answering the commands of a worker that has ended can post again, so another step follows.
    Commands(Arc<WorkerShared>, Vec<Command>),
    Wakes(Vec<Arc<Signal>>),
    /// Nothing is left, or another scope is open around this one.
    Nothing,
}

impl Collected {
    /// Takes the next step. The scope stays open until all commands are handed over, so that their wakes join the
    /// others.
    fn next_step(&mut self) -> Step {
        if self.depth > 1 {
            self.depth -= 1;
            return Step::Nothing;
        }
        if let Some((worker, commands)) = self.take_commands() {
            return Step::Commands(worker, commands);
        }
        self.depth = 0;
        if self.signals.is_empty() { Step::Nothing } else { Step::Wakes(std::mem::take(&mut self.signals)) }
    }
}

/// Hands commands over; the vector goes back so that its capacity is used again.
fn hand_over(worker: &WorkerShared, mut commands: Vec<Command>) {
    /// A panicking waker must not leave the thread inside a scope.
    struct EndScope;
    impl Drop for EndScope {
        fn drop(&mut self) {
            wake(COLLECTED.with(|collected| {
                let mut collected = collected.borrow_mut();
                collected.depth = 0;
                std::mem::take(&mut collected.signals)
            }));
        }
    }
    let end_scope = EndScope;
    worker.mailbox.post_all(&mut commands);
    worker.answer_if_ended();
    std::mem::forget(end_scope);
    COLLECTED.with(|collected| {
        let mut collected = collected.borrow_mut();
        if collected.commands.capacity() == 0 {
            collected.commands = commands;
        }
    });
}

/// Notifies the collected signals; the vector goes back so that its capacity is used again.
fn wake(mut signals: Vec<Arc<Signal>>) {
    for signal in &signals {
        signal.notify_now();
    }
    signals.clear();
    COLLECTED.with(|collected| collected.borrow_mut().signals = signals);
}

/// Gives the current thread's memory for more than this number of commands back.
pub(crate) fn shrink_to(commands: usize) {
    COLLECTED.with(|collected| collected.borrow_mut().commands.shrink_to(commands));
}

/// Posts a command to `worker`, at the end of the current scope if there is one.
pub(crate) fn post(worker: &Arc<WorkerShared>, command: Command) {
    let mut command = Some(command);
    let other = COLLECTED.try_with(|collected| {
        let mut collected = collected.borrow_mut();
        if collected.depth == 0 {
            return None;
        }
        let mut other = None;
        if !collected.worker.as_ref().is_some_and(|known| Arc::ptr_eq(known, worker)) {
            other = collected.take_commands();
            collected.worker = Some(Arc::clone(worker));
        }
        if let Some(command) = command.take() {
            collected.commands.push(command);
        }
        other
    });
    if let Ok(Some((other, mut commands))) = other {
        other.mailbox.post_all(&mut commands);
        other.answer_if_ended();
    }
    // No scope, or a thread that is ending.
    if let Some(command) = command {
        worker.post_now(command);
    }
}

/// Notifies `signal`, at the end of the current scope if there is one.
pub(crate) fn notify(signal: &Arc<Signal>) {
    let collected = COLLECTED.try_with(|collected| {
        let mut collected = collected.borrow_mut();
        if collected.depth == 0 {
            return false;
        }
        if !collected.signals.iter().any(|known| Arc::ptr_eq(known, signal)) {
            collected.signals.push(Arc::clone(signal));
        }
        true
    });
    // An error means that the thread is ending and its locals are gone.
    if !collected.unwrap_or(false) {
        signal.notify_now();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::config::{InboundMarks, OutboundMarks};
    use crate::shared::key::ConnKey;

    /// Creates a worker with an announced sleep. Returns it and the number of its wakes.
    fn sleeping_worker() -> (Arc<WorkerShared>, Arc<AtomicUsize>) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let signal = Signal::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        signal.announce_sleep();
        let inbound = InboundMarks { bytes_high: 2, bytes_low: 1, chunks_high: 2, chunks_low: 1 };
        let outbound = OutboundMarks { bytes_high: 2, bytes_low: 1 };
        (WorkerShared::new(0, signal, Instant::now(), inbound, outbound, Arc::default()), wakes)
    }

    fn flush(index: u32) -> Command {
        Command::Flush(ConnKey { index, generation: 0 })
    }

    fn posted(worker: &WorkerShared) -> usize {
        let mut commands = Vec::new();
        worker.mailbox.take(&mut commands);
        commands.len()
    }

    #[test]
    fn outside_of_a_scope_commands_and_wakes_go_at_once() {
        let (worker, wakes) = sleeping_worker();
        post(&worker, flush(1));
        assert_eq!((posted(&worker), wakes.load(Ordering::SeqCst)), (1, 1));
        drop(WakeScope::begin());
        post(&worker, flush(2));
        assert_eq!((posted(&worker), wakes.load(Ordering::SeqCst)), (1, 1), "a running worker is not woken");
    }

    #[test]
    fn the_outermost_scope_hands_over_and_wakes_once() {
        let (worker, wakes) = sleeping_worker();
        let outer = WakeScope::begin();
        {
            let _inner = WakeScope::begin();
            post(&worker, flush(1));
            worker.post_now(flush(2));
        }
        post(&worker, flush(3));
        assert_eq!(
            (posted(&worker), wakes.load(Ordering::SeqCst)),
            (1, 0),
            "even what is posted at once wakes at the end"
        );
        drop(outer);
        assert_eq!((posted(&worker), wakes.load(Ordering::SeqCst)), (2, 1));
    }

    /// Answering the commands of a worker that has ended can post more commands: none is left behind.
    #[test]
    fn a_command_that_is_posted_during_the_hand_over_is_answered() {
        let (worker, _) = sleeping_worker();
        worker.end();
        let answered = Arc::new(AtomicUsize::new(0));
        let (again, count) = (Arc::clone(&worker), Arc::clone(&answered));
        let last = Arc::clone(&answered);
        let key = ConnKey { index: 0, generation: 0 };
        let scope = WakeScope::begin();
        let first = move |_: std::io::Result<socket2::SockRef<'_>>| {
            count.fetch_add(1, Ordering::SeqCst);
            let second = move |_: std::io::Result<socket2::SockRef<'_>>| {
                last.fetch_add(1, Ordering::SeqCst);
            };
            post(&again, Command::Socket(key, Box::new(second)));
        };
        post(&worker, Command::Socket(key, Box::new(first)));
        drop(scope);
        assert_eq!(answered.load(Ordering::SeqCst), 2);
        assert_eq!(posted(&worker), 0);
    }

    /// The thread-locals of a thread are destroyed in an unspecified order, so both are tried.
    #[test]
    fn a_thread_that_is_ending_posts_at_once() {
        struct Last(RefCell<Option<Arc<WorkerShared>>>);
        impl Drop for Last {
            fn drop(&mut self) {
                if let Some(worker) = self.0.take() {
                    post(&worker, flush(1));
                }
            }
        }
        thread_local! {
            static LAST: Last = const { Last(RefCell::new(None)) };
        }
        for scope_first in [true, false] {
            let (worker, wakes) = sleeping_worker();
            let ending = Arc::clone(&worker);
            let thread = thread::spawn(move || {
                if scope_first {
                    drop(WakeScope::begin());
                }
                LAST.with(|last| *last.0.borrow_mut() = Some(ending));
                drop(WakeScope::begin());
            });
            thread.join().unwrap();
            assert_eq!((posted(&worker), wakes.load(Ordering::SeqCst)), (1, 1));
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::time::Instant;

    use super::*;
    use crate::clock::sleep_entry::SleepEntry;
    use crate::config::{InboundMarks, OutboundMarks};
    use crate::shared::key::ConnKey;
    use crate::shared::signal::parker::Parker;

    fn worker(parker: &Parker) -> Arc<WorkerShared> {
        let inbound = InboundMarks { bytes_high: 2, bytes_low: 1, chunks_high: 2, chunks_low: 1 };
        let outbound = OutboundMarks { bytes_high: 2, bytes_low: 1 };
        WorkerShared::new(0, parker.signal(), Instant::now(), inbound, outbound, Arc::default())
    }

    fn flush(index: u32) -> Command {
        Command::Flush(ConnKey { index, generation: 0 })
    }

    /// Takes `count` commands as a worker does, sleeping by the protocol while the mailbox is empty. Returns their
    /// order.
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
                    let _outer = WakeScope::begin();
                    notify(worker.mailbox.signal());
                    post(&worker, flush(1));
                    drop(WakeScope::begin());
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
                    let _scope = WakeScope::begin();
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
                    let _scope = WakeScope::begin();
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
            assert!(entries.iter().all(|entry| entry.has_fired()), "a sleep was not answered");
        });
    }
}
