//! The queue held by one sender: what others may do meanwhile, and what follows it.

use std::task::Waker;

use bytes::Bytes;

use super::{Offered, Outbound, OutboundMarks, Schedule, SendState};
use crate::error::SendError;
use crate::shared::outbound::COPY_BYTES_MAX;

impl Outbound {
    /// Holds the queue for one sender; false if it is held already.
    pub(crate) fn begin_exclusive(&mut self) -> Result<bool, SendError> {
        self.check_open()?;
        let free = self.state == SendState::Open;
        self.state = SendState::Exclusive;
        Ok(free)
    }

    /// [`check_space`](Self::check_space) for the sender that holds the queue, and for what may go between its bytes.
    pub(crate) fn check_space_exclusive(&mut self, len: usize, marks: &OutboundMarks) -> Result<(), SendError> {
        self.check_open()?;
        self.check_room(len, marks)
    }

    /// Ends the hold, if the queue is still open: what was deferred is queued, and those who waited are to be woken.
    pub(crate) fn end_exclusive(&mut self) -> (Schedule, Vec<Waker>) {
        if self.state != SendState::Exclusive {
            return (Schedule::AlreadyScheduled, Vec::new());
        }
        self.state = SendState::Open;
        let mut schedule = Schedule::AlreadyScheduled;
        for bytes in self.waiters.take_deferred() {
            if self.append_either(&bytes) == Schedule::NeedsWake {
                schedule = Schedule::NeedsWake;
            }
        }
        (schedule, self.take_wakers())
    }

    /// Why the queue takes nothing: it is not open, or held. (Apart, so that the states are told from each other only here.)
    #[cold]
    #[inline(never)]
    pub(super) fn refusal(&self) -> SendError {
        self.check_open().err().unwrap_or(SendError::Full)
    }

    /// Keeps the worker's bytes until the hold ends, within `bytes_max` and the high mark, or alone.
    pub(super) fn defer(
        &mut self,
        shared: &Bytes,
        bytes_max: usize,
        marks: &OutboundMarks,
    ) -> Result<Offered, SendError> {
        let bytes = self.bytes() + self.waiters.deferred_bytes();
        if bytes != 0 && bytes + shared.len() > bytes_max.min(marks.bytes_high) {
            return Err(SendError::Full);
        }
        self.waiters.defer(shared.clone());
        Ok(Offered::Queued(Schedule::AlreadyScheduled))
    }

    /// Queues shared bytes by whichever way costs less.
    pub(super) fn append_either(&mut self, shared: &Bytes) -> Schedule {
        match shared.len() {
            ..=COPY_BYTES_MAX => self.append(|tail| tail.extend_from_slice(shared)),
            _ => self.append_shared(&[], shared.clone()),
        }
    }

    /// Leaves the open states for good. What waited for the end of a hold goes with it: it may not stand inside what the
    /// hold's sender did not finish.
    pub(super) fn end(&mut self, state: SendState) {
        self.waiters.take_deferred();
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: OutboundMarks = OutboundMarks { bytes_high: 100, bytes_low: 20 };

    fn exclusive() -> Outbound {
        let mut outbound = Outbound::new();
        assert_eq!(outbound.begin_exclusive(), Ok(true));
        assert_eq!(outbound.begin_exclusive(), Ok(false), "one at a time");
        outbound
    }

    fn contents(outbound: &mut Outbound) -> Vec<u8> {
        let batch = outbound.take_batch().unwrap();
        batch.slices().flatten().copied().collect()
    }

    #[test]
    fn others_wait_for_the_end_of_a_hold() {
        let mut outbound = exclusive();
        assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Full));
        assert_eq!(outbound.check_space_exclusive(1, &MARKS), Ok(()));
        outbound.add_waker(Waker::noop());
        assert_eq!(outbound.end_exclusive().1.len(), 1);
        assert_eq!(outbound.check_space(1, &MARKS), Ok(()));
    }

    #[test]
    fn what_the_worker_offers_meanwhile_follows_in_order_and_is_bounded() {
        let mut outbound = exclusive();
        let _ = outbound.append(|tail| tail.extend_from_slice(b"held"));
        for byte in [b"1", b"2"] {
            assert!(outbound.offer(&Bytes::from_static(byte), usize::MAX, &MARKS).is_ok());
        }
        assert!(outbound.offer(&Bytes::from(vec![0; 95]), usize::MAX, &MARKS).is_err(), "over the high mark");
        assert!(outbound.offer(&Bytes::from_static(b"3"), 6, &MARKS).is_err(), "over the bound of its own");
        let _ = outbound.append(|tail| tail.extend_from_slice(b" to the end "));
        let _ = outbound.end_exclusive();
        assert_eq!(contents(&mut outbound), b"held to the end 12");
    }

    #[test]
    fn a_queue_that_ends_while_held_sends_nothing_more() {
        let mut outbound = exclusive();
        assert!(outbound.offer(&Bytes::from_static(b"deferred"), usize::MAX, &MARKS).is_ok());
        outbound.set_farewell(b"bye");
        let _ = outbound.queue_farewell();
        let _ = outbound.end_exclusive();
        assert_eq!(outbound.check_space(1, &MARKS), Err(SendError::Finished));
        assert_eq!(contents(&mut outbound), b"bye");
    }
}
