//! The buffer: order, accounting, marks, its waker, and its end.

use std::sync::Arc;

use super::*;
use crate::shared::chunk::COALESCE_BYTES_MAX;

const MARKS: InboundMarks = InboundMarks { bytes_high: 100, bytes_low: 20, chunks_high: 4, chunks_low: 1 };

fn chunk(len: usize) -> Chunk {
    Chunk::from(vec![0; len])
}

#[test]
fn keeps_order_and_counts() {
    let mut inbound = Inbound::new();
    for len in 1..=5 {
        inbound.push(chunk(len));
    }
    assert_eq!((inbound.bytes(), inbound.chunks()), (15, 5));
    for len in 1..=5 {
        assert_eq!(inbound.pop().unwrap().len(), len);
    }
    assert!(inbound.pop().is_none());
    assert_eq!((inbound.bytes(), inbound.chunks()), (0, 0));
}

#[test]
fn pauses_at_the_high_mark_and_resumes_once_at_the_low_mark() {
    let mut inbound = Inbound::new();
    inbound.push(chunk(60));
    assert!(!inbound.is_over_high(&MARKS));
    inbound.push(chunk(40));
    assert!(inbound.is_over_high(&MARKS));
    inbound.pause();
    assert!(!inbound.take_resume(&MARKS));
    inbound.pop();
    assert!(!inbound.take_resume(&MARKS), "40 bytes are over the low mark");
    inbound.pop();
    assert!(inbound.take_resume(&MARKS));
    assert!(!inbound.take_resume(&MARKS), "resumes once");
    assert_eq!(inbound.pauses(), 1);
}

#[test]
fn the_chunk_mark_holds_too() {
    let mut inbound = Inbound::new();
    for _ in 0..4 {
        inbound.push(chunk(1));
    }
    assert!(inbound.is_over_high(&MARKS));
}

#[test]
fn both_low_marks_are_the_last_values_to_resume_at() {
    // One chunk of 20 bytes; one of 21; two chunks of one byte.
    for (lens, resumes) in [(&[20][..], true), (&[21], false), (&[1, 1], false)] {
        let mut inbound = Inbound::new();
        lens.iter().for_each(|len| inbound.push(chunk(*len)));
        inbound.pause();
        assert_eq!(inbound.take_resume(&MARKS), resumes, "{lens:?}");
        assert_eq!(inbound.is_paused(), !resumes);
    }
}

#[test]
fn every_pause_counts_once() {
    let mut inbound = Inbound::new();
    assert!(!inbound.take_resume(&MARKS), "nothing is paused");
    assert_eq!(inbound.pauses(), 0);
    for pauses in 1..=3 {
        inbound.pause();
        inbound.pause();
        assert!(inbound.is_paused());
        assert_eq!(inbound.pauses(), pauses);
        assert!(inbound.take_resume(&MARKS));
    }
}

#[test]
fn small_receives_share_a_chunk() {
    let mut inbound = Inbound::new();
    assert!(!inbound.try_extend_last(&[1]), "there is no chunk");
    inbound.push(chunk(10));
    assert!(inbound.try_extend_last(&[1; 10]));
    assert_eq!((inbound.bytes(), inbound.chunks()), (20, 1));
    // Order holds: only the last chunk grows, and a full one does not.
    inbound.push(chunk(COALESCE_BYTES_MAX - 1));
    assert!(!inbound.try_extend_last(&[1; 2]));
    assert!(inbound.try_extend_last(&[1]));
    assert_eq!(inbound.bytes() as usize, 20 + COALESCE_BYTES_MAX);
    assert_eq!((inbound.received(), inbound.chunks()), (inbound.bytes(), 2));
    assert_eq!(inbound.pop().unwrap().len(), 20);
}

#[test]
fn received_bytes_stay_counted_when_they_are_taken() {
    let mut inbound = Inbound::new();
    assert!(inbound.is_empty());
    for _ in 0..2 {
        inbound.push(chunk(10));
        assert!(!inbound.is_empty());
        inbound.pop();
    }
    assert!(inbound.is_empty());
    assert_eq!((inbound.bytes(), inbound.received()), (0, 20));
}

