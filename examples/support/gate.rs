//! A gate at which tasks wait until it is opened.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

#[derive(Default)]
pub struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    is_open: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    pub fn open(&self) {
        let waiting = {
            let mut state = self.0.lock().expect("no task panics with it");
            state.is_open = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until the gate is open.
    pub async fn passed(&self) {
        let mut known: Option<Waker> = None;
        poll_fn(|cx| {
            let mut state = self.0.lock().expect("no task panics with it");
            if state.is_open {
                return Poll::Ready(());
            }
            if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                known = Some(cx.waker().clone());
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
