//! The wakers and deferred bytes that wait for an outbound queue.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;

use crate::clock::NEVER;
use crate::util::contained::Contained;

/// The identity of a waker, and so of a task, without a reference to it.
pub(crate) type WakerId = (usize, usize);

pub(crate) fn id_of(waker: &Waker) -> WakerId {
    (waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
}

/// The deadlines that few connections have, in ticks of the worker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueDeadlines {
    /// Queued bytes must have left by then.
    pub(crate) write: u64,
    /// The connection must have ended by then.
    pub(crate) lifetime: u64,
    /// The read deadline while it is not near.
    pub(crate) far_read: u64,
}

impl Default for QueueDeadlines {
    fn default() -> Self {
        Self { write: NEVER, lifetime: NEVER, far_read: NEVER }
    }
}

/// State that few queues need: waiting wakers, deferred bytes, deadlines. An idle connection stores one null pointer.
#[derive(Default)]
pub(crate) struct Waiters(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    /// Wakers that wait for space or until queued bytes have left.
    waiting: Vec<Waker>,
    /// Wakers that wait only for the end of the peer or of the connection.
    at_end: Vec<Waker>,
    /// Bytes from fan-outs that wait for the end of exclusive use, in order, because a worker cannot wait.
    deferred: VecDeque<Contained<Bytes>>,
    deferred_bytes: usize,
    /// The task with exclusive use.
    holder: Option<WakerId>,
    /// The connection's own publications that the worker has not delivered.
    undelivered: usize,
    /// Sends that follow them, in order.
    held: VecDeque<Contained<Bytes>>,
    held_bytes: usize,
    deadlines: QueueDeadlines,
    /// The farewell, if it is not a common one.
    farewell: &'static [u8],
}

impl Lists {
    /// Returns whether something other than waiting wakers is kept.
    fn is_needed(&self) -> bool {
        !self.at_end.is_empty()
            || !self.farewell.is_empty()
            || self.deadlines != QueueDeadlines::default()
            || !self.deferred.is_empty()
            || self.holder.is_some()
            || self.undelivered > 0
            || !self.held.is_empty()
    }
}

impl Waiters {
    pub(crate) fn add(&mut self, waker: &Waker) {
        add_once(&mut self.0.get_or_insert_default().waiting, waker);
    }

    pub(crate) fn add_at_end(&mut self, waker: &Waker) {
        add_once(&mut self.0.get_or_insert_default().at_end, waker);
    }

    /// Takes the wakers that wait for the end of the peer.
    pub(crate) fn take_at_end(&mut self) -> Vec<Waker> {
        self.0.as_mut().map_or_else(Vec::new, |lists| std::mem::take(&mut lists.at_end))
    }

    /// Takes the wakers that wait for the queue.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        match &mut self.0 {
            None => Vec::new(),
            Some(lists) if lists.is_needed() => std::mem::take(&mut lists.waiting),
            Some(_) => self.0.take().map_or_else(Vec::new, |lists| lists.waiting),
        }
    }

    /// Keeps bytes for the end of exclusive use.
    pub(crate) fn defer(&mut self, bytes: Bytes) {
        let lists = self.0.get_or_insert_default();
        // Its place counts too, so that empty ones are bounded.
        lists.deferred_bytes += bytes.len() + size_of::<Bytes>();
        lists.deferred.push_back(Contained::new(bytes));
    }

    pub(crate) fn deferred_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |lists| lists.deferred_bytes)
    }

    pub(crate) fn take_deferred(&mut self) -> VecDeque<Contained<Bytes>> {
        let Some(lists) = &mut self.0 else { return VecDeque::new() };
        lists.deferred_bytes = 0;
        std::mem::take(&mut lists.deferred)
    }

    /// Takes all wakers: nothing further will happen to the queue.
    pub(crate) fn take_all_wakers(&mut self) -> Vec<Waker> {
        let Some(lists) = &mut self.0 else { return Vec::new() };
        let mut wakers = std::mem::take(&mut lists.waiting);
        wakers.append(&mut lists.at_end);
        if !lists.is_needed() {
            self.0 = None;
        }
        wakers
    }

    /// Notes the task with exclusive use, or its end.
    pub(crate) fn set_holder(&mut self, holder: Option<WakerId>) {
        if holder.is_some() || self.0.is_some() {
            self.0.get_or_insert_default().holder = holder;
        }
    }

    pub(crate) fn is_holder(&self, waker: &Waker) -> bool {
        self.0.as_ref().is_some_and(|lists| lists.holder == Some(id_of(waker)))
    }

    pub(crate) fn deadlines(&self) -> QueueDeadlines {
        self.0.as_ref().map_or_else(QueueDeadlines::default, |lists| lists.deadlines)
    }

    pub(crate) fn set_deadlines(&mut self, change: impl FnOnce(&mut QueueDeadlines)) {
        let mut deadlines = self.deadlines();
        change(&mut deadlines);
        if self.0.is_some() || deadlines != QueueDeadlines::default() {
            self.0.get_or_insert_default().deadlines = deadlines;
        }
        self.free_if_unused();
    }

    /// Keeps a farewell; an empty one ends that.
    pub(crate) fn set_farewell(&mut self, bytes: &'static [u8]) {
        if self.0.is_some() || !bytes.is_empty() {
            self.0.get_or_insert_default().farewell = bytes;
        }
        self.free_if_unused();
    }

    pub(crate) fn take_farewell(&mut self) -> &'static [u8] {
        let farewell = self.0.as_mut().map(|lists| std::mem::take(&mut lists.farewell)).unwrap_or_default();
        self.free_if_unused();
        farewell
    }

    fn free_if_unused(&mut self) {
        if self.0.as_ref().is_some_and(|lists| !lists.is_needed() && lists.waiting.is_empty()) {
            self.0 = None;
        }
    }

    /// Counts a publication of the connection itself.
    pub(crate) fn add_undelivered(&mut self) {
        self.0.get_or_insert_default().undelivered += 1;
    }

    /// Counts a publication as delivered. Returns the number of those that are not.
    pub(crate) fn sub_undelivered(&mut self) -> usize {
        let Some(lists) = &mut self.0 else { return 0 };
        lists.undelivered = lists.undelivered.saturating_sub(1);
        lists.undelivered
    }

    pub(crate) fn undelivered(&self) -> usize {
        self.0.as_ref().map_or(0, |lists| lists.undelivered)
    }

    /// Keeps bytes that follow the undelivered publications.
    pub(crate) fn keep_behind(&mut self, bytes: Bytes) {
        let lists = self.0.get_or_insert_default();
        lists.held_bytes += bytes.len();
        lists.held.push_back(Contained::new(bytes));
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |lists| lists.held_bytes)
    }

    pub(crate) fn take_held(&mut self) -> VecDeque<Contained<Bytes>> {
        let Some(lists) = &mut self.0 else { return VecDeque::new() };
        lists.held_bytes = 0;
        std::mem::take(&mut lists.held)
    }
}

