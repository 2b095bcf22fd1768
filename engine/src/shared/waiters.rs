//! The wakers and deferred bytes that wait for an outbound queue.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;

use crate::util::contained::Contained;

/// Waiting wakers and deferred bytes. One null pointer in each of the many idle connections that have none.
#[derive(Default)]
pub(crate) struct Waiters(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    /// Wakers that wait for space or until queued bytes have left.
    waiting: Vec<Waker>,
    /// Wakers that wait for the end of the connection only.
    at_close: Vec<Waker>,
    /// Bytes from fan-outs that wait for the end of exclusive use, in order, because a worker cannot wait.
    deferred: VecDeque<Contained<Bytes>>,
    deferred_bytes: usize,
}

impl Waiters {
    pub(crate) fn add(&mut self, waker: &Waker) {
        let waiting = &mut self.0.get_or_insert_default().waiting;
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    pub(crate) fn add_at_close(&mut self, waker: &Waker) {
        self.0.get_or_insert_default().at_close.push(waker.clone());
    }

    /// Takes the wakers that wait for the queue.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<Waker> {
        match &mut self.0 {
            None => Vec::new(),
            Some(lists) if !lists.at_close.is_empty() || !lists.deferred.is_empty() => {
                std::mem::take(&mut lists.waiting)
            }
            Some(_) => self.0.take().map_or_else(Vec::new, |lists| lists.waiting),
        }
    }

    /// Keeps bytes for the end of exclusive use.
    pub(crate) fn defer(&mut self, bytes: Bytes) {
        let lists = self.0.get_or_insert_default();
        lists.deferred_bytes += bytes.len();
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
        wakers.append(&mut lists.at_close);
        if lists.deferred.is_empty() {
            self.0 = None;
        }
        wakers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_for_the_close_are_woken_only_by_it() {
        let mut waiters = Waiters::default();
        waiters.add_at_close(Waker::noop());
        waiters.add(Waker::noop());
        assert_eq!(waiters.take().len(), 1);
        assert!(waiters.take().is_empty());
        assert_eq!(waiters.take_all_wakers().len(), 1);
        assert!(waiters.take_all_wakers().is_empty());
    }
}