#[test]
fn a_reader_is_woken_once_and_where_it_polled_last() {
    let [first, last] = [(); 2].map(|()| Arc::new(Task));
    let mut inbound = Inbound::new();
    assert!(inbound.take_waker().is_none());
    inbound.set_waker(&Waker::from(Arc::clone(&first)));
    inbound.set_waker(&Waker::from(Arc::clone(&last)));
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&last)), (1, 2));
    assert!(inbound.take_waker().is_some() && inbound.take_waker().is_none());
}

/// A reader can wait while chunks are queued: for the end of the peer.
#[test]
fn a_waker_survives_chunks_in_its_place() {
    let task = Arc::new(Task);
    let mut inbound = Inbound::new();
    inbound.set_waker(&Waker::from(Arc::clone(&task)));
    (1..=2).for_each(|len| inbound.push(chunk(len)));
    assert_eq!((inbound.bytes(), inbound.chunks(), Arc::strong_count(&task)), (3, 2, 2));
    assert_eq!(inbound.pop().map(|chunk| chunk.len()), Some(1));
    inbound.set_waker(&Waker::from(Arc::clone(&task)));
    assert_eq!(inbound.pop().map(|chunk| chunk.len()), Some(2));
    assert_eq!(Arc::strong_count(&task), 2, "there is one waker");
    assert!(inbound.pop().is_none());
    assert!(inbound.take_waker().is_some() && inbound.take_waker().is_none());
    assert!(inbound.rest.is_none());
}

#[test]
fn a_buffer_that_is_empty_again_has_no_memory_but_the_count_of_its_pauses() {
    let mut inbound = Inbound::new();
    (1..=3).for_each(|len| inbound.push(chunk(len)));
    while inbound.pop().is_some() {}
    assert!(inbound.rest.is_none());
    inbound.pause();
    (1..=3).for_each(|len| inbound.push(chunk(len)));
    assert_eq!(inbound.bytes(), 6);
    while inbound.pop().is_some() {}
    let rest = inbound.rest.as_ref().expect("the count");
    assert_eq!((rest.chunks.capacity(), rest.bytes, inbound.pauses(), inbound.bytes()), (0, 0, 1, 0));
}

struct Task;

impl std::task::Wake for Task {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn the_first_end_stands() {
    let mut inbound = Inbound::new();
    inbound.finish(End::Eof);
    inbound.finish(End::Failed(CloseCause::Reset));
    assert_eq!(inbound.end(), End::Eof);
}

/// The end of the peer behind unread bytes, the end of the stream, and a failure.
#[test]
fn the_end_of_the_peer_is_watched_for_a_failure_once() {
    let ends: [fn(&mut Inbound); 3] = [
        Inbound::note_peer_end,
        |inbound| inbound.finish(End::Eof),
        |inbound| inbound.finish(End::Failed(CloseCause::Reset)),
    ];
    for (case, end) in ends.into_iter().enumerate() {
        let mut inbound = Inbound::new();
        assert!(!inbound.has_peer_ended());
        assert!(!inbound.take_watch(), "there is nothing to watch for in case {case}");
        assert!(!inbound.has_peer_ended() && !inbound.is_watched());
        end(&mut inbound);
        assert!(inbound.has_peer_ended() && !inbound.is_watched(), "case {case}");
        assert!(inbound.take_watch(), "case {case}");
        // Another sign of the end changes nothing.
        inbound.note_peer_end();
        assert!(inbound.has_peer_ended() && inbound.is_watched(), "case {case}");
        assert!(!inbound.take_watch(), "case {case} is watched twice");
    }
}

#[test]
fn a_peer_that_ends_behind_unread_bytes_leaves_the_stream_open() {
    let mut inbound = Inbound::new();
    inbound.push(chunk(1));
    inbound.note_peer_end();
    assert_eq!((inbound.end(), inbound.bytes()), (End::Open, 1));
}

#[test]
fn discarding_drops_what_arrives() {
    let mut inbound = Inbound::new();
    inbound.push(chunk(10));
    drop(inbound.discard());
    inbound.push(chunk(10));
    assert!(inbound.try_extend_last(&[1]));
    assert_eq!((inbound.bytes(), inbound.chunks()), (0, 0));
}
