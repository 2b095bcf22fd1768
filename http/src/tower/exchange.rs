//! What the task of a connection does for one request while tower code answers it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::content::{Pump, Pumped};
use crate::message::on_upgrade::OnUpgrade;

thread_local! {
    /// The exchange whose tower code runs on this thread.
    static CURRENT: RefCell<Option<Exchange>> = const { RefCell::new(None) };
}

/// One request that tower code answers. It moves the content of the request and of streamed responses while the tower
/// code is polled through [`drive`](Exchange::drive).
#[derive(Clone, Default)]
pub struct Exchange(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    pumps: Vec<Pump>,
    on_upgrade: Option<OnUpgrade>,
}

impl Exchange {
    /// Returns the exchange whose tower code calls this.
    pub(super) fn current() -> Option<Exchange> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// Calls `run` as tower code of this exchange.
    pub fn enter<T>(&self, run: impl FnOnce() -> T) -> T {
        let _outer = Outer(CURRENT.with(|current| current.replace(Some(self.clone()))));
        run()
    }

    /// Polls tower code of this exchange, and moves its content.
    pub fn drive<T>(&self, cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        loop {
            let polled = self.enter(|| poll(cx));
            if polled.is_ready() || !self.poll_pumps(cx) {
                return polled;
            }
        }
    }

    /// Polls the pumps. Returns whether one has something for a reader of this task.
    fn poll_pumps(&self, cx: &mut Context<'_>) -> bool {
        if self.0.borrow().pumps.is_empty() {
            return false;
        }
        let mut filled = false;
        // Taken out: the source of a pump can add another one.
        let mut pumps = std::mem::take(&mut self.0.borrow_mut().pumps);
        self.enter(|| {
            pumps.retain_mut(|pump| {
                let pumped = pump.poll(cx);
                filled |= matches!(pumped, Pumped::Filled | Pumped::Ended(true));
                !matches!(pumped, Pumped::Ended(_))
            });
        });
        self.0.borrow_mut().pumps.append(&mut pumps);
        filled
    }

    pub(super) fn add(&self, pump: Pump) {
        self.0.borrow_mut().pumps.push(pump);
    }

    pub(super) fn set_on_upgrade(&self, on_upgrade: OnUpgrade) {
        self.0.borrow_mut().on_upgrade = Some(on_upgrade);
    }

    pub(super) fn take_on_upgrade(&self) -> Option<OnUpgrade> {
        self.0.borrow_mut().on_upgrade.take()
    }
}

/// Restores the exchange around another one, also after a panic.
struct Outer(Option<Exchange>);

impl Drop for Outer {
    fn drop(&mut self) {
        // Fails only while the thread is ending.
        let inner = CURRENT.try_with(|current| current.replace(self.0.take()));
        drop(inner);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}
