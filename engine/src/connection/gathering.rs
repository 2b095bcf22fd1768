//! The memory and the pace of one message that is being gathered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::error::GatheringError;
use crate::shared::memory::Waiting;
use crate::shared::worker_shared::WorkerShared;
use crate::time::{Sleep, Timer};

/// The part of the [`MemoryBudget`](crate::MemoryBudget) that one message or body uses while it is being gathered, and
/// the rate at which it arrives. For protocols that gather messages larger than [`STEP_BYTES`](Self::STEP_BYTES);
/// smaller ones need none. Dropping it returns the memory. It does no I/O: the reader tells it what it holds, what has
/// arrived and when it waits.
///
/// ```no_run
/// use std::future::poll_fn;
/// use std::task::Poll;
/// use tidegate_engine::{Connection, Gathering};
///
/// /// Gathers everything that the peer sends.
/// async fn gather(mut connection: Connection) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
///     let (mut gathering, mut bytes) = (None, Vec::new());
///     loop {
///         if bytes.len() >= Gathering::STEP_BYTES {
///             let gathering = gathering.get_or_insert_with(|| Gathering::new(&connection));
///             poll_fn(|cx| gathering.poll_reserve(cx, bytes.len())).await?;
///         }
///         let received = poll_fn(|cx| match (connection.poll_receive(cx), &mut gathering) {
///             (Poll::Pending, Some(gathering)) => gathering.poll_too_slow(cx).map(|error| Err(error.into())),
///             (received, _) => received.map_err(Box::<dyn std::error::Error>::from),
///         });
///         let Some(chunk) = received.await? else { return Ok(bytes) };
///         if let Some(gathering) = &mut gathering {
///             gathering.note_received(chunk.len());
///         }
///         bytes.extend_from_slice(&chunk);
///     }
/// }
/// ```
pub struct Gathering {
    worker: Arc<WorkerShared>,
    drawn: usize,
    wait: Option<(Waiting, Sleep)>,
    /// Time without progress: grows while the peer is waited for, shrinks with what arrives.
    debt: Duration,
    look: Option<Look>,
}

/// A wait for the peer until the next look at its pace.
struct Look {
    since: Instant,
    /// The most time that it adds to the debt: if this process is late, the peer is not charged for it.
    length: Duration,
    sleep: Sleep,
}

/// The longest time between two looks. In between the budget can become short.
const LOOK_MAX: Duration = Duration::from_secs(1);

impl Gathering {
    /// The bytes of a message that are not counted, and the steps in which more are drawn.
    pub const STEP_BYTES: usize = 64 * 1024;

    /// Creates the record of a message that arrives on `connection`. It holds nothing yet.
    pub fn new(connection: &Connection) -> Self {
        let worker = Arc::clone(connection.sender().shared.worker());
        Self { worker, drawn: 0, wait: None, debt: Duration::ZERO, look: None }
    }

    /// Waits until one more step can be gathered beyond `held_bytes`. To be called before more of the message is read,
    /// from [`STEP_BYTES`](Self::STEP_BYTES) on. While it is pending the connection should not be read.
    ///
    /// # Errors
    /// [`GatheringError::MemorySpent`]: drop what was gathered, and close the connection.
    pub fn poll_reserve(&mut self, cx: &mut Context<'_>, held_bytes: usize) -> Poll<Result<(), GatheringError>> {
        self.end_look();
        let needed = Self::drawn_by(held_bytes);
        if self.try_draw(needed) {
            return Poll::Ready(Ok(()));
        }
        let memory = &self.worker.engine.memory;
        if self.drawn > 0 && self.drawn >= memory.fair_share() {
            memory.count_refusal();
            return Poll::Ready(Err(GatheringError::MemorySpent));
        }
        let timer = || Timer::new(Arc::clone(&self.worker));
        let (waiting, sleep) =
            self.wait.get_or_insert_with(|| (memory.begin_waiting(), timer().sleep(memory.limits().wait_timeout)));
        waiting.wake(cx.waker());
        let is_over = Pin::new(sleep).poll(cx).is_ready();
        // Memory that came back before the waker was in place woke nobody.
        if self.try_draw(needed) {
            return Poll::Ready(Ok(()));
        }
        if is_over {
            self.wait = None;
            self.worker.engine.memory.count_refusal();
            return Poll::Ready(Err(GatheringError::MemorySpent));
        }
        Poll::Pending
    }

    /// Draws what a message that holds `bytes` has drawn, if there is as much now. Returns whether it did. For a
    /// message whose next bytes are received into its memory together ([`Filling`](crate::Filling)); it can go on in
    /// steps if there is less.
    pub fn try_reserve(&mut self, bytes: usize) -> bool {
        bytes < Self::STEP_BYTES || self.try_draw(Self::drawn_by(bytes))
    }

    /// Returns what a message that holds this many bytes draws: one step more.
    fn drawn_by(bytes: usize) -> usize {
        bytes.div_ceil(Self::STEP_BYTES).saturating_add(1).saturating_mul(Self::STEP_BYTES)
    }

