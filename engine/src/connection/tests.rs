//! Reading, waiting and yielding; the test plays the worker.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use std::time::{Duration, Instant};

use super::*;
use crate::config::{InboundMarks, OutboundMarks};
use crate::shared::LocalEnd;
use crate::shared::key::ConnKey;
use crate::shared::ready_queue::ReadyQueue;
use crate::shared::signal::Signal;
use crate::shared::worker_shared::WorkerShared;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn connection() -> Connection {
    let address = Address::Ip(SocketAddr::from(([127, 0, 0, 1], 1)));
    let inbound = InboundMarks { bytes_high: 1000, bytes_low: 100, chunks_high: 100, chunks_low: 10 };
    let outbound = OutboundMarks { bytes_high: 1000, bytes_low: 100 };
    let worker = WorkerShared::new(0, Signal::new(|| {}), Instant::now(), inbound, outbound, Arc::default());
    let ready = ReadyQueue::new(Signal::new(|| {}));
    let local = Arc::new(LocalEnd::new(&worker, &ready, address, 0));
    Connection::new(ConnShared::new(ConnKey { index: 0, generation: 0 }, address, local))
}

/// Pushes a received chunk as the worker does.
fn arrive(connection: &Connection, bytes: usize) -> Option<Waker> {
    let shared = connection.shared();
    let mut inbound = shared.lock_inbound();
    inbound.push(Chunk::from(vec![0; bytes]));
    shared.take_reader(&mut inbound)
}

/// A reader is woken for each arrival, however often and in whichever task it was pending.
#[test]
fn a_parked_reader_is_woken_where_it_polled_last() {
    let mut connection = connection();
    let wakes = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
    let wakers = wakes.clone().map(Waker::from);
    for round in 1..=3 {
        for waker in [&wakers[0], &wakers[0], &wakers[1], &wakers[1]] {
            assert!(connection.poll_receive(&mut Context::from_waker(waker)).is_pending());
        }
        arrive(&connection, 10).expect("the reader waits").wake();
        assert_eq!(wakes[0].0.load(Ordering::Relaxed), 0, "it polled elsewhere since");
        assert_eq!(wakes[1].0.load(Ordering::Relaxed), round);
        assert!(connection.poll_receive(&mut Context::from_waker(&wakers[1])).is_ready());
    }
    // With the last chunk taken it already waits, here for the end of the stream, without another poll.
    let shared = connection.shared();
    shared.lock_inbound().finish(End::Eof);
    shared.take_reader(&mut shared.lock_inbound()).expect("the reader waits").wake();
    assert!(matches!(connection.poll_receive(&mut Context::from_waker(&wakers[0])), Poll::Ready(Ok(None))));
}

#[test]
fn a_parked_reader_sees_its_deadline() {
    let mut connection = connection();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(connection.poll_receive(&mut cx).is_pending());
    connection.set_read_deadline(Some(Instant::now()));
    let clock = &connection.shared().worker().clock;
    clock.settle(clock.set(Duration::from_secs(1)));
    assert!(matches!(connection.poll_receive(&mut cx), Poll::Ready(Err(ReceiveError::Deadline))));
}

#[test]
fn taken_bytes_keep_at_most_twice_their_size() {
    let mut connection = connection();
    let mut cx = Context::from_waker(Waker::noop());
    let mut take = |bytes: &[u8], range: Range<usize>| {
        connection.unread(Chunk::from(bytes.to_vec()));
        assert!(connection.poll_fill(&mut cx).is_ready());
        let address = connection.buffer()[range.clone()].as_ptr();
        let taken = connection.take_bytes(range.clone());
        assert_eq!(taken, bytes[range.clone()]);
        assert_eq!(connection.buffer(), &bytes[range.end..]);
        connection.consume(bytes.len() - range.end);
        taken.as_ptr() == address
    };
    let bytes: Vec<u8> = (0..100).collect();
    assert!(take(&bytes, 0..100));
    assert!(take(&bytes, 50..100));
    assert!(!take(&bytes, 51..100), "most of the memory would be wasted");
    assert!(!take(&bytes, 0..99), "the rest is still to be read");
    assert!(!take(&bytes, 100..100));
}

/// A peer that is always ahead of its reader must not monopolize the reader's thread.
#[test]
fn a_reader_that_never_waits_yields() {
    let mut connection = connection();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let (mut taken, mut yielded) = (0, 0);
    while taken < 100 {
        arrive(&connection, 10);
        match connection.poll_receive(&mut cx) {
            Poll::Ready(chunk) => taken += chunk.unwrap().map_or(0, |_| 1),
            Poll::Pending => {
                yielded += 1;
                assert_eq!(wakes.0.load(Ordering::Relaxed), yielded, "it comes back by itself");
            }
        }
    }
    assert_eq!(yielded, (100 - 1) / 8);
    // Yielding lost nothing: the reader gets all pushed chunks, and then waits.
    while connection.poll_receive(&mut cx).is_ready() || connection.inbound_bytes() > 0 {}
    let woken = wakes.0.load(Ordering::Relaxed);
    assert!(connection.poll_receive(&mut cx).is_pending());
    assert_eq!(wakes.0.load(Ordering::Relaxed), woken);
}

/// Every call that takes an encoder runs it under the queue's lock: an encoder that would wait for that lock panics.
#[test]
fn an_encoder_that_uses_its_connection_panics_in_every_call() {
    let connection = connection();
    let sender = connection.sender();
    let append = |sender: &ByteSender| {
        let nested = |_: &mut Vec<u8>| {
            let _ = sender.check_ready(1);
        };
        [
            catch_unwind(AssertUnwindSafe(|| sender.try_append(1, nested))),
            catch_unwind(AssertUnwindSafe(|| sender.append(nested))),
            catch_unwind(AssertUnwindSafe(|| sender.try_append_interleaved(1, nested))),
            catch_unwind(AssertUnwindSafe(|| sender.append_last(nested))),
        ]
    };
    assert!(append(sender).iter().all(Result::is_err));
    assert_eq!(sender.check_ready(1), Ok(()), "the lock and the queue are open");
}
