//! One sleep, shared by its future and the worker whose timer wheel ends it.

use std::task::Waker;

use crate::clock::wheel::TimerId;
use crate::util::sync::Mutex;

/// The state of one sleep.
pub(crate) struct SleepEntry {
    pub(crate) tick: u64,
    state: Mutex<SleepState>,
}

struct SleepState {
    fired: bool,
    waker: Option<Waker>,
    timer: Option<TimerId>,
}

impl SleepEntry {
    pub(crate) fn new(tick: u64) -> Self {
        Self { tick, state: Mutex::new(SleepState { fired: false, waker: None, timer: None }) }
    }

    /// Returns whether the sleep is over; if not, wakes `waker` when it is.
    pub(crate) fn poll_fired(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.fired {
            match &mut state.waker {
                Some(known) => known.clone_from(waker),
                None => state.waker = Some(waker.clone()),
            }
        }
        state.fired
    }

    pub(crate) fn has_fired(&self) -> bool {
        self.state.lock().fired
    }

    pub(crate) fn armed(&self, timer: TimerId) {
        self.state.lock().timer = Some(timer);
    }

    pub(crate) fn take_timer(&self) -> Option<TimerId> {
        self.state.lock().timer.take()
    }

    pub(crate) fn fire(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.fired = true;
            state.timer = None;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
