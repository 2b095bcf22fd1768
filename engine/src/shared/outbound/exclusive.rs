//! Exclusive use of the queue by one sender.

use std::task::Waker;

use bytes::Bytes;

use super::{Offered, Outbound, OutboundMarks, Schedule, SendState};
use crate::error::SendError;
use crate::shared::outbound::COPY_BYTES_MAX;
use crate::shared::waiters::id_of;

impl Outbound {
    /// Begins exclusive use by one sender, in the task of `waker` if there is one. Returns false if another sender has
    /// it, or sends are held.
    ///
    /// # Errors
    /// [`SendError::HeldByCaller`] if the same task has it.
    pub(crate) fn begin_exclusive(&mut self, waker: Option<&Waker>) -> Result<bool, SendError> {
        self.check_open()?;
        if self.state != SendState::Open {
            return match waker {
                Some(waker) if self.is_held_by(waker) => Err(SendError::HeldByCaller),
                _ => Ok(false),
            };
        }
        self.state = SendState::Exclusive;
        self.waiters.set_holder(waker.map(id_of));
        Ok(true)
    }

    /// Notes that the exclusive use has passed to the task of `waker`.
    pub(crate) fn pass_exclusive(&mut self, waker: &Waker) {
        if self.state == SendState::Exclusive {
            self.waiters.set_holder(Some(id_of(waker)));
        }
    }

    fn is_held_by(&self, waker: &Waker) -> bool {
        self.state == SendState::Exclusive && self.waiters.is_holder(waker)
    }

    /// Returns the error for a send of the task of `waker` that was refused with `error`: it must not wait for itself.
    #[cold]
    pub(crate) fn error_for(&self, error: SendError, waker: &Waker) -> SendError {
        if error == SendError::Full && self.is_held_by(waker) { SendError::HeldByCaller } else { error }
    }

    /// Checks for space as [`check_space`](Self::check_space), for the sender with exclusive use and for bytes that can
    /// go between its own.
    pub(crate) fn check_space_exclusive(&mut self, len: usize, marks: &OutboundMarks) -> Result<(), SendError> {
        self.check_open()?;
        self.check_room(len, marks)
    }

    /// Ends exclusive use, if the queue is still open: queues the deferred bytes and returns the wakers to wake.
    pub(crate) fn end_exclusive(&mut self) -> (Schedule, Vec<Waker>) {
        self.waiters.set_holder(None);
        if self.state != SendState::Exclusive {
            return (Schedule::AlreadyScheduled, Vec::new());
        }
        self.state = if self.waiters.undelivered() > 0 { SendState::Behind } else { SendState::Open };
        let mut schedule = Schedule::AlreadyScheduled;
        for bytes in self.waiters.take_deferred() {
            if self.append_either(&bytes) == Schedule::NeedsWake {
                schedule = Schedule::NeedsWake;
            }
        }
        (schedule, self.take_wakers())
    }

    /// Returns why the queue takes nothing: it is not open, or in exclusive use. (Apart, so that only this cold path
    /// distinguishes the states.)
    #[cold]
    #[inline(never)]
    pub(super) fn refusal(&self) -> SendError {
        self.check_open().err().unwrap_or(SendError::Full)
    }

    /// As [`offer`](Self::offer), in a state other than open.
    #[cold]
    #[inline(never)]
    pub(super) fn offer_unopened(
        &mut self,
        shared: &Bytes,
        bytes_max: usize,
        marks: &OutboundMarks,
    ) -> Result<Offered, SendError> {
        match self.state {
            SendState::Exclusive => self.defer(shared, bytes_max, marks),
            SendState::Behind => self.offer_room(shared, bytes_max, marks),
            _ => Err(self.refusal()),
        }
    }

    /// Keeps the worker's bytes until exclusive use ends, within `bytes_max` and the high mark, or with nothing else
    /// queued.
    fn defer(&mut self, shared: &Bytes, bytes_max: usize, marks: &OutboundMarks) -> Result<Offered, SendError> {
        let bytes = self.bytes() + self.waiters.deferred_bytes();
        if bytes != 0 && bytes + shared.len() > bytes_max.min(marks.bytes_high) {
            return Err(SendError::Full);
        }
        self.waiters.defer(shared.clone());
        Ok(Offered::Queued(Schedule::AlreadyScheduled))
    }

    /// Queues shared bytes by copy or by reference, whichever costs less.
    pub(super) fn append_either(&mut self, shared: &Bytes) -> Schedule {
        match shared.len() {
            ..=COPY_BYTES_MAX => self.append(|tail| tail.extend_from_slice(shared)),
            _ => self.append_shared(&[], shared.clone()),
        }
    }

