//! A queue that handlers await and tests push to, so that a test controls a handler.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// A queue for one waiting handler, or, once [`close`](Self::close)d, an open gate for all.
pub struct Inbox<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    items: VecDeque<T>,
    wakers: Vec<Waker>,
    closed: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { items: VecDeque::new(), wakers: Vec::new(), closed: false })))
    }
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Inbox<T> {
    pub fn push(&self, item: T) {
        self.change(|state| state.items.push_back(item));
    }

    /// Closes the queue: [`next`](Self::next) returns `None` once it is empty.
    pub fn close(&self) {
        self.change(|state| state.closed = true);
    }

    pub async fn next(&self) -> Option<T> {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            match state.items.pop_front() {
                Some(item) => Poll::Ready(Some(item)),
                None if state.closed => Poll::Ready(None),
                None => {
                    state.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}
