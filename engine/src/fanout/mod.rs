//! One message to many connections.
//!
//! A [`FanOut`] has members, each a connection of some worker. Publishing hands a message once to each worker that has
//! members, however many; the worker queues it for each of them. All of them send from one shared buffer. `lane` leads
//! to one worker, `members` holds its members and walks over them, `round` is one pass of that walk; `budget` and
//! `receipt` are the publisher's side.
//!
//! ```text
//! publish ──▶ lane of worker 0: inbox ──▶ round ──▶ member, member, member …   (in slices, one per tick)
//!        └──▶ lane of worker 1: inbox ──▶ round ──▶ member, member …
//! ```
//!
//! Messages published during a round wait and form the next one: small ones are joined into one buffer, which leaves
//! with one send per member. No message waits for a slow member: if its queue is full, its [`SlowMemberPolicy`]
//! applies.

mod backlog;
mod budget;
mod lane;
mod members;
mod options;
mod publication;
mod receipt;
mod round;
mod slow_hook;
#[cfg(all(test, loom))]
mod tests;

use std::fmt;
use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::connection::sender::ByteSender;
use crate::shared::command::Command;
use crate::shared::wake_scope;
use crate::util::sync::Mutex;

pub(crate) use backlog::{Backlog, BacklogBounds, ConflationKey};
pub use budget::PublishBudget;
use budget::Share;
pub(crate) use lane::Lane;
use lane::LaneOp;
pub(crate) use members::{HandOver, Members};
use members::{Member, MembershipId, Presence};
pub use options::{JoinOptions, MemberId, SlowMemberPolicy};
use publication::Publication;
pub use publication::Publish;
use receipt::Counting;
pub use receipt::{DeliveryReport, Receipt};
pub use slow_hook::SlowHook;

/// An error of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// More is in transit than the [`PublishBudget`] allows.
    #[error("the publish budget is used up: wait with `PublishBudget::poll_ready`, or publish less")]
    Full,
    /// [`PublishBudget::close`] was called.
    #[error("the publish budget is closed: nothing more can be published")]
    Closed,
}

/// A group of connections that get the same messages, whichever worker serves them. Clones are handles to the same
/// group. Usable from any thread.
///
/// All members get the messages in the order of publishing, and each member exactly those published between its joining
/// and its leaving. Delivery works like [`ByteSender::try_send`] to each member: it does not wait for a full queue. A
/// member whose connection has closed is removed by the next message.
///
/// Published messages reach a member's queue through its worker, so their order relative to the bytes that the member's
/// handler sends itself is undefined, unless they are published in its name ([`Publish::publisher`]). A message
/// published without members is accepted, and its receipt is complete at once.
///
/// ```no_run
/// use tidegate_engine::{Connection, FanOut, JoinOptions, MemberId, Publish, PublishBudget};
///
/// /// Sends each message to all connections.
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
    slow_hook: SlowHook,
    /// One lane per worker that had a member. Locked while an op is put into all of them, so that all have the same
    /// order.
    lanes: Mutex<Vec<Arc<Lane>>>,
}

impl FanOut {
    /// Creates a fan-out without members. Published messages count towards `budget`.
    pub fn new(budget: PublishBudget) -> Self {
        Self::with_slow_hook(budget, SlowHook::default())
    }

    /// Creates a fan-out as [`new`](Self::new) does, with a function that is called with slow members.
    pub fn with_slow_hook(budget: PublishBudget, slow_hook: SlowHook) -> Self {
        Self { inner: Arc::new(Inner { budget, slow_hook, lanes: Mutex::new(Vec::new()) }) }
    }

    /// Returns the budget given to [`new`](Self::new).
    pub fn budget(&self) -> &PublishBudget {
        &self.inner.budget
    }

    /// Makes a connection a member until the [`Membership`] is dropped. It gets every message published from now on. A
    /// connection that joins twice counts as two members.
    pub fn join(&self, sender: &ByteSender, id: MemberId, options: JoinOptions) -> Membership {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let membership_id = NEXT.fetch_add(1, Ordering::Relaxed);
        let member = Member::new(Arc::clone(&sender.shared), id, membership_id, options);
        let presence = Arc::clone(&member.presence);
        let (lane, needs_notify) = {
            let mut lanes = self.inner.lanes.lock();
            let lane = match lanes.iter().find(|lane| lane.is_of(sender.shared.worker())) {
                Some(lane) => Arc::clone(lane),
                None => {
                    let lane = Lane::new(Arc::clone(sender.shared.worker()), self.inner.slow_hook.clone());
                    lanes.push(Arc::clone(&lane));
                    lane
                }
            };
            lane.present.fetch_add(1, Ordering::Relaxed);
            let needs_notify = lane.inbox.push(LaneOp::Join(member));
            (lane, needs_notify)
        };
        if needs_notify {
            notify_worker(&lane);
        }
        Membership { lane, membership_id, presence }
    }