#[inline]
fn add_once(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|known| known.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// A waker with an identity: that of `Waker::noop` is not the same in every part of a program.
    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn deferred_bytes_count_with_their_places() {
        let mut waiters = Waiters::default();
        waiters.defer(Bytes::new());
        waiters.defer(Bytes::from_static(b"12"));
        assert_eq!(waiters.deferred_bytes(), 2 + 2 * size_of::<Bytes>());
        assert_eq!(waiters.take_deferred().len(), 2);
        assert_eq!(waiters.deferred_bytes(), 0);
    }

    /// A reason to keep the lists, and its end.
    type Need = (fn(&mut Waiters, &Waker), fn(&mut Waiters));

    /// What an idle connection keeps is one null pointer.
    #[test]
    fn the_lists_are_kept_while_they_are_needed_and_no_longer() {
        let waker = Waker::from(Arc::new(Task));
        let needs: [Need; 7] = [
            (|waiters, waker| waiters.add_at_end(waker), |waiters| _ = waiters.take_at_end()),
            (
                |waiters, _| waiters.set_deadlines(|deadlines| deadlines.write = 1),
                |waiters| waiters.set_deadlines(|deadlines| deadlines.write = NEVER),
            ),
            (|waiters, _| waiters.set_farewell(b"bye"), |waiters| assert_eq!(waiters.take_farewell(), b"bye")),
            (|waiters, _| waiters.defer(Bytes::from_static(b"1")), |waiters| _ = waiters.take_deferred()),
            (|waiters, waker| waiters.set_holder(Some(id_of(waker))), |waiters| waiters.set_holder(None)),
            (|waiters, _| waiters.add_undelivered(), |waiters| _ = waiters.sub_undelivered()),
            (|waiters, _| waiters.keep_behind(Bytes::from_static(b"1")), |waiters| _ = waiters.take_held()),
        ];
        for (case, (begin, end)) in needs.into_iter().enumerate() {
            let mut waiters = Waiters::default();
            begin(&mut waiters, &waker);
            waiters.add(&waker);
            assert_eq!(waiters.take().len(), 1, "case {case}");
            assert!(waiters.0.is_some(), "case {case} is forgotten");
            end(&mut waiters);
            assert!(waiters.take().is_empty());
            assert!(waiters.0.is_none(), "case {case} is kept");
        }
        let mut waiters = Waiters::default();
        waiters.set_holder(None);
        assert!(waiters.0.is_none());
        waiters.defer(Bytes::new());
        assert!(waiters.take_all_wakers().is_empty());
        assert_eq!(waiters.take_deferred().len(), 1, "only the wakers were taken");
        assert!(waiters.take_all_wakers().is_empty() && waiters.0.is_none());
    }

    #[test]
    fn waiters_for_the_end_are_woken_only_by_it_and_once() {
        let mut waiters = Waiters::default();
        // The clone of a clone wakes the same task under miri too, where the first one has another table of functions.
        let waker = Waker::from(Arc::new(Task)).clone();
        waiters.add_at_end(&waker);
        waiters.add_at_end(&waker);
        waiters.add(&waker);
        assert_eq!(waiters.take().len(), 1);
        assert!(waiters.take().is_empty());
        assert_eq!(waiters.take_all_wakers().len(), 1);
        assert!(waiters.take_all_wakers().is_empty());
    }
}
