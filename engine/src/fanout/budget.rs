//! The bound on published messages in transit to the members.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::PublishError;
use crate::util::sync::Mutex;

/// Bounds the bytes published and not yet handed to every member, over all [`FanOut`](super::FanOut)s that share it,
/// and reports when nothing is in transit. Clones are handles to the same budget.
///
/// Messages in transit wait for the workers, never for a slow member, so only publishers faster than the workers reach
/// the bound. A message larger than the bound passes if nothing else is in transit.
///
/// ```no_run
/// use std::future::poll_fn;
/// use tidegate_engine::{FanOut, Publish, PublishError};
///
/// /// Publishes a message, waiting while too much is in transit.
/// async fn publish(room: &FanOut, message: Vec<u8>) -> Result<(), PublishError> {
///     let publish = Publish::new(message);
///     loop {
///         poll_fn(|cx| room.budget().poll_ready(cx, publish.bytes().len())).await?;
///         match room.publish(publish.clone()) {
///             // Another publisher was faster.
///             Err(PublishError::Full) => {}
///             published => return published,
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PublishBudget {
    bytes_max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    messages: usize,
    closed: bool,
    /// Wakers that wait for space or for the end of transit.
    wakers: Vec<Waker>,
}

/// The memory of a message in transit beyond its bytes: its publication, and its entries in the lanes. Counted, so that
/// tiny messages are bounded too.
const PUBLICATION_BYTES: usize = 256;

impl PublishBudget {
    /// Creates a budget of `bytes_max` bytes in transit at once, where each message counts 256 bytes more than it has.
    /// Any number is valid; 8 MiB suits most servers. With zero, one message is in transit at a time.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Arc::default() }
    }

    /// Waits until `len` more bytes can be published. Another publisher can still take the space before the caller
    /// does.
    ///
    /// # Errors
    /// [`PublishError::Closed`] after [`close`](Self::close).
    pub fn poll_ready(&self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), PublishError>> {
        let mut state = self.state.lock();
        match state.check(len, self.bytes_max) {
            Err(PublishError::Full) => {
                state.add_waker(cx.waker());
                Poll::Pending
            }
            answer => Poll::Ready(answer),
        }
    }

    /// Refuses every further message, with [`PublishError::Closed`]. Messages in transit are still delivered.
    pub fn close(&self) {
        let wakers = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Returns whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Waits until nothing is in transit: every message published so far was handed to each of its members.
    pub fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.messages == 0 {
            return Poll::Ready(());
        }
        state.add_waker(cx.waker());
        Poll::Pending
    }

    /// Returns the number of bytes in transit, with the 256 bytes that each message counts in addition.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub(super) fn take(&self, len: usize) -> Result<Share, PublishError> {
        let mut state = self.state.lock();
        state.check(len, self.bytes_max)?;
        Ok(self.share(&mut state, len))
    }

    /// Takes a share regardless of the bound and of [`close`](Self::close).
    pub(super) fn take_last(&self, len: usize) -> Share {
        self.share(&mut self.state.lock(), len)
    }

    fn share(&self, state: &mut State, len: usize) -> Share {
        let len = len.saturating_add(PUBLICATION_BYTES);
        state.bytes += len;
        state.messages += 1;
        Share { budget: self.clone(), len }
    }
}

impl State {
    fn check(&self, len: usize, bytes_max: usize) -> Result<(), PublishError> {
        if self.closed {
            return Err(PublishError::Closed);
        }
        if self.messages > 0 && self.bytes.saturating_add(len).saturating_add(PUBLICATION_BYTES) > bytes_max {
            return Err(PublishError::Full);
        }
        Ok(())
    }

    fn add_waker(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

/// The part of the budget that one message uses until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: PublishBudget,
    len: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let wakers = {
            let mut state = self.budget.state.lock();
            state.bytes -= self.len;
            state.messages -= 1;
            // In steps, because otherwise a waiting publisher would run once for each message.
            if state.messages > 0 && state.bytes > self.budget.bytes_max / 2 {
                return;
            }
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_returned_when_it_is_dropped() {
        let budget = PublishBudget::new(100 + 2 * PUBLICATION_BYTES);
        let first = budget.take(60).unwrap();
        assert_eq!(budget.take(41).unwrap_err(), PublishError::Full);
        let second = budget.take(40).unwrap();
        assert_eq!(budget.bytes(), 100 + 2 * PUBLICATION_BYTES);
        drop(first);
        drop(second);
        assert_eq!(budget.bytes(), 0);
        assert!(budget.poll_drained(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn messages_without_bytes_are_bounded_too() {
        let budget = PublishBudget::new(1 << 20);
        let taken: Vec<_> = (0..10_000).map_while(|_| budget.take(0).ok()).collect();
        assert_eq!(taken.len(), (1 << 20) / PUBLICATION_BYTES);
        drop(taken);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn a_large_message_passes_alone() {
        let budget = PublishBudget::new(100);
        let large = budget.take(1000).unwrap();
        assert_eq!(budget.take(1).unwrap_err(), PublishError::Full);
        drop(large);
        assert!(budget.take(1).is_ok());
    }

    #[test]
    fn nothing_follows_the_close() {
        let budget = PublishBudget::new(100);
        let last = budget.take(1).unwrap();
        budget.close();
        assert_eq!(budget.take(1).unwrap_err(), PublishError::Closed);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(budget.poll_drained(&mut cx).is_pending());
        drop(last);
        assert!(budget.poll_drained(&mut cx).is_ready());
    }
}
