//! The state that a worker and a connection's handler share: two bounded buffers, the deadlines and the worker's
//! mailbox.
//!
//! Lock order: at most one lock of a connection is held at a time, and none while calling a waker or posting a command.

pub(crate) mod attempt;
pub(crate) mod chunk;
pub(crate) mod command;
pub(crate) mod deadlines;
pub(crate) mod engine_shared;
pub(crate) mod file_part;
pub(crate) mod fill;
pub(crate) mod inbound;
pub(crate) mod key;
pub(crate) mod lease;
pub(crate) mod mailbox;
pub(crate) mod memory;
pub(crate) mod outbound;
pub(crate) mod ready_queue;
pub(crate) mod send_batch;
pub(crate) mod signal;
pub(crate) mod waiters;
pub(crate) mod wake_scope;
pub(crate) mod worker_shared;

use std::ptr;
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::Waker;

use crate::address::{Address, StoredAddress};
use crate::shared::command::Command;
use crate::shared::deadlines::Deadlines;
use crate::shared::inbound::Inbound;
use crate::shared::key::ConnKey;
use crate::shared::outbound::{Outbound, Schedule};
use crate::shared::ready_queue::{Ready, ReadyQueue};
use crate::shared::worker_shared::WorkerShared;
#[cfg(feature = "tls")]
use crate::tls::TlsInfo;
use crate::util::biased_lock::{BiasedPair, FirstGuard, SecondGuard};
use crate::util::task;

/// The shared state of one connection.
///
/// Fields are in the order of use, so that a message touches few cache lines.
#[repr(C)]
pub(crate) struct ConnShared {
    pub(crate) key: ConnKey,
    queues: BiasedPair<Outbound, Inbound>,
    /// [`PARKED`] or [`KNOWN`] while the reader waits with its waker stored, and cleared by whichever event wakes it.
    /// Written under the inbound lock; a known reader that is polled again stays pending without taking the lock.
    reader: AtomicU8,
    /// [`DRAINING`] and [`FINISHED`].
    ends: AtomicU8,
    /// The chunks that the reader has taken since it last waited or yielded. The reader's alone.
    pub(crate) turn_chunks: AtomicU8,
    /// The table of the executor that has the handler's end as an endpoint, from 1; 0 while the handler is a task.
    table: AtomicU8,
    /// The place of the handler's task or endpoint in its executor's table, written by the executor alone.
    pub(crate) task: AtomicU32,
    /// Shared, because the connections of a listener have only a few different ones.
    pub(crate) local: Arc<LocalEnd>,
    pub(crate) deadlines: Deadlines,
    peer: StoredAddress,
}

/// The reader does not wait.
const AWAKE: u8 = 0;
/// The reader waits, in whatever polled it.
const PARKED: u8 = 1;
/// The reader waits as an endpoint, or in the connection's current task.
const KNOWN: u8 = 2;

/// A graceful shutdown has begun.
const DRAINING: u8 = 1;
/// The outbound queue takes no more bytes. Readers check this instead of locking the queue.
const FINISHED: u8 = 2;

// One of these, with the two counts of an `Arc`, exists for each of very many idle connections: 152 bytes, which is all
// that an allocator with blocks of 160 bytes gives.
#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = assert!(size_of::<ConnShared>() <= 152 - 2 * size_of::<usize>());

/// The end of a connection at this process.
pub(crate) struct LocalEnd {
    pub(crate) worker: Arc<WorkerShared>,
    /// The queue of the executor that runs the handler, for an endpoint.
    pub(crate) ready: Arc<ReadyQueue>,
    pub(crate) address: Address,
    /// The number of the listener that accepted it, or [`OUTBOUND`](Self::OUTBOUND).
    pub(crate) listener: usize,
    /// What the TLS handshake agreed on, once it is complete; `None` without TLS. With TLS each connection has its own
    /// local end.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<OnceLock<TlsInfo>>,
}

impl LocalEnd {
    /// Stands for the listener of a connection that was not accepted.
    pub(crate) const OUTBOUND: usize = usize::MAX;

