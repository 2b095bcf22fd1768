//! The path of a fan-out's members and messages to one worker.
//!
//! Joining, leaving and publishing put an op into the lane's inbox. The first op into a resting lane notifies the
//! worker, once. The worker takes all ops in its tick, and lets the lane rest only when it finds the inbox empty under
//! its lock, so no op is missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::members::{Member, Members, Presence};
use super::publication::Publication;
use super::slow_hook::SlowHook;
use crate::shared::ConnShared;
use crate::shared::worker_shared::WorkerShared;
use crate::util::sync::Mutex;

/// An operation on a lane.
pub(super) enum LaneOp {
    Join(Member),
    Leave(Arc<Presence>),
    Publish(Arc<Publication>),
    /// The connection has published what is before this, and its sends wait for the delivery.
    Release(Arc<ConnShared>),
}

/// The members of one fan-out that one worker serves, and their inbox.
pub(crate) struct Lane {
    pub(super) worker: Arc<WorkerShared>,
    pub(super) inbox: LaneInbox<LaneOp>,
    /// The worker's side. The worker takes it for the time of a delivery.
    members: Mutex<Option<Box<Members>>>,
    /// Current number of members.
    pub(super) present: AtomicUsize,
    pub(super) slow_hook: SlowHook,
}

impl Lane {
    pub(super) fn new(worker: Arc<WorkerShared>, slow_hook: SlowHook) -> Arc<Self> {
        let (inbox, members, present) = (LaneInbox::new(), Mutex::new(None), AtomicUsize::new(0));
        Arc::new(Self { worker, inbox, members, present, slow_hook })
    }

    pub(super) fn is_of(&self, worker: &Arc<WorkerShared>) -> bool {
        Arc::ptr_eq(&self.worker, worker)
    }

    pub(super) fn present(&self) -> usize {
        self.present.load(Ordering::Relaxed)
    }

    /// Takes the members for a delivery.
    pub(crate) fn take_members(&self) -> Box<Members> {
        self.members.lock().take().unwrap_or_default()
    }

    /// Returns the members after a delivery.
    pub(crate) fn give_members(&self, members: Box<Members>) {
        *self.members.lock() = Some(members);
    }

    /// Drops all ops and members, and so completes their receipts: the worker has ended.
    pub(crate) fn abandon(&self) {
        let mut ops = Vec::new();
        while self.inbox.take_or_rest(&mut ops) {
            for op in ops.drain(..) {
                if let LaneOp::Join(member) = op {
                    member.presence.end(self);
                }
            }
        }
        let members = self.members.lock().take();
        members.into_iter().for_each(|members| members.abandon(self));
    }
}

/// A queue whose consumer is notified when it stops resting, and never in between.
pub(super) struct LaneInbox<T>(Mutex<Waiting<T>>);

struct Waiting<T> {
    items: Vec<T>,
    /// The consumer was notified and has not let the queue rest since.
    notified: bool,
}

impl<T> LaneInbox<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Waiting { items: Vec::new(), notified: false }))
    }

    /// Queues an item. Returns whether the consumer must be notified.
    #[must_use = "a consumer that is not notified leaves the item where it is"]
    pub(super) fn push(&self, item: T) -> bool {
        self.push_all([item])
    }

    /// Queues items, at least one, in one step: the consumer takes all of them or none. Returns whether it must be
    /// notified.
    #[must_use = "a consumer that is not notified leaves the items where they are"]
    pub(super) fn push_all(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut waiting = self.0.lock();
        waiting.items.extend(items);
        !std::mem::replace(&mut waiting.notified, true)
    }

    /// Moves everything queued into `into`, which must be empty.
    pub(super) fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.0.lock().items, into);
    }

    /// Moves everything queued into `into`, which must be empty. If nothing is queued, lets the queue rest and returns
    /// false.
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

    /// Two producers and a consumer that lets the queue rest whenever it is empty: the consumer gets all items.
    #[test]
    fn loom_no_item_stays_in_a_resting_inbox() {
        loom::model(|| {
            let inbox = Arc::new(LaneInbox::new());
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
            // The consumer works once per notification, as a worker does per command.
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