    /// Draws up to `needed` bytes in all.
    fn try_draw(&mut self, needed: usize) -> bool {
        let drawn = needed <= self.drawn || self.worker.engine.memory.take(needed - self.drawn, self.drawn == 0);
        if drawn {
            self.drawn = self.drawn.max(needed);
            self.wait = None;
        }
        drawn
    }

    /// Records that bytes of the message have arrived, as they came from the network.
    pub fn note_received(&mut self, bytes: usize) {
        self.end_look();
        let rate = self.worker.engine.memory.limits().rate_min.max(1);
        self.debt = self.debt.saturating_sub(Duration::from_secs_f64(bytes as f64 / f64::from(rate)));
    }

    /// Completes when the message has arrived too slowly. To be polled while nothing of it is there to be read.
    pub fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<GatheringError> {
        let memory = &self.worker.engine.memory;
        let limits = memory.limits();
        if limits.rate_min == 0 {
            return Poll::Pending;
        }
        loop {
            if let Some(look) = &mut self.look {
                if Pin::new(&mut look.sleep).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.debt += look.length;
                self.look = None;
            }
            let grace = if memory.is_short() { limits.grace.min(limits.grace_when_spent) } else { limits.grace };
            if self.debt >= grace {
                return Poll::Ready(GatheringError::TooSlow);
            }
            let length = (grace - self.debt).min(LOOK_MAX);
            let sleep = Timer::new(Arc::clone(&self.worker)).sleep(length);
            self.look = Some(Look { since: self.worker.clock.instant(), length, sleep });
        }
    }

    /// Ends a wait for the peer, and adds it to the debt.
    fn end_look(&mut self) {
        if let Some(look) = self.look.take() {
            self.debt += self.worker.clock.instant().saturating_duration_since(look.since).min(look.length);
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        if self.drawn > 0 {
            self.worker.engine.memory.give_back(self.drawn);
        }
    }
}

impl fmt::Debug for Gathering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathering").field("drawn_bytes", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::config::{InboundMarks, MemoryConfig, OutboundMarks};
    use crate::shared::command::Command;
    use crate::shared::engine_shared::EngineShared;
    use crate::shared::memory::MemoryBudget;
    use crate::shared::signal::Signal;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Returns a worker that the test plays, with the default limits and a budget of this many steps.
    fn worker(steps: usize) -> Arc<WorkerShared> {
        let inbound = InboundMarks { bytes_high: 1000, bytes_low: 100, chunks_high: 100, chunks_low: 10 };
        let outbound = OutboundMarks { bytes_high: 1000, bytes_low: 100 };
        let memory = MemoryBudget::new(MemoryConfig::default(), steps * Gathering::STEP_BYTES);
        let engine = Arc::new(EngineShared::new(memory));
        WorkerShared::new(0, Signal::new(|| {}), Instant::now(), inbound, outbound, engine)
    }

    fn message(worker: &Arc<WorkerShared>) -> Gathering {
        Gathering { worker: Arc::clone(worker), drawn: 0, wait: None, debt: Duration::ZERO, look: None }
    }

    /// Returns a message with the default limits (60 s of grace), whose clock the test plays too.
    fn gathering() -> Gathering {
        message(&worker(100))
    }

