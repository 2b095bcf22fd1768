//! One message to many connections.
//!
//! A [`FanOut`] has members, each a connection of some worker. Publishing hands a message over once to each worker that
//! has members, however many they are; the worker hands it to their outbound queues. All of them send from one shared
//! buffer. `lane` is the way to one worker, `members` its walk over the members; `budget` and `receipt` are what a
//! publisher sees of the way.
//!
//! ```text
//! publish ──▶ lane of worker 0: inbox ──▶ round ──▶ member, member, member …   (in slices, one a tick)
//!        └──▶ lane of worker 1: inbox ──▶ round ──▶ member, member …
//! ```
//!
//! Messages that come while a round is under way wait together and are the next round: small ones joined into one
//! buffer, which leaves with one send for each member. Nothing ever waits for a slow member: when its queue is full, its
//! [`SlowMemberPolicy`] says what becomes of it.

mod backlog;
mod budget;
mod lane;
mod members;
mod options;
mod publication;
mod receipt;
mod round;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::sender::ByteSender;
use crate::shared::command::Command;
use crate::shared::wake_scope;
use crate::util::sync::Mutex;

pub(crate) use backlog::{Backlog, BacklogBounds, Key};
pub use budget::PublishBudget;
pub(crate) use lane::Lane;
use lane::Op;
pub(crate) use members::{HandOver, Members};
use members::{Member, MembershipId, Presence};
pub use options::{JoinOptions, MemberId, SlowMemberPolicy};
use publication::Publication;
pub use publication::Publish;
use receipt::Counting;
pub use receipt::{DeliveryReport, Receipt};

/// What publishing can fail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// More is on its way than the [`PublishBudget`] allows.
    #[error("too much is on its way to the members already: wait for it, or publish less")]
    Full,
    /// [`PublishBudget::close`] was called.
    #[error("closed: nothing more can be published")]
    Closed,
}

/// Connections that get the same messages, whichever worker serves them. Cloning it gives another handle of the same;
/// usable from any thread.
///
/// Every member gets the messages in one order, the order of publishing, and each member exactly those that were
/// published between its joining and its leaving. Handing over is like a [`ByteSender::try_send`] to each: a member whose
/// queue is full is not waited for.
///
/// ```no_run
/// use tidegate_engine::{Connection, FanOut, JoinOptions, MemberId, Publish, PublishBudget};
///
/// /// Everybody gets what anybody sends.
/// async fn chat(mut connection: Connection, everybody: FanOut) {
///     let _member = everybody.join(connection.sender(), MemberId::next(), JoinOptions::default());
///     while let Ok(Some(chunk)) = connection.receive().await {
///         if everybody.publish(Publish::new(chunk.into_vec())).is_err() {
///             break;
///         }
///     }
/// }
///
/// let everybody = FanOut::new(PublishBudget::new(8 << 20));
/// ```
#[derive(Clone)]
pub struct FanOut {
    inner: Arc<Inner>,
}

struct Inner {
    budget: PublishBudget,
    /// One for each worker that had a member. Held while something is put into all of them, so that all have it in the
    /// same order.
    lanes: Mutex<Vec<Arc<Lane>>>,
}

impl FanOut {
    /// Without members; what is published counts on `budget`.
    pub fn new(budget: PublishBudget) -> Self {
        Self { inner: Arc::new(Inner { budget, lanes: Mutex::new(Vec::new()) }) }
    }

    /// The budget it was made with.
    pub fn budget(&self) -> &PublishBudget {
        &self.inner.budget
    }

    /// Makes a connection a member until the [`Membership`] is dropped: it gets every message published from now on. A
    /// connection that joins twice is two members.
    pub fn join(&self, sender: &ByteSender, id: MemberId, options: JoinOptions) -> Membership {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let membership_id = NEXT.fetch_add(1, Ordering::Relaxed);
        let member = Member::new(Arc::clone(&sender.shared), id, membership_id, options);
        let presence = Arc::clone(&member.presence);
        let (lane, needs_notify) = {
            let mut lanes = self.inner.lanes.lock();
            let lane = match lanes.iter().find(|lane| lane.is_of(&sender.shared.worker)) {
                Some(lane) => Arc::clone(lane),
                None => {
                    let lane = Lane::new(Arc::clone(&sender.shared.worker));
                    lanes.push(Arc::clone(&lane));
                    lane
                }
            };
            lane.present.fetch_add(1, Ordering::Relaxed);
            let needs_notify = lane.ask(Op::Join(member));
            (lane, needs_notify)
        };
        if needs_notify {
            notify_worker(&lane);
        }
        Membership { lane, membership_id, presence }
    }

    /// Publishes without asking what becomes of it.
    ///
    /// # Errors
    /// [`PublishError::Full`] while more is on its way than the budget allows: wait with
    /// [`PublishBudget::poll_ready`]. [`PublishError::Closed`] once the budget is closed.
    pub fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        self.send(publish, None)
    }

    /// Publishes, and tells what became of it: the [`Receipt`] is complete when every member has got the message or was
    /// found not to take it.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_counted(&self, publish: Publish) -> Result<Receipt, PublishError> {
        let (counting, receipt) = Counting::new();
        self.send(publish, Some(counting))?;
        Ok(receipt)
    }

    /// Members now.
    pub fn len(&self) -> usize {
        self.inner.lanes.lock().iter().map(|lane| lane.present()).sum()
    }

    /// Whether there is no member now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn send(&self, publish: Publish, counting: Option<Counting>) -> Result<(), PublishError> {
        let share = self.inner.budget.take(publish.bytes.len())?;
        let publication = Arc::new(Publication::new(publish, share, counting));
        let mut resting = Vec::new();
        for lane in &*self.inner.lanes.lock() {
            if lane.present() == 0 {
                continue;
            }
            if lane.ask(Op::Publish(Arc::clone(&publication))) {
                resting.push(Arc::clone(lane));
            } else {
                // Who told the worker may have put the wake off to the end of its turn: ours must not wait for that.
                wake_scope::notify(lane.worker.mailbox.signal());
            }
        }
        resting.iter().for_each(notify_worker);
        Ok(())
    }
}

fn notify_worker(lane: &Arc<Lane>) {
    lane.worker.post_now(Command::FanOut(Arc::clone(lane)));
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut").field("members", &self.len()).finish_non_exhaustive()
    }
}

/// A connection's part in a [`FanOut`]. Dropping it leaves: what is published later is not for it.
#[must_use = "dropping it leaves"]
pub struct Membership {
    lane: Arc<Lane>,
    membership_id: MembershipId,
    presence: Arc<Presence>,
}

impl Membership {
    /// Whether it gets what is published: false once the fan-out has removed it, because its connection has ended or it
    /// was slow.
    pub fn is_member(&self) -> bool {
        !self.presence.has_ended()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.presence.end(&self.lane);
        if self.lane.ask(Op::Leave(self.membership_id)) {
            notify_worker(&self.lane);
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("membership_id", &self.membership_id)
            .field("is_member", &self.is_member())
            .finish()
    }
}
