//! The queue: order, accounting, marks, and its end.

use std::sync::Arc;

use super::*;
use crate::shared::send_batch::BATCH_SEGMENTS_MAX;

const MARKS: OutboundMarks = OutboundMarks { bytes_high: 100, bytes_low: 20 };
const WIDE: OutboundMarks = OutboundMarks { bytes_high: 1 << 20, bytes_low: 20 };
const CLOSED: CloseCause = CloseCause::Reset;

fn contents(batch: &SendBatch) -> Vec<u8> {
    batch.slices().collect::<Vec<_>>().concat()
}

#[test]
fn only_the_last_bytes_before_the_end_wait_for_the_fin() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.extend_from_slice(b"more may come"));
    assert!(!outbound.take_batch().unwrap().more_follows);
    outbound.complete_batch(&MARKS);
    for _ in 0..=BATCH_SEGMENTS_MAX {
        let _ = outbound.append_shared(&[], Bytes::from_static(b"shared"));
    }
    outbound.expect_end();
    assert!(!outbound.take_batch().unwrap().more_follows, "something is queued behind it");
    outbound.complete_batch(&MARKS);
    let last = outbound.take_batch().unwrap();
    assert!(last.more_follows && !last.fin_follows, "another sender can add to it until the end is there");
}

#[test]
fn the_fin_can_leave_with_bytes_that_nothing_can_follow() {
    let ends: [fn(&mut Outbound); 2] = [|outbound| _ = outbound.finish(true), Outbound::expect_end];
    for end in ends {
        let mut outbound = Outbound::new();
        for _ in 0..=BATCH_SEGMENTS_MAX {
            let _ = outbound.append_shared(&[], Bytes::from_static(b"shared"));
        }
        let _ = outbound.finish(false);
        end(&mut outbound);
        let batch = outbound.take_batch().unwrap();
        assert!(!batch.more_follows && !batch.fin_follows, "something is queued behind it");
        outbound.complete_batch(&MARKS);
        let last = outbound.take_batch().unwrap();
        assert!(last.more_follows && last.fin_follows);
    }
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.push(b'x'));
    let _ = outbound.finish(false);
    assert!(!outbound.take_batch().unwrap().fin_follows, "no FIN was requested");
}

#[test]
fn bytes_before_a_part_of_a_file_wait_for_it() {
    let part = || FilePart::new(Arc::new(std::fs::File::open("/dev/null").unwrap()), 0, 7);
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.extend_from_slice(b"head"));
    let _ = outbound.append_file(part());
    let _ = outbound.append_file(part());
    let _ = outbound.append(|tail| tail.extend_from_slice(b"after"));
    let batches = std::iter::from_fn(|| {
        outbound.complete_batch(&MARKS);
        outbound.take_batch()
    });
    let batches: Vec<_> = batches.map(|mut batch| (batch.file().is_some(), batch.more_follows)).collect();
    assert_eq!(batches, [(false, true), (true, false), (true, false), (false, false)]);
}

#[test]
fn small_writes_leave_in_one_segment() {
    let mut outbound = Outbound::new();
    assert_eq!(outbound.append(|tail| tail.extend_from_slice(b"ab")), Schedule::NeedsWake);
    assert_eq!(outbound.append(|tail| tail.extend_from_slice(b"cd")), Schedule::AlreadyScheduled);
    let batch = outbound.take_batch().unwrap();
    assert!(batch.rest.is_none());
    assert_eq!(contents(&batch), b"abcd");
}

#[test]
fn a_panicking_encoder_leaves_nothing() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.push(b'a'));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = outbound.append(|tail| {
            tail.extend_from_slice(b"half");
            panic!("as the test asked for");
        });
    }));
    assert!(panicked.is_err());
    let _ = outbound.append(|tail| tail.push(b'b'));
    assert_eq!(outbound.bytes(), 2);
    assert_eq!(contents(&outbound.take_batch().unwrap()), b"ab");
}

#[test]
fn order_holds_across_copied_and_shared_payloads() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.push(b'1'));
    let _ = outbound.append_shared(b"2", Bytes::from_static(b"33"));
    let _ = outbound.append(|tail| tail.push(b'4'));
    let mut batch = outbound.take_batch().unwrap();
    assert_eq!(contents(&batch), b"12334");
    for _ in 0..4 {
        assert!(!batch.advance(1));
    }
    assert_eq!(contents(&batch), b"4");
    assert!(batch.advance(1));
}