    pub(crate) fn new(worker: &Arc<WorkerShared>, ready: &Arc<ReadyQueue>, address: Address, listener: usize) -> Self {
        Self {
            worker: Arc::clone(worker),
            ready: Arc::clone(ready),
            address,
            listener,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Returns the local end of a connection with TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(self) -> Self {
        Self { tls: Some(OnceLock::new()), ..self }
    }

    /// Returns whether connections of one worker without TLS can share one of the two.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let is_same_place = self.address == other.address && self.listener == other.listener;
        is_same_place && Arc::ptr_eq(&self.ready, &other.ready)
    }
}

impl ConnShared {
    pub(crate) fn new(key: ConnKey, peer: Address, local: Arc<LocalEnd>) -> Arc<Self> {
        Arc::new(Self {
            key,
            queues: BiasedPair::new(Outbound::new(), Inbound::new()),
            deadlines: Deadlines::new(),
            reader: AtomicU8::new(AWAKE),
            ends: AtomicU8::new(0),
            turn_chunks: AtomicU8::new(0),
            table: AtomicU8::new(0),
            task: AtomicU32::new(0),
            peer: StoredAddress::new(peer),
            local,
        })
    }

    #[inline]
    pub(crate) fn lock_inbound(&self) -> SecondGuard<'_, Outbound, Inbound> {
        self.queues.lock_second()
    }

