//! The order of a connection's sends after publications of its own task.
//!
//! A publication reaches the queue through the worker; a send that the same task makes afterwards would overtake it. So
//! the publisher puts its own queue *behind*: sends are held until the worker, which delivers in order, says that it
//! has handed the publication over. Queues of other connections, and of members that do not publish, stay open and pay
//! nothing.

use std::task::Waker;

use bytes::Bytes;

use super::{FULL, Outbound, OutboundMarks, Schedule, SendState};
use crate::error::SendError;
use crate::util::biased_lock::NoWaiting;

impl Outbound {
    /// Puts later sends behind a publication. Returns false if the queue takes none.
    pub(crate) fn begin_behind(&mut self) -> bool {
        if self.check_open().is_err() {
            return false;
        }
        self.waiters.add_undelivered();
        if self.state == SendState::Open {
            self.state = SendState::Behind;
        }
        true
    }

    /// Notes that a publication was handed over. After the last one, queues the held sends and returns the wakers to
    /// wake.
    pub(crate) fn end_behind(&mut self) -> (Schedule, Vec<Waker>) {
        if self.waiters.sub_undelivered() > 0 || self.state != SendState::Behind {
            return (Schedule::AlreadyScheduled, Vec::new());
        }
        self.state = SendState::Open;
        (self.release_held(), self.take_wakers())
    }

    /// Returns whether sends are held, or would be.
    pub(crate) fn is_behind(&self) -> bool {
        self.state == SendState::Behind
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.waiters.held_bytes()
    }

    /// Queues the held sends.
    pub(crate) fn release_held(&mut self) -> Schedule {
        let mut schedule = Schedule::AlreadyScheduled;
        for bytes in self.waiters.take_held() {
            schedule = schedule.or(self.append_either(&bytes));
        }
        schedule
    }

    /// Checks for space as [`check_space`](Self::check_space), also for sends that will be held.
    pub(crate) fn check_space_held(&mut self, len: usize, marks: &OutboundMarks) -> Result<(), SendError> {
        match self.check_space(len, marks) {
            Err(SendError::Full) if self.is_behind() => self.check_held(len, marks),
            checked => checked,
        }
    }