#[test]
fn a_batch_is_bounded_and_the_rest_follows() {
    let mut outbound = Outbound::new();
    for byte in 0..100 {
        let _ = outbound.append_shared(&[], Bytes::from(vec![byte]));
    }
    let mut all = Vec::new();
    while let Some(batch) = outbound.take_batch() {
        assert!(batch.slices().count() <= BATCH_SEGMENTS_MAX);
        all.extend(contents(&batch));
        outbound.complete_batch(&MARKS);
    }
    assert_eq!(all, (0..100).collect::<Vec<u8>>());
}

#[test]
fn a_large_payload_leaves_in_steps() {
    // A pattern of prime length, so that no two steps begin at the same place in it. Repeated by copying, because
    // computing each byte is slow under miri.
    let pattern: Vec<u8> = (0..251).collect();
    let mut payload = pattern.repeat(BATCH_BYTES_MAX * 3 / pattern.len());
    payload.extend_from_slice(&pattern[..7]);
    for shared in [true, false] {
        let mut outbound = Outbound::new();
        let _ = match shared {
            true => outbound.append_shared(b"head", Bytes::from(payload.clone())),
            false => outbound.append(|tail| tail.extend_from_slice(&payload)),
        };
        let mut all = Vec::new();
        while let Some(batch) = outbound.take_batch() {
            assert!(batch.remaining() <= BATCH_BYTES_MAX + 4);
            all.extend(contents(&batch));
            outbound.complete_batch(&MARKS);
        }
        assert!(all.ends_with(&payload) && all.len() <= payload.len() + 4);
    }
}

#[test]
fn space_is_bounded_but_a_large_message_passes_alone() {
    let mut outbound = Outbound::new();
    assert_eq!(outbound.check_space(1000, &MARKS), Ok(()));
    let _ = outbound.append(|tail| tail.resize(1000, 0));
    assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Full));
    let _batch = outbound.take_batch().unwrap();
    assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Full), "in flight still counts");
    outbound.complete_batch(&MARKS);
    assert_eq!(outbound.check_space(1, &MARKS), Ok(()));
}

#[test]
fn a_full_queue_opens_at_the_low_mark() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.resize(90, 0));
    assert_eq!(outbound.check_space(20, &MARKS), Err(SendError::Full));
    assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Full), "refused until the low mark");
}

#[test]
fn the_high_mark_can_be_filled_exactly() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.resize(90, 0));
    assert_eq!(outbound.check_space(10, &MARKS), Ok(()));
    let _ = outbound.append(|tail| tail.resize(100, 0));
    assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Full));
}

/// Segments of one byte, so that a batch is a part of them.
#[test]
fn a_refused_sender_is_woken_at_the_low_mark_and_not_above() {
    for (left, opens) in [(MARKS.bytes_low, true), (MARKS.bytes_low + 1, false)] {
        let mut outbound = Outbound::new();
        for _ in 0..BATCH_SEGMENTS_MAX + left {
            let _ = outbound.append_shared(&[], Bytes::from_static(b"x"));
        }
        assert_eq!(outbound.check_space(MARKS.bytes_high, &MARKS), Err(SendError::Full));
        outbound.add_waker(Waker::noop());
        let _batch = outbound.take_batch().unwrap();
        assert_eq!(outbound.complete_batch(&MARKS).len(), usize::from(opens), "{left} bytes are left");
        let expected = if opens { Ok(()) } else { Err(SendError::Full) };
        assert_eq!(outbound.check_space(1, &MARKS), expected, "{left} bytes are left");
    }
}

#[test]
fn a_flush_waits_for_what_was_queued_before_it_alone() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.resize(100, 0));
    let end = outbound.accepted_end();
    let _batch = outbound.take_batch().unwrap();
    let _ = outbound.append(|tail| tail.resize(100, 0));
    assert_eq!(outbound.check_sent(end, Waker::noop()), Ok(false));
    assert_eq!(outbound.complete_batch(&MARKS).len(), 1, "woken above the low mark too");
    assert_eq!(outbound.check_sent(end, Waker::noop()), Ok(true));
    assert!(outbound.complete_batch(&MARKS).is_empty());
}

#[test]
fn nothing_follows_the_last_bytes() {
    let mut outbound = Outbound::new();
    outbound.set_farewell(b"bye");
    let _ = outbound.queue_farewell();
    assert_eq!(outbound.check_open(), Err(SendError::Finished));
    assert_eq!(contents(&outbound.take_batch().unwrap()), b"bye");
}

