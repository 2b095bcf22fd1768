//! The watchdog: names handlers that hold their thread.
//!
//! While a handler computes or blocks, every other connection of its thread waits. The watchdog looks at the signs of
//! life of each handler's thread ([`Beat`]) a few times per [`Config::thread_hold_warning`] and logs a handler that is
//! still in the same poll after that time, once. It counts its own looks and not the time, so a process that stood
//! still accuses nobody.
//!
//! [`Config::thread_hold_warning`]: crate::Config::thread_hold_warning

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::engine::lifecycle::Lifecycle;
use crate::executor::{Beat, RunQueue};

/// Looks in a row that find the same poll before it is logged.
const LOOKS: u32 = 4;

/// Least time between two looks.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// A thread that runs handlers.
pub(super) struct Watched {
    queue: Arc<RunQueue>,
    role: Role,
    seen: Beat,
    since: Instant,
    looks: u32,
}

/// The role of a watched thread.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// It is a worker, with inline handlers.
    Worker(usize),
    /// It runs the handlers of a worker on the worker's core.
    SameCore(usize),
    /// It is one of the shared handler threads.
    Handlers(usize),
}

impl Watched {
    pub(super) fn new(queue: Arc<RunQueue>, role: Role) -> Self {
        let seen = queue.beat();
        Self { queue, role, seen, since: Instant::now(), looks: 0 }
    }

    /// Looks at the thread, and logs a handler that has held it for [`LOOKS`] looks.
    fn check(&mut self) {
        let beat = self.queue.beat();
        if beat != self.seen || !beat.is_busy() {
            (self.seen, self.since, self.looks) = (beat, Instant::now(), 0);
            return;
        }
        self.looks = self.looks.saturating_add(1);
        if self.looks == LOOKS
            && let Some((handler, peer)) = self.queue.holder(beat)
        {
            let (seconds, role) = (self.since.elapsed().as_secs_f32(), self.role);
            let (thread, advice) = role.describe();
            let peer = peer.map_or_else(String::new, |peer| format!(" (peer {peer})"));
            log::warn!("{handler} has held {thread} for {seconds:.1} s{peer}; {advice}");
        }
    }
}

impl Role {
    /// Returns the name of the thread, and advice to the author of a handler that holds it.
    fn describe(self) -> (String, &'static str) {
        match self {
            Self::Worker(index) => (
                format!("worker {index}"),
                "handlers on a worker's thread must not block, use blocking() or HandlerPlacement::Threads",
            ),
            Self::SameCore(index) => (
                format!("the handler thread of worker {index}"),
                "handlers must not block, use blocking() or HandlerPlacement::Threads",
            ),
            Self::Handlers(number) => (
                format!("handler thread {number}"),
                "the other connections of the thread wait, use blocking() or more threads",
            ),
        }
    }
}

/// Watches `threads` from a thread until all workers have ended or [`Lifecycle::close`] is called.
pub(super) fn spawn(
    mut threads: Vec<Watched>,
    warning: Duration,
    lifecycle: Arc<Lifecycle>,
) -> std::io::Result<JoinHandle<()>> {
    let watch = move || {
        while lifecycle.runs_for((warning / LOOKS).max(LOOK_MIN)) {
            threads.iter_mut().for_each(Watched::check);
        }
    };
    thread::Builder::new().name("tidegate-watchdog".to_owned()).spawn(watch)
}