    fn check_held(&mut self, len: usize, marks: &OutboundMarks) -> Result<(), SendError> {
        let bytes = self.bytes() + self.held_bytes();
        if bytes != 0 && (self.flags.has(FULL) || bytes.saturating_add(len) > marks.bytes_high) {
            self.flags.set(FULL);
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// Holds a send that was refused with `error`, if that is because the queue is behind a publication and has space.
    #[cold]
    pub(crate) fn keep_behind(
        &mut self,
        error: SendError,
        len: usize,
        marks: &OutboundMarks,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        self.check_behind(error, len, marks)?;
        let mut bytes = Vec::with_capacity(len);
        let encoding = NoWaiting::begin();
        encode(&mut bytes);
        drop(encoding);
        self.waiters.keep_behind(bytes.into());
        Ok(())
    }

    /// As [`keep_behind`](Self::keep_behind), for a head and bytes that are kept by reference.
    #[cold]
    pub(crate) fn keep_shared_behind(
        &mut self,
        error: SendError,
        marks: &OutboundMarks,
        head: &[u8],
        payload: &Bytes,
    ) -> Result<(), SendError> {
        self.check_behind(error, head.len() + payload.len(), marks)?;
        if !head.is_empty() {
            self.waiters.keep_behind(Bytes::copy_from_slice(head));
        }
        self.waiters.keep_behind(payload.clone());
        Ok(())
    }

    /// Appends in a state other than open, whatever is queued: what has to wait is kept for its turn.
    #[cold]
    pub(crate) fn append_unopened(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<Schedule, SendError> {
        self.check_open()?;
        let mut bytes = Vec::new();
        let encoding = NoWaiting::begin();
        encode(&mut bytes);
        drop(encoding);
        if self.is_behind() {
            self.waiters.keep_behind(bytes.into());
        } else {
            self.waiters.defer(bytes.into());
        }
        Ok(Schedule::AlreadyScheduled)
    }

    fn check_behind(&mut self, error: SendError, len: usize, marks: &OutboundMarks) -> Result<(), SendError> {
        if self.is_behind() { self.check_held(len, marks) } else { Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::outbound::Offered;

    const MARKS: OutboundMarks = OutboundMarks { bytes_high: 100, bytes_low: 20 };

    fn send(outbound: &mut Outbound, bytes: &[u8]) -> Result<(), SendError> {
        if let Err(error) = outbound.check_space(bytes.len(), &MARKS) {
            return outbound.keep_behind(error, bytes.len(), &MARKS, |out| out.extend_from_slice(bytes));
        }
        let _ = outbound.append(|out| out.extend_from_slice(bytes));
        Ok(())
    }

    fn contents(outbound: &mut Outbound) -> Vec<u8> {
        outbound.take_batch().map_or_else(Vec::new, |batch| batch.slices().flatten().copied().collect())
    }

    #[test]
    fn sends_follow_the_publications_before_them() {
        let mut outbound = Outbound::new();
        send(&mut outbound, b"first ").unwrap();
        assert!(outbound.begin_behind() && outbound.begin_behind());
        send(&mut outbound, b"last").unwrap();
        assert_eq!(outbound.held_bytes(), 4);
        for published in [b"second ", b"third! "] {
            assert!(matches!(
                outbound.offer(&Bytes::from_static(published), usize::MAX, &MARKS),
                Ok(Offered::Queued(_))
            ));
            let _ = outbound.end_behind();
        }
        assert_eq!((outbound.held_bytes(), outbound.is_behind()), (0, false));
        assert_eq!(contents(&mut outbound), b"first second third! last");
    }

    #[test]
    fn held_sends_are_bounded_and_keep_their_place_before_the_end() {
        let mut outbound = Outbound::new();
        assert!(outbound.begin_behind());
        send(&mut outbound, &[b'x'; 90]).unwrap();
        assert_eq!(outbound.check_space_held(11, &MARKS), Err(SendError::Full));
        assert_eq!(send(&mut outbound, b"too much for it"), Err(SendError::Full));
        assert_eq!(outbound.finish(false), Schedule::NeedsWake);
        assert_eq!(contents(&mut outbound).len(), 90);
        assert!(!outbound.begin_behind(), "nothing can follow");
    }

    #[test]
    fn held_sends_fill_the_high_mark_exactly_and_open_at_the_low_mark() {
        let mut outbound = Outbound::new();
        assert!(outbound.begin_behind());
        assert_eq!(outbound.check_space_held(1000, &MARKS), Ok(()), "with nothing else queued");
        send(&mut outbound, &[b'x'; 90]).unwrap();
        assert_eq!(outbound.check_space_held(10, &MARKS), Ok(()));
        assert_eq!(outbound.check_space_held(11, &MARKS), Err(SendError::Full));
        assert_eq!(outbound.check_space_held(1, &MARKS), Err(SendError::Full), "refused until the low mark");
    }

    #[test]
    fn only_a_publication_holds_sends() {
        let mut outbound = Outbound::new();
        assert_eq!(outbound.begin_exclusive(None), Ok(true));
        assert_eq!(outbound.check_space_held(1, &MARKS), Err(SendError::Full), "another sender has the queue");
        assert_eq!(send(&mut outbound, b"refused"), Err(SendError::Full));
        assert_eq!(outbound.held_bytes(), 0);
        let _ = outbound.finish(false);
        assert_eq!(outbound.check_space_held(1, &MARKS), Err(SendError::Finished));
    }

    #[test]
    fn a_held_message_keeps_its_payload_by_reference_and_counts_whole() {
        let payload = Bytes::from(vec![b'p'; 8]);
        let keep = |head: &[u8], payload: &Bytes| -> Result<(usize, Vec<u8>), SendError> {
            let mut outbound = Outbound::new();
            assert!(outbound.begin_behind());
            send(&mut outbound, &[b'x'; 90])?;
            outbound.keep_shared_behind(SendError::Full, &MARKS, head, payload)?;
            let held_bytes = outbound.held_bytes();
            let _ = outbound.end_behind();
            Ok((held_bytes, contents(&mut outbound).split_off(90)))
        };
        assert_eq!(keep(b"hd", &payload), Ok((100, b"hdpppppppp".to_vec())));
        assert_eq!(keep(b"", &payload), Ok((98, payload.to_vec())));
        assert_eq!(keep(b"hd ", &payload), Err(SendError::Full));
        assert_eq!(keep(b"long head", &payload.slice(..2)), Err(SendError::Full));
    }

    /// A publication during exclusive use: the sends after its end are held.
    #[test]
    fn exclusive_use_comes_first() {
        let mut outbound = Outbound::new();
        assert_eq!(outbound.begin_exclusive(None), Ok(true));
        assert!(outbound.begin_behind());
        let _ = outbound.append(|out| out.extend_from_slice(b"piece "));
        let _ = outbound.end_exclusive();
        send(&mut outbound, b"after").unwrap();
        assert_eq!(outbound.begin_exclusive(None), Ok(false), "a stream waits until then");
        assert!(outbound.offer(&Bytes::from_static(b"published "), usize::MAX, &MARKS).is_ok());
        let _ = outbound.end_behind();
        assert_eq!(contents(&mut outbound), b"piece published after");
    }
}