/// Nothing follows what ended the queue: no farewell, and none is queued twice.
#[test]
fn a_farewell_is_queued_once_and_only_while_the_queue_is_open() {
    let mut outbound = Outbound::new();
    assert_eq!(outbound.queue_farewell(), Schedule::AlreadyScheduled);
    assert_eq!(outbound.check_open(), Ok(()), "no farewell was set");
    outbound.set_farewell(b"bye");
    assert_eq!(outbound.queue_farewell(), Schedule::NeedsWake);
    assert_eq!(outbound.queue_farewell(), Schedule::AlreadyScheduled);
    assert_eq!(outbound.bytes(), 3);
    let ends: [fn(&mut Outbound); 2] = [|outbound| _ = outbound.finish(false), |outbound| _ = outbound.close(CLOSED)];
    for end in ends {
        let mut outbound = Outbound::new();
        outbound.set_farewell(b"bye");
        end(&mut outbound);
        assert_eq!(outbound.queue_farewell(), Schedule::AlreadyScheduled);
        assert_eq!(outbound.bytes(), 0);
    }
}

#[test]
fn only_a_farewell_that_is_still_to_be_queued_limits_the_connection() {
    let limit = |farewell: &'static [u8], seconds, queue: bool| {
        let mut outbound = Outbound::new();
        outbound.set_farewell(farewell);
        outbound.set_farewell_seconds(seconds);
        if queue {
            let _ = outbound.queue_farewell();
        }
        outbound.farewell_timeout()
    };
    assert_eq!(limit(b"bye", 5, false), Some(Duration::from_secs(5)));
    assert_eq!(limit(b"bye", 1, false), Some(Duration::from_secs(1)));
    assert_eq!(limit(b"bye", 0, false), None, "no limit");
    assert_eq!(limit(b"", 5, false), None, "no farewell");
    assert_eq!(limit(b"bye", 5, true), None, "the farewell is queued");
    let mut finished = Outbound::new();
    finished.set_farewell(b"bye");
    finished.set_farewell_seconds(5);
    let _ = finished.finish(false);
    assert_eq!(finished.farewell_timeout(), None, "nothing can follow");
}

#[test]
fn fin_waits_for_the_queue() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.push(1));
    let _ = outbound.finish(true);
    assert_eq!(outbound.take_fin(), Fin::Nothing);
    outbound.take_batch().unwrap();
    assert_eq!(outbound.take_fin(), Fin::Nothing);
    outbound.complete_batch(&MARKS);
    assert_eq!(outbound.take_fin(), Fin::Send);
    assert_eq!(outbound.take_fin(), Fin::Nothing);
}

/// Everything left before the connection closed in order. A flush that begins after the close fails.
#[test]
fn a_flush_that_was_done_before_the_close_succeeds() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.extend_from_slice(b"all"));
    let end = outbound.accepted_end();
    assert!(outbound.take_batch().is_some());
    assert_eq!(outbound.check_sent(end, Waker::noop()), Ok(false));
    let _ = outbound.complete_batch(&MARKS);
    let _ = outbound.close(CloseCause::Dropped);
    assert_eq!(outbound.check_sent(end, Waker::noop()), Ok(true));
    let closed = Err(SendError::Closed(CloseCause::Dropped));
    assert_eq!(outbound.check_sent(outbound.accepted_end(), Waker::noop()), closed);
}

#[test]
fn a_claim_beyond_all_memory_is_refused() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.push(1));
    assert_eq!(outbound.check_space(usize::MAX, &MARKS), Err(SendError::Full));
}

#[test]
fn a_fin_is_sent_once_however_often_it_is_requested() {
    let mut outbound = Outbound::new();
    let _ = outbound.finish(true);
    let _ = outbound.finish(true);
    assert_eq!(outbound.take_fin(), Fin::Send);
    let _ = outbound.finish(true);
    assert_eq!(outbound.take_fin(), Fin::Sent);
    assert_eq!(outbound.take_fin(), Fin::Nothing);
}

#[test]
fn the_end_of_the_peer_or_of_the_connection_wakes_those_that_wait_for_it() {
    let ends: [fn(&mut Outbound) -> Vec<Waker>; 2] = [Outbound::note_peer_end, |outbound| outbound.close(CLOSED)];
    for end in ends {
        let mut outbound = Outbound::new();
        assert!(outbound.wake_at_end(Waker::noop()));
        let _ = outbound.append(|tail| tail.push(1));
        let _batch = outbound.take_batch().unwrap();
        assert!(outbound.complete_batch(&MARKS).is_empty(), "only the end wakes it");
        assert_eq!(end(&mut outbound).len(), 1);
        assert!(!outbound.wake_at_end(Waker::noop()), "it has happened");
        assert!(end(&mut outbound).is_empty(), "so nothing waits");
    }
}