    /// Publishes a message without a receipt.
    ///
    /// # Errors
    /// [`PublishError::Full`] while more is in transit than the budget allows: wait with [`PublishBudget::poll_ready`].
    /// [`PublishError::Closed`] once the budget is closed.
    pub fn publish(&self, publish: Publish) -> Result<(), PublishError> {
        self.send(publish, None)
    }

    /// Publishes a message and returns a [`Receipt`], which completes when the message was delivered to, or refused by,
    /// every member.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_counted(&self, publish: Publish) -> Result<Receipt, PublishError> {
        let (counting, receipt) = Counting::new();
        self.send(publish, Some(counting))?;
        Ok(receipt)
    }

    /// Ends the members' connections in order: these bytes follow everything published before as the last ones of each,
    /// and all members are removed. Backlogs of slow members are dropped. Works on a closed budget too. Members that
    /// take only a variant that is missing here stay.
    pub fn finish(&self, last: impl Into<Bytes>, variants: impl IntoIterator<Item = (u32, Bytes)>) {
        let mut publish = Publish::new(last).variants(variants);
        publish.is_last = true;
        let share = self.inner.budget.take_last(publish.bytes.len());
        self.put(publish, share, None);
    }

    /// Returns the current number of members.
    pub fn len(&self) -> usize {
        self.inner.lanes.lock().iter().map(|lane| lane.present()).sum()
    }

    /// Returns whether there are currently no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn send(&self, publish: Publish, counting: Option<Counting>) -> Result<(), PublishError> {
        let share = self.inner.budget.take(publish.bytes.len())?;
        self.put(publish, share, counting);
        Ok(())
    }

    /// Puts a message into the lanes.
    fn put(&self, mut publish: Publish, share: Share, counting: Option<Counting>) {
        let publisher = publish.publisher.take().filter(|(member, _)| publish.is_for(*member));
        let mut behind = publisher.map(|(_, sender)| sender.shared).filter(|own| own.lock_outbound().begin_behind());
        let publication = Arc::new(Publication::new(publish, share, counting));
        let mut resting = Vec::new();
        for lane in &*self.inner.lanes.lock() {
            if lane.present() == 0 {
                continue;
            }
            let release = behind.take_if(|own| lane.is_of(own.worker())).map(LaneOp::Release);
            let publish = LaneOp::Publish(Arc::clone(&publication));
            if lane.inbox.push_all(iter::once(publish).chain(release)) {
                resting.push(Arc::clone(lane));
            } else {
                // The thread that notified the worker may defer the wake to the end of its wake scope; this message
                // must not wait for that.
                wake_scope::notify(lane.worker.mailbox.signal());
            }
        }
        resting.iter().for_each(notify_worker);
        if let Some(own) = behind {
            // Its worker serves no member.
            own.end_behind();
        }
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

/// A connection's membership in a [`FanOut`], from [`FanOut::join`]. Dropping it leaves the group: messages published
/// later are not delivered to it. Keep it as long as the handler runs:
///
/// ```no_run
/// use tidegate_engine::{Connection, FanOut, JoinOptions, MemberId};
///
/// /// Sends the published messages to a peer until it disconnects or was too slow.
/// async fn listen(mut connection: Connection, news: FanOut) {
///     let membership = news.join(connection.sender(), MemberId::next(), JoinOptions::default());
///     while let Ok(Some(_ignored)) = connection.receive().await {
///         if !membership.is_member() {
///             break;
///         }
///     }
/// }
/// ```
#[must_use = "dropping it leaves the fan-out"]
pub struct Membership {
    lane: Arc<Lane>,
    membership_id: MembershipId,
    presence: Arc<Presence>,
}

impl Membership {
    /// Returns whether it still gets messages: false once the fan-out has removed it, because its connection has ended
    /// or was slow.
    pub fn is_member(&self) -> bool {
        !self.presence.has_ended()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.presence.end(&self.lane);
        if self.lane.inbox.push(LaneOp::Leave(Arc::clone(&self.presence))) {
            notify_worker(&self.lane);
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("id", &self.membership_id).field("is_member", &self.is_member()).finish()
    }
}
