//! The way of a fan-out's members and messages to one worker.
//!
//! Whoever joins, leaves or publishes puts that into the lane's inbox; the first to do so while the lane rests tells the
//! worker, once, whatever follows. The worker takes all of it when it comes round, and lets the lane rest only when it
//! finds the inbox empty under its lock: nothing is left unseen.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::members::{Member, Members, MembershipId};
use super::publication::Publication;
use crate::shared::worker_shared::WorkerShared;
use crate::util::sync::Mutex;

/// What is asked of a lane.
pub(super) enum Op {
    Join(Member),
    Leave(MembershipId),
    Publish(Arc<Publication>),
}

/// The members of one fan-out that one worker serves, and the way to them.
pub(crate) struct Lane {
    pub(super) worker: Arc<WorkerShared>,
    pub(super) inbox: Inbox<Op>,
    /// The worker's own; it takes this while it has something to do with it.
    members: Mutex<Option<Box<Members>>>,
    /// Members that have joined and have neither left nor been removed.
    pub(super) present: AtomicUsize,
}

impl Lane {
    pub(super) fn new(worker: Arc<WorkerShared>) -> Arc<Self> {
        Arc::new(Self { worker, inbox: Inbox::new(), members: Mutex::new(None), present: AtomicUsize::new(0) })
    }

    /// Asks for something; true if the worker must be told.
    pub(super) fn ask(&self, op: Op) -> bool {
        self.inbox.push(op)
    }

    pub(super) fn is_of(&self, worker: &Arc<WorkerShared>) -> bool {
        Arc::ptr_eq(&self.worker, worker)
    }

    pub(super) fn present(&self) -> usize {
        self.present.load(Ordering::Relaxed)
    }

    /// The worker begins to work for this lane.
    pub(crate) fn take_members(&self) -> Box<Members> {
        self.members.lock().take().unwrap_or_default()
    }

    /// The worker has nothing to do for this lane any more.
    pub(crate) fn give_members(&self, members: Box<Members>) {
        *self.members.lock() = Some(members);
    }

    /// No worker will come: lets everything go, and so answers those who wait.
    pub(crate) fn abandon(&self) {
        let mut ops = Vec::new();
        while self.inbox.take_or_rest(&mut ops) {
            ops.clear();
        }
        drop(self.members.lock().take());
    }
}

/// A queue that tells its consumer when it stops being at rest, and never between.
pub(super) struct Inbox<T>(Mutex<Waiting<T>>);

struct Waiting<T> {
    items: Vec<T>,
    /// The consumer was told and has not let the queue rest since.
    notified: bool,
}

impl<T> Inbox<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Waiting { items: Vec::new(), notified: false }))
    }

    /// Queues an item; true if the consumer must be told.
    pub(super) fn push(&self, item: T) -> bool {
        let mut waiting = self.0.lock();
        waiting.items.push(item);
        !std::mem::replace(&mut waiting.notified, true)
    }

    /// Moves what is queued into `into`, which must be empty; there may be nothing.
    pub(super) fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.0.lock().items, into);
    }

    /// The same; false if there is nothing, and then the queue rests.
    pub(super) fn take_or_rest(&self, into: &mut Vec<T>) -> bool {
        debug_assert!(into.is_empty());
        let mut waiting = self.0.lock();
        if waiting.items.is_empty() {
            waiting.notified = false;
            return false;
        }
        std::mem::swap(&mut waiting.items, into);
        true
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    /// Two producers tell a consumer that lets the queue rest whenever it is empty: it gets all items, and is told
    /// exactly as often as the queue had rested before an item came.
    #[test]
    fn loom_no_item_stays_in_a_resting_inbox() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::new());
            let notified = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
            let producers: Vec<_> = (0..2)
                .map(|item| {
                    let (inbox, notified) = (Arc::clone(&inbox), Arc::clone(&notified));
                    loom::thread::spawn(move || {
                        if inbox.push(item) {
                            notified.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            let (mut seen, mut rests) = (Vec::new(), 0);
            let work = |seen: &mut Vec<i32>| {
                let mut items = Vec::new();
                while inbox.take_or_rest(&mut items) {
                    seen.append(&mut items);
                }
            };
            // The consumer works once for each time it was told, as a worker does for each command.
            if notified.load(Ordering::SeqCst) > rests {
                rests += 1;
                work(&mut seen);
            }
            for producer in producers {
                producer.join().unwrap();
            }
            while notified.load(Ordering::SeqCst) > rests {
                rests += 1;
                work(&mut seen);
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1]);
        });
    }
}
