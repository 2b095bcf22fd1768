//! The result of a published message. The workers fill it in; it is complete when the last of them has finished.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::error::SendError;
use crate::util::sync::Mutex;

/// The result of one published message, from a [`Receipt`]. "Accepted" means queued for sending, not received by the
/// peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryReport {
    /// Members whose outbound queue accepted it, as in a successful [`ByteSender::send`](crate::ByteSender::send).
    pub count: usize,
    /// Members in whose backlog it waits until their queue has space, where a newer message can replace it
    /// ([`SlowMemberPolicy::DropOldest`](super::SlowMemberPolicy::DropOldest),
    /// [`SlowMemberPolicy::Conflate`](super::SlowMemberPolicy::Conflate)).
    pub backlogged: usize,
    /// The error of the first member that neither accepted nor backlogged it; `None` if there was no such member.
    pub first_error: Option<SendError>,
}

impl DeliveryReport {
    pub(super) fn fail(&mut self, error: SendError) {
        self.first_error.get_or_insert(error);
    }

    fn add(&mut self, part: Self) {
        self.count += part.count;
        self.backlogged += part.backlogged;
        if let Some(error) = part.first_error {
            self.fail(error);
        }
    }
}

/// Resolves to the report of a published message, from [`FanOut::publish_counted`](super::FanOut::publish_counted).
/// Dropping it does not affect the message.
///
/// ```no_run
/// use tidegate_engine::{FanOut, Publish, PublishError};
///
/// /// Publishes a message and returns the number of members that got it.
/// async fn publish_counted(room: &FanOut, message: Vec<u8>) -> Result<usize, PublishError> {
///     let report = room.publish_counted(Publish::new(message))?.await;
///     Ok(report.count + report.backlogged)
/// }
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited; use `publish` if the result does not matter"]
pub struct Receipt(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    delivered: DeliveryReport,
    done: bool,
    waker: Option<Waker>,
}

impl Future for Receipt {
    type Output = DeliveryReport;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DeliveryReport> {
        let mut state = self.0.lock();
        if state.done {
            return Poll::Ready(state.delivered);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The workers' side of a [`Receipt`]. Dropping it completes the receipt. It is dropped with the message by the last
/// worker, even if that worker ended before delivering it.
#[derive(Debug)]
pub(super) struct Counting(Arc<Mutex<State>>);

impl Counting {
    pub(super) fn new() -> (Self, Receipt) {
        let state = Arc::new(Mutex::new(State::default()));
        (Self(Arc::clone(&state)), Receipt(state))
    }

    pub(super) fn add(&self, part: DeliveryReport) {
        self.0.lock().delivered.add(part);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock();
            state.done = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_workers_are_added_up() {
        let (counting, mut receipt) = Counting::new();
        let mut cx = Context::from_waker(Waker::noop());
        counting.add(DeliveryReport { count: 2, backlogged: 1, first_error: None });
        assert!(Pin::new(&mut receipt).poll(&mut cx).is_pending());
        counting.add(DeliveryReport { count: 3, backlogged: 0, first_error: Some(SendError::Full) });
        counting.add(DeliveryReport { count: 0, backlogged: 0, first_error: Some(SendError::Finished) });
        drop(counting);
        let all = DeliveryReport { count: 5, backlogged: 1, first_error: Some(SendError::Full) };
        assert_eq!(Pin::new(&mut receipt).poll(&mut cx), Poll::Ready(all));
    }
}
