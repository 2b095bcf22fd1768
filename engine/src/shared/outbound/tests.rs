//! The queue: order, accounting, marks, and its end.

use super::*;
use crate::shared::send_batch::BATCH_SEGMENTS_MAX;

const MARKS: OutboundMarks = OutboundMarks { bytes_high: 100, bytes_low: 20 };

fn contents(batch: &SendBatch) -> Vec<u8> {
    batch.slices().collect::<Vec<_>>().concat()
}

#[test]
fn only_the_last_bytes_before_the_end_wait_for_the_fin() {
    let mut outbound = Outbound::new();
    let _ = outbound.append(|tail| tail.extend_from_slice(b"more may come"));
    assert!(!outbound.take_batch().unwrap().awaits_fin);
    outbound.complete_batch(&MARKS);
    for _ in 0..=BATCH_SEGMENTS_MAX {
        let _ = outbound.append_shared(&[], Bytes::from_static(b"shared"));
    }
    outbound.expect_end();
    assert!(!outbound.take_batch().unwrap().awaits_fin, "something is queued behind it");
    outbound.complete_batch(&MARKS);
    assert!(outbound.take_batch().unwrap().awaits_fin);
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