    /// Leaves the open states for good. Deferred bytes are not sent (see [`take_dropped`](Self::take_dropped)): they
    /// must not stand inside data that the exclusive sender did not finish.
    pub(super) fn end(&mut self, state: SendState) {
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: OutboundMarks = OutboundMarks { bytes_high: 100, bytes_low: 20 };

    fn exclusive() -> Outbound {
        let mut outbound = Outbound::new();
        assert_eq!(outbound.begin_exclusive(None), Ok(true));
        assert_eq!(outbound.begin_exclusive(None), Ok(false), "one at a time");
        outbound
    }

    fn contents(outbound: &mut Outbound) -> Vec<u8> {
        let batch = outbound.take_batch().unwrap();
        batch.slices().flatten().copied().collect()
    }

    #[test]
    fn others_wait_for_the_end_of_exclusive_use() {
        let mut outbound = exclusive();
        assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Full));
        assert_eq!(outbound.check_space_exclusive(1, &MARKS), Ok(()));
        outbound.add_waker(Waker::noop());
        assert_eq!(outbound.end_exclusive().1.len(), 1);
        assert_eq!(outbound.check_space(1, &MARKS), Ok(()));
    }

    struct Task;

    impl std::task::Wake for Task {
        fn wake(self: std::sync::Arc<Self>) {}
    }

    #[test]
    fn a_task_does_not_wait_for_itself() {
        // Clones of clones have one table of functions under miri too.
        let [one, two] = [(); 2].map(|()| Waker::from(std::sync::Arc::new(Task)).clone());
        let mut outbound = Outbound::new();
        assert_eq!(outbound.begin_exclusive(Some(&one)), Ok(true));
        assert_eq!(outbound.begin_exclusive(Some(&one)), Err(SendError::HeldByCaller));
        assert_eq!(outbound.error_for(SendError::Full, &one), SendError::HeldByCaller);
        assert_eq!(outbound.error_for(SendError::Full, &two), SendError::Full);
        assert_eq!(outbound.begin_exclusive(Some(&two)), Ok(false));
        outbound.pass_exclusive(&two);
        assert_eq!(outbound.error_for(SendError::Full, &one), SendError::Full);
        assert_eq!(outbound.error_for(SendError::Full, &two), SendError::HeldByCaller);
        let _ = outbound.end_exclusive();
        assert_eq!(outbound.error_for(SendError::Full, &two), SendError::Full, "the queue is full, and empties");
    }

    #[test]
    fn bytes_offered_meanwhile_follow_in_order_and_are_bounded() {
        let mut outbound = exclusive();
        let _ = outbound.append(|tail| tail.extend_from_slice(b"held"));
        for byte in [b"1", b"2"] {
            assert!(outbound.offer(&Bytes::from_static(byte), usize::MAX, &MARKS).is_ok());
        }
        assert!(outbound.offer(&Bytes::from(vec![0; 95]), usize::MAX, &MARKS).is_err(), "over the high mark");
        assert!(outbound.offer(&Bytes::from_static(b"3"), 6, &MARKS).is_err(), "over its own bound");
        let _ = outbound.append(|tail| tail.extend_from_slice(b" to the end "));
        let _ = outbound.end_exclusive();
        assert_eq!(contents(&mut outbound), b"held to the end 12");
    }

    #[test]
    fn offered_bytes_wait_up_to_the_high_mark_and_alone_whatever_their_size() {
        let offer = |outbound: &mut Outbound, bytes: usize| outbound.offer(&Bytes::from(vec![0; bytes]), 1000, &MARKS);
        let mut outbound = exclusive();
        let _ = outbound.append(|tail| tail.extend_from_slice(b"held"));
        assert!(offer(&mut outbound, 97).is_err());
        assert!(offer(&mut outbound, 96).is_ok(), "exactly up to the mark");
        assert!(offer(&mut outbound, 0).is_err(), "places count too");
        let mut outbound = exclusive();
        assert!(offer(&mut outbound, 1001).is_ok(), "nothing else is queued");
        assert!(offer(&mut outbound, 1).is_err());
    }

    #[test]
    fn the_sender_with_exclusive_use_is_bounded_too() {
        let mut outbound = exclusive();
        let _ = outbound.append(|tail| tail.resize(90, 0));
        assert_eq!(outbound.check_space_exclusive(10, &MARKS), Ok(()));
        assert_eq!(outbound.check_space_exclusive(11, &MARKS), Err(SendError::Full));
        let mut outbound = exclusive();
        let _ = outbound.finish(false);
        assert_eq!(outbound.check_space_exclusive(1, &MARKS), Err(SendError::Finished));
    }

    #[test]
    fn the_worker_is_notified_of_bytes_that_were_deferred() {
        for (queue_before, expected) in [(false, Schedule::NeedsWake), (true, Schedule::AlreadyScheduled)] {
            let mut outbound = exclusive();
            if queue_before {
                let _ = outbound.append(|tail| tail.extend_from_slice(b"before"));
            }
            for _ in 0..2 {
                assert!(outbound.offer(&Bytes::from_static(b"deferred"), usize::MAX, &MARKS).is_ok());
            }
            assert_eq!(outbound.end_exclusive().0, expected);
        }
    }

    #[test]
    fn a_queue_that_ends_in_exclusive_use_sends_nothing_more() {
        let mut outbound = exclusive();
        assert!(outbound.offer(&Bytes::from_static(b"deferred"), usize::MAX, &MARKS).is_ok());
        outbound.set_farewell(b"bye");
        let _ = outbound.queue_farewell();
        let _ = outbound.end_exclusive();
        assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Finished));
        assert_eq!(contents(&mut outbound), b"bye");
    }
}