#[test]
fn a_closed_queue_wakes_everything_that_waits_and_holds_nothing() {
    let payload = Arc::new(vec![0; COPY_BYTES_MAX + 1]);
    let shared = || Bytes::from_owner(Owner(Arc::clone(&payload)));
    let mut outbound = Outbound::new();
    assert_eq!(outbound.begin_exclusive(None), Ok(true));
    let _ = outbound.append_shared(b"head", shared());
    assert!(outbound.offer(&shared(), usize::MAX, &WIDE).is_ok());
    assert_eq!(outbound.check_sent(outbound.accepted_end(), Waker::noop()), Ok(false));
    assert_eq!(Arc::strong_count(&payload), 3);
    let _ = outbound.finish(false);
    drop(outbound.take_dropped());
    assert_eq!(Arc::strong_count(&payload), 2, "what was deferred is not sent");
    assert_eq!(outbound.bytes(), 4 + payload.len(), "what was accepted is");
    assert!(!outbound.is_closed());
    assert_eq!(outbound.close(CLOSED).len(), 1);
    assert!(outbound.is_closed());
    assert_eq!(Arc::strong_count(&payload), 2, "the application's destructors run without the lock");
    drop(outbound.take_dropped());
    assert_eq!((outbound.bytes(), Arc::strong_count(&payload)), (0, 1));
    assert!(outbound.close(CloseCause::Dropped).is_empty());
    assert_eq!(outbound.check_open(), Err(SendError::Closed(CLOSED)), "the first cause stands");
}

/// Memory of the application.
struct Owner(Arc<Vec<u8>>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[test]
fn offered_bytes_are_sent_at_once_only_by_an_idle_queue() {
    let offer = |outbound: &mut Outbound, bytes: usize, bytes_max: usize| match outbound.offer(
        &Bytes::from(vec![7; bytes]),
        bytes_max,
        &WIDE,
    ) {
        Ok(Offered::Send(batch)) => (batch.remaining(), "sent"),
        Ok(Offered::Queued(_)) => (outbound.bytes(), "queued"),
        Err(_) => (outbound.bytes(), "refused"),
    };
    let mut outbound = Outbound::new();
    assert_eq!(offer(&mut outbound, 4, 0), (4, "sent"), "whatever its bound, with nothing queued");
    assert_eq!(outbound.bytes(), 4, "in flight");
    assert_eq!(offer(&mut outbound, 2, 6), (6, "queued"), "up to its bound");
    assert_eq!(offer(&mut outbound, 1, 6), (6, "refused"), "beyond it");
    outbound.complete_batch(&WIDE);
    assert!(outbound.take_batch().is_some());
    outbound.complete_batch(&WIDE);
    assert_eq!(offer(&mut outbound, 3, 6), (3, "queued"), "the worker is about to look for more");
    let mut outbound = Outbound::new();
    assert_eq!(offer(&mut outbound, 0, 6), (0, "queued"), "there is nothing to send");
    let mut outbound = Outbound::new();
    assert_eq!(offer(&mut outbound, BATCH_BYTES_MAX, usize::MAX), (BATCH_BYTES_MAX, "sent"));
    let mut outbound = Outbound::new();
    let large = BATCH_BYTES_MAX + 1;
    assert_eq!(offer(&mut outbound, large, usize::MAX), (large, "queued"), "it leaves in steps");
}

#[test]
fn small_payloads_are_copied_and_large_ones_are_sent_from_their_place() {
    let head = [b'h'; 100];
    for (len, copied) in [(COPY_BYTES_MAX, true), (COPY_BYTES_MAX + 1, false)] {
        let payload = Bytes::from(vec![7; len]);
        let mut outbound = Outbound::new();
        let mut of_caller = payload.clone();
        let _ = enqueue(&mut outbound, &head, &mut of_caller);
        assert_eq!(of_caller.len(), if copied { len } else { 0 }, "a copied payload stays with the caller");
        assert!(outbound.tail.capacity() < 4 * len, "no more memory than the bytes need");
        let _ = outbound.append_either(&payload);
        let batch = outbound.take_batch().unwrap();
        assert_eq!(contents(&batch), [&head[..], &payload, &payload].concat());
        let in_place = batch.slices().filter(|slice| slice.as_ptr() == payload.as_ptr()).count();
        assert_eq!((batch.slices().count(), in_place), if copied { (1, 0) } else { (3, 2) });
    }
}
