//! Who and what waits for something to happen to an outbound queue.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;

/// Those who wait; one pointer in each of very many idle connections, for whom nobody waits.
#[derive(Default)]
pub(crate) struct Waiters(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    /// For space, or for the end of what is queued.
    waiting: Vec<Waker>,
    /// For the end of the connection alone.
    at_close: Vec<Waker>,
    /// For the end of a hold: bytes from the worker itself, in order, because a worker waits for nobody.
    deferred: VecDeque<Bytes>,
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

    /// Those who wait for the queue.
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

    /// Keeps bytes for the end of the hold.
    pub(crate) fn defer(&mut self, bytes: Bytes) {
        let lists = self.0.get_or_insert_default();
        lists.deferred_bytes += bytes.len();
        lists.deferred.push_back(bytes);
    }

    pub(crate) fn deferred_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |lists| lists.deferred_bytes)
    }

    pub(crate) fn take_deferred(&mut self) -> VecDeque<Bytes> {
        let Some(lists) = &mut self.0 else { return VecDeque::new() };
        lists.deferred_bytes = 0;
        std::mem::take(&mut lists.deferred)
    }

    /// All who wait: nothing will happen any more.
    pub(crate) fn take_all(&mut self) -> Vec<Waker> {
        let lists = self.0.take().map_or_else(Lists::default, |lists| *lists);
        lists.waiting.into_iter().chain(lists.at_close).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_for_the_close_are_woken_by_it_alone() {
        let mut wakers = Waiters::default();
        wakers.add_at_close(Waker::noop());
        wakers.add(Waker::noop());
        assert_eq!(wakers.take().len(), 1);
        assert!(wakers.take().is_empty());
        assert_eq!(wakers.take_all().len(), 1);
        assert!(wakers.take_all().is_empty());
    }
}