    /// Asks for a step beyond this many.
    fn reserve(gathering: &mut Gathering, steps: usize, waker: &Waker) -> Poll<Result<(), GatheringError>> {
        gathering.poll_reserve(&mut Context::from_waker(waker), steps * Gathering::STEP_BYTES)
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets time pass in which the reader waits and the process stands still.
    fn stand_still(gathering: &mut Gathering, duration: Duration) {
        gathering.look.as_mut().expect("the reader waits").since -= duration;
    }

    /// Ends the sleep until the next look, as the worker does.
    fn fire(gathering: &Gathering) {
        let mut commands = Vec::new();
        gathering.worker.mailbox.take(&mut commands);
        for command in commands {
            if let Command::Sleep(entry) = command {
                entry.fire();
            }
        }
    }

    /// Returns the number of looks until the message is too slow. Between two of them `wait` happens.
    fn looks_until_too_slow(gathering: &mut Gathering, wait: impl Fn(&mut Gathering)) -> u32 {
        let mut looks = 0;
        let mut cx = Context::from_waker(Waker::noop());
        while gathering.poll_too_slow(&mut cx).is_pending() {
            wait(gathering);
            looks += 1;
        }
        looks
    }

    #[test]
    fn a_late_process_charges_at_most_a_second_before_it_reads_what_arrived() {
        let looks = looks_until_too_slow(&mut gathering(), |gathering| {
            stand_still(gathering, HOUR);
            gathering.note_received(0);
        });
        assert_eq!(looks, 60);
    }

    #[test]
    fn a_late_timer_charges_at_most_a_second() {
        let looks = looks_until_too_slow(&mut gathering(), |gathering| {
            stand_still(gathering, HOUR);
            fire(gathering);
        });
        assert_eq!(looks, 60);
    }

    #[test]
    fn memory_is_drawn_a_step_ahead_and_comes_back() {
        let worker = worker(8);
        let memory = &worker.engine.memory;
        let used = || (memory.bytes() / Gathering::STEP_BYTES, memory.messages());
        let mut first = message(&worker);
        for (steps, drawn) in [(1, 2), (2, 3), (1, 3)] {
            assert_eq!(reserve(&mut first, steps, Waker::noop()), Poll::Ready(Ok(())));
            assert_eq!(used(), (drawn, 1));
        }
        let mut second = message(&worker);
        assert_eq!(reserve(&mut second, 1, Waker::noop()), Poll::Ready(Ok(())));
        assert_eq!(used(), (5, 2));
        drop(message(&worker));
        assert_eq!(used(), (5, 2), "a message that has drawn nothing gives nothing back");
        drop(first);
        assert_eq!(used(), (2, 1));
        drop(second);
        assert_eq!((used(), memory.refused_total()), ((0, 0), 0));
    }

    #[test]
    fn the_memory_of_many_steps_is_drawn_together_or_not_at_all() {
        let worker = worker(4);
        let memory = &worker.engine.memory;
        let mut message = message(&worker);
        assert!(message.try_reserve(Gathering::STEP_BYTES - 1) && memory.bytes() == 0, "a step is not counted");
        assert!(!message.try_reserve(4 * Gathering::STEP_BYTES));
        assert_eq!((memory.bytes(), memory.refused_total(), memory.is_short()), (0, 0, false));
        assert!(message.try_reserve(2 * Gathering::STEP_BYTES));
        assert_eq!((memory.bytes(), memory.messages()), (3 * Gathering::STEP_BYTES, 1));
        assert!(message.try_reserve(Gathering::STEP_BYTES), "it is drawn already");
        assert_eq!(memory.bytes(), 3 * Gathering::STEP_BYTES);
    }

    #[test]
    fn a_message_with_its_share_is_refused_at_once_and_a_smaller_one_waits() {
        let worker = worker(4);
        let memory = &worker.engine.memory;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let (mut large, mut small) = (message(&worker), message(&worker));
        assert!(reserve(&mut large, 3, &waker).is_ready());
        for _ in 0..2 {
            assert!(reserve(&mut small, 1, &waker).is_pending());
            assert!(memory.is_short());
        }
        assert_eq!(reserve(&mut large, 4, &waker), Poll::Ready(Err(GatheringError::MemorySpent)));
        assert_eq!((memory.refused_total(), wakes.0.load(Ordering::Relaxed)), (1, 0));
        drop(large);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(reserve(&mut small, 1, &waker), Poll::Ready(Ok(())));
        assert!(!memory.is_short());
        assert_eq!(memory.refused_total(), 1);
    }

    #[test]
    fn a_message_below_its_share_waits_for_more() {
        let worker = worker(6);
        let (mut large, mut small) = (message(&worker), message(&worker));
        assert!(reserve(&mut large, 3, Waker::noop()).is_ready());
        assert!(reserve(&mut small, 1, Waker::noop()).is_ready());
        assert!(reserve(&mut small, 2, Waker::noop()).is_pending(), "it holds two steps, and its share is three");
        drop(large);
        assert_eq!(reserve(&mut small, 2, Waker::noop()), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_message_that_has_waited_for_long_enough_is_refused() {
        let worker = worker(2);
        let memory = &worker.engine.memory;
        let (mut first, mut second) = (message(&worker), message(&worker));
        assert!(reserve(&mut first, 1, Waker::noop()).is_ready());
        assert!(reserve(&mut second, 1, Waker::noop()).is_pending());
        fire(&second);
        assert_eq!(reserve(&mut second, 1, Waker::noop()), Poll::Ready(Err(GatheringError::MemorySpent)));
        assert_eq!((memory.refused_total(), memory.is_short()), (1, false));
    }

    #[test]
    fn the_last_look_is_as_long_as_what_is_left_of_the_grace() {
        let mut gathering = gathering();
        gathering.debt = Duration::from_millis(59_500);
        assert!(gathering.poll_too_slow(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(gathering.look.as_ref().map(|look| look.length), Some(Duration::from_millis(500)));
        fire(&gathering);
        let looked = gathering.poll_too_slow(&mut Context::from_waker(Waker::noop()));
        assert_eq!(looked, Poll::Ready(GatheringError::TooSlow));
    }

    #[test]
    fn the_bytes_of_a_second_at_the_least_rate_pay_for_a_second() {
        let mut gathering = gathering();
        gathering.debt = Duration::from_secs(10);
        gathering.note_received(MemoryConfig::default().rate_min as usize / 2);
        assert_eq!(gathering.debt, Duration::from_millis(9500));
    }

    #[test]
    fn bytes_pay_for_the_time_in_which_they_arrive() {
        let rate = MemoryConfig::default().rate_min as usize;
        let mut gathering = gathering();
        let mut cx = Context::from_waker(Waker::noop());
        // Far longer than the grace, at the least rate.
        for _ in 0..1000 {
            assert!(gathering.poll_too_slow(&mut cx).is_pending());
            fire(&gathering);
            assert!(gathering.poll_too_slow(&mut cx).is_pending(), "one second of sixty");
            gathering.note_received(rate * 2);
        }
    }
}
