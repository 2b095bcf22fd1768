//! A few threads for calls that can block on a disk.
//!
//! Shared by all engines of a process. A thread is started when work waits and all others are busy, and ends when it
//! has had nothing to do for a while.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum threads. A disk serves few requests at a time, and what is cached does not come here.
const THREADS_MAX: usize = 4;

/// A thread ends after this time without work.
const IDLE_MAX: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

struct Pool {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { queue: VecDeque::new(), threads: 0, idle: 0 });
static QUEUED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on a thread of the pool; on this thread if the system gives no thread at all.
pub(crate) fn run(work: impl FnOnce() + Send + 'static) {
    let mut pool = lock();
    pool.queue.push_back(Box::new(work));
    if pool.idle > 0 {
        QUEUED.notify_one();
        // One that was woken before still counts as idle, so more can wait than are idle.
        if pool.queue.len() <= pool.idle {
            return;
        }
    }
    if pool.threads == THREADS_MAX {
        return;
    }
    pool.threads += 1;
    let number = pool.threads;
    drop(pool);
    if let Err(error) = start(number) {
        let mut pool = lock();
        pool.threads -= 1;
        let alone = pool.threads == 0;
        drop(pool);
        if alone {
            log::warn!("no thread for files, reading on a worker's: {error}");
            while let Some(work) = { lock().queue.pop_front() } {
                work();
            }
        }
    }
}

fn start(number: usize) -> io::Result<()> {
    std::thread::Builder::new().name(format!("tidegate-files-{number}")).spawn(work_until_idle).map(drop)
}

fn work_until_idle() {
    let mut pool = lock();
    loop {
        while let Some(work) = pool.queue.pop_front() {
            drop(pool);
            // A panic must not lower the number of threads for good.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                log::error!("a call on a thread for files panicked");
            }
            pool = lock();
        }
        pool.idle += 1;
        let (woken, wait) = QUEUED.wait_timeout(pool, IDLE_MAX).unwrap_or_else(PoisonError::into_inner);
        pool = woken;
        pool.idle -= 1;
        if wait.timed_out() && pool.queue.is_empty() {
            pool.threads -= 1;
            return;
        }
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn more_work_than_threads_is_all_done() {
        let (sender, receiver) = mpsc::channel();
        for number in 0..200 {
            let sender = sender.clone();
            run(move || sender.send(number).expect("received"));
        }
        let mut done: Vec<i32> = receiver.iter().take(200).collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..200));
        assert!(lock().threads <= THREADS_MAX);
    }

    #[test]
    fn a_panic_costs_no_thread() {
        for _ in 0..THREADS_MAX * 2 {
            run(|| panic!("expected"));
        }
        let (sender, receiver) = mpsc::channel();
        run(move || sender.send(()).expect("received"));
        receiver.recv().expect("done");
    }
}
