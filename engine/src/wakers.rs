//! Who waits for something to happen to an outbound queue.

use std::task::Waker;

/// Those who wait; one pointer in each of very many idle connections, for whom nobody waits.
#[derive(Default)]
pub(crate) struct Wakers(Option<Box<Lists>>);

#[derive(Default)]
struct Lists {
    /// For space, or for the end of what is queued.
    waiting: Vec<Waker>,
    /// For the end of the connection alone.
    at_close: Vec<Waker>,
}

impl Wakers {
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
            Some(lists) if !lists.at_close.is_empty() => std::mem::take(&mut lists.waiting),
            Some(_) => self.0.take().map_or_else(Vec::new, |lists| lists.waiting),
        }
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
        let mut wakers = Wakers::default();
        wakers.add_at_close(Waker::noop());
        wakers.add(Waker::noop());
        assert_eq!(wakers.take().len(), 1);
        assert!(wakers.take().is_empty());
        assert_eq!(wakers.take_all().len(), 1);
        assert!(wakers.take_all().is_empty());
    }
}
