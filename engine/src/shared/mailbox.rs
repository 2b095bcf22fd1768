//! Hand-over between threads: a queue of items with the announced sleep of its consumer.
//!
//! The consumer announces its sleep, fences, checks the queue once more and blocks. A producer queues its items,
//! fences, and wakes the consumer only if a sleep was announced. Whichever fence comes first in the total order, either
//! the consumer sees the item or the producer sees the announcement. So no wake is lost, and none is sent to a running
//! consumer.
//!
//! Inside a [`WakeScope`](super::wake_scope::WakeScope) the wakes wait for its end: a worker's harvest wakes each
//! handler thread at most once, and a handler thread's turn wakes its worker at most once.

use std::sync::Arc;

use crate::shared::signal::Signal;
use crate::shared::wake_scope;
use crate::util::sync::Mutex;

/// A queue of items for one consumer thread.
pub(crate) struct Mailbox<T> {
    items: Mutex<Vec<T>>,
    signal: Arc<Signal>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(signal: Arc<Signal>) -> Self {
        Self { items: Mutex::new(Vec::new()), signal }
    }

    /// Queues `item` and wakes the consumer, at the end of the current scope if there is one.
    #[inline]
    pub(crate) fn post(&self, item: T) {
        self.items.lock().push(item);
        wake_scope::notify(&self.signal);
    }

    /// Queues everything in `items`, which is left empty, as [`post`](Self::post) does.
    pub(crate) fn post_all(&self, items: &mut Vec<T>) {
        let mut queued = self.items.lock();
        if queued.is_empty() {
            std::mem::swap(&mut *queued, items);
        } else {
            queued.append(items);
        }
        drop(queued);
        wake_scope::notify(&self.signal);
    }

    /// Moves everything queued into `into`, which must be empty, by swapping the vectors.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *self.items.lock(), into);
    }

    /// Gives memory for more than this number of items back.
    pub(crate) fn shrink_to(&self, items: usize) {
        self.items.lock().shrink_to(items);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.lock().is_empty()
    }

    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counted() -> (Arc<Signal>, Arc<AtomicUsize>) {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&wakes);
        let count_one = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        (Signal::new(count_one), wakes)
    }

    #[test]
    fn a_running_consumer_is_never_woken() {
        let (signal, wakes) = counted();
        let mailbox = Mailbox::new(signal);
        mailbox.post(1);
        assert_eq!(wakes.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn an_announced_sleep_is_ended_once() {
        let (signal, wakes) = counted();
        let mailbox = Mailbox::new(Arc::clone(&signal));
        signal.announce_sleep();
        mailbox.post(1);
        mailbox.post(2);
        assert_eq!(wakes.load(Ordering::SeqCst), 1);
        let mut items = Vec::new();
        mailbox.take(&mut items);
        assert_eq!(items, [1, 2]);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::shared::signal::parker::Parker;

    /// Two producers and one consumer that sleeps by the protocol: it gets both items on every interleaving.
    #[test]
    fn loom_no_wake_is_lost() {
        loom::model(|| {
            let parker = Parker::new();
            let signal = parker.signal();
            let mailbox = Arc::new(Mailbox::new(Arc::clone(&signal)));
            let producers: Vec<_> = (0..2)
                .map(|item| {
                    let mailbox = Arc::clone(&mailbox);
                    loom::thread::spawn(move || {
                        mailbox.post(item);
                    })
                })
                .collect();
            let (mut seen, mut items) = (0, Vec::new());
            while seen < 2 {
                mailbox.take(&mut items);
                seen += items.len();
                items.clear();
                if seen < 2 {
                    signal.announce_sleep();
                    if mailbox.is_empty() {
                        parker.park();
                    }
                    signal.awake();
                }
            }
            for producer in producers {
                producer.join().unwrap();
            }
        });
    }

    /// A consumer that withdraws its announcement without sleeping loses nothing either.
    #[test]
    fn loom_a_withdrawn_sleep_loses_no_item() {
        loom::model(|| {
            let parker = Parker::new();
            let signal = parker.signal();
            let mailbox = Arc::new(Mailbox::new(Arc::clone(&signal)));
            let producer = {
                let mailbox = Arc::clone(&mailbox);
                loom::thread::spawn(move || {
                    mailbox.post(1);
                })
            };
            // A round that does not block, as with other work to do.
            signal.announce_sleep();
            let _ = mailbox.is_empty();
            signal.awake();
            let mut items = Vec::new();
            loop {
                mailbox.take(&mut items);
                if !items.is_empty() {
                    break;
                }
                signal.announce_sleep();
                if mailbox.is_empty() {
                    parker.park();
                }
                signal.awake();
            }
            producer.join().unwrap();
        });
    }
}