    #[inline]
    pub(crate) fn lock_outbound(&self) -> FirstGuard<'_, Outbound, Inbound> {
        self.queues.lock_first()
    }

    #[inline]
    pub(crate) fn worker(&self) -> &Arc<WorkerShared> {
        &self.local.worker
    }

    pub(crate) fn peer(&self) -> Address {
        self.peer.get()
    }

    /// Returns what the TLS handshake agreed on.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> Option<&TlsInfo> {
        self.local.tls.as_ref()?.get()
    }

    /// Notes what the TLS handshake agreed on, before the handler starts.
    #[cfg(feature = "tls")]
    pub(crate) fn set_tls(&self, info: TlsInfo) {
        if let Some(tls) = &self.local.tls {
            let _ = tls.set(info);
        }
    }

    pub(crate) fn post(&self, command: Command) {
        wake_scope::post(self.worker(), command);
    }

    /// Notifies the worker of queued bytes, if it is not yet scheduled to send.
    pub(crate) fn notify(&self, schedule: Schedule) {
        if schedule == Schedule::NeedsWake {
            wake_scope::post(self.worker(), Command::Flush(self.key));
        }
    }

    /// Applies a change that can end the outbound queue. Every such change goes through here, so that the flag is set
    /// before any task is woken for it.
    pub(crate) fn end_outbound<T>(&self, end: impl FnOnce(&mut Outbound) -> T) -> T {
        let mut outbound = self.lock_outbound();
        let answer = end(&mut outbound);
        let mut dropped = None;
        if outbound.check_open().is_err() {
            self.ends.fetch_or(FINISHED, Ordering::Release);
            dropped = Some(outbound.take_dropped());
        }
        drop(outbound);
        drop(dropped);
        answer
    }

    /// Lets sends that were held behind a publication go on.
    pub(crate) fn end_behind(&self) {
        let (schedule, waiting) = self.lock_outbound().end_behind();
        self.notify(schedule);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Makes the handler's end an endpoint: from now on its reader is woken through the queue of its executor. Returns
    /// the waker of the task that read before, to be dropped.
    pub(crate) fn become_endpoint(&self, ready: Ready) -> Option<Waker> {
        let mut inbound = self.lock_inbound();
        self.reader.store(AWAKE, Ordering::Release);
        self.task.store(ready.place, Ordering::Relaxed);
        self.table.store(ready.table + 1, Ordering::Release);
        inbound.take_waker()
    }

    pub(crate) fn is_endpoint(&self) -> bool {
        self.table.load(Ordering::Acquire) != 0
    }

    fn as_ready(&self) -> Ready {
        let table = self.table.load(Ordering::Acquire).saturating_sub(1);
        Ready { table, place: self.task.load(Ordering::Relaxed) }
    }

    /// Leaves the reader's waker in the buffer, which must be empty and open. The waker of an endpoint is not stored:
    /// it is made from the endpoint's place.
    #[inline]
    pub(crate) fn park_reader(&self, inbound: &mut Inbound, waker: &Waker) {
        let is_known = if self.is_endpoint() {
            true
        } else {
            inbound.set_waker(waker);
            self.is_task_of(waker)
        };
        self.reader.store(if is_known { KNOWN } else { PARKED }, Ordering::Release);
    }

    /// Leaves the reader's waker in the buffer, whatever is in it. A reader that waits goes on waiting.
    pub(crate) fn set_reader(&self, inbound: &mut Inbound, waker: &Waker) {
        inbound.set_waker(waker);
        if !self.is_endpoint() && !self.is_task_of(waker) {
            self.forget_task(inbound);
        }
    }

    /// Notes that the connection gets another task, or that another waker than its task's is in the buffer.
    pub(crate) fn forget_task(&self, _locked: &mut Inbound) {
        if self.reader.load(Ordering::Relaxed) == KNOWN {
            self.reader.store(PARKED, Ordering::Release);
        }
    }

    /// Returns whether `waker` is that of the connection's task.
    #[inline]
    fn is_task_of(&self, waker: &Waker) -> bool {
        task::owner_of::<Arc<Self>>(waker).is_some_and(|connection| ptr::eq(Arc::as_ptr(connection), self))
    }

    /// Takes the waker of a waiting reader, to be woken once the lock is released.
    pub(crate) fn take_reader(&self, inbound: &mut Inbound) -> Option<Waker> {
        let waits = self.take_endpoint();
        self.take_task(inbound).or_else(|| waits.then(|| self.local.ready.waker(self.as_ready())))
    }

    /// Takes the waker of a waiting reader that is a task.
    #[inline]
    pub(crate) fn take_task(&self, inbound: &mut Inbound) -> Option<Waker> {
        self.reader.store(AWAKE, Ordering::Release);
        inbound.take_waker()
    }

    /// Returns true once if the reader is an endpoint that waits: [`wake_endpoint`](Self::wake_endpoint) is then due,
    /// once the lock of the inbound buffer is released, in place of [`take_task`](Self::take_task).
    #[inline]
    pub(crate) fn take_endpoint(&self) -> bool {
        let waits = self.is_endpoint() && self.is_reader_parked();
        if waits {
            self.reader.store(AWAKE, Ordering::Release);
        }
        waits
    }

    /// Queues the endpoint to be polled.
    #[inline]
    pub(crate) fn wake_endpoint(&self) {
        self.local.ready.push(self.as_ready());
    }

    /// Notes that nothing reads any more. The lock of the inbound buffer must be held.
    pub(crate) fn end_reading(&self) {
        self.reader.store(AWAKE, Ordering::Release);
    }

    /// Returns whether nothing has happened since the reader left its waker.
    pub(crate) fn is_reader_parked(&self) -> bool {
        self.reader.load(Ordering::Acquire) != AWAKE
    }

    /// Returns whether nothing has happened since the reader left this waker. It can be false although that is so, for
    /// another waker than that of the connection's task.
    #[inline]
    pub(crate) fn is_reader_parked_in(&self, waker: &Waker) -> bool {
        self.reader.load(Ordering::Acquire) == KNOWN && (self.is_task_of(waker) || self.is_endpoint())
    }

    /// Returns whether the outbound queue takes no more bytes.
    pub(crate) fn is_finished(&self) -> bool {
        self.ends.load(Ordering::Acquire) & FINISHED != 0
    }

    /// Notes that a graceful shutdown has begun.
    pub(crate) fn begin_draining(&self) {
        self.ends.fetch_or(DRAINING, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.ends.load(Ordering::Acquire) & DRAINING != 0
    }
}
