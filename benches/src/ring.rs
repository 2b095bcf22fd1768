//! One io_uring, set up like the ring of the Tidegate engine.
//!
//! Owns the ring until the process ends: it is leaked on purpose, so the submitter and both queues can be held
//! separately without a self-referential type. One thread uses it. It never interprets a completion: callers pack what
//! they need into the user data with [`user_data`] and read it back from the [`Completion`].

use std::io;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue};

/// Submissions queued between two enters. A full queue is submitted early, so this bounds memory, not work.
pub const SUBMISSIONS_MAX: u32 = 1024;

/// Completions the kernel can post before it falls back to its overflow list: room for 8,192 connections that each
/// complete a send and a receive at a time.
pub const COMPLETIONS_MAX: u32 = 16_384;

/// A ring used by the thread that made it.
pub struct Ring {
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
}

/// One completion.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// The user data of the submission.
    pub user_data: u64,
    /// The result of the operation, such as a number of bytes, or a negated error number.
    pub result: i32,
    /// The flags of the completion.
    pub flags: u32,
}

impl Completion {
    /// Returns the operation given to [`user_data`].
    #[must_use]
    pub fn operation(&self) -> u8 {
        (self.user_data >> 56) as u8
    }

    /// Returns the index given to [`user_data`].
    #[must_use]
    pub fn index(&self) -> usize {
        self.user_data as u32 as usize
    }

    /// Returns whether the operation stays armed and will complete again.
    #[must_use]
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// Returns the result as an error if it is one.
    #[must_use]
    pub fn error(&self) -> Option<io::Error> {
        (self.result < 0).then(|| io::Error::from_raw_os_error(-self.result))
    }
}

/// Packs an operation and the index of its connection into user data.
#[must_use]
pub fn user_data(operation: u8, index: usize) -> u64 {
    (u64::from(operation) << 56) | index as u64
}

impl Ring {
    /// Makes a ring for this thread: single issuer, deferred task work, no index array, a registered descriptor.
    ///
    /// # Errors
    /// Any error from `io_uring_setup` or the registration; EPERM where io_uring is forbidden.
    pub fn new() -> io::Result<Self> {
        let mut ring = Self::sized(SUBMISSIONS_MAX, COMPLETIONS_MAX)?;
        ring.submitter.register_ring_fd()?;
        Ok(ring)
    }

    /// Makes one of many rings for this thread: as [`new`](Self::new), with queues of these sizes, and without a
    /// registered descriptor, of which a thread has 16 at most.
    ///
    /// # Errors
    /// Any error from `io_uring_setup`; EPERM where io_uring is forbidden.
    pub fn sized(submissions: u32, completions: u32) -> io::Result<Self> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_cqsize(completions)
            .build(submissions)?;
        let (submitter, submissions, completions) = Box::leak(Box::new(ring)).split();
        Ok(Self { submitter, submissions, completions })
    }

    /// Returns the submitter, for registering files and buffers.
    #[must_use]
    pub fn submitter(&self) -> &Submitter<'static> {
        &self.submitter
    }

    /// Queues a submission. A full queue is submitted first.
    ///
    /// # Errors
    /// Any error from `io_uring_enter` when the queue had to be submitted.
    ///
    /// # Safety
    /// The memory that the entry points to must stay valid, and unused by anything else where the kernel writes, until
    /// the entry's last completion.
    pub unsafe fn push(&mut self, entry: &Entry) -> io::Result<()> {
        // SAFETY: the caller keeps the requirements of the queue.
        while unsafe { self.submissions.push(entry) }.is_err() {
            self.submissions.sync();
            tolerate(self.submitter.submit())?;
            self.submissions.sync();
        }
        Ok(())
    }

    /// Queues submissions that are linked to each other, and must be submitted together. At most as many as the queue
    /// has room for.
    ///
    /// # Errors
    /// Like [`push`](Self::push).
    ///
    /// # Safety
    /// Like [`push`](Self::push), for each entry.
    pub unsafe fn push_linked(&mut self, entries: &[Entry]) -> io::Result<()> {
        debug_assert!(entries.len() <= self.submissions.capacity());
        // SAFETY: the caller keeps the requirements of the queue.
        while unsafe { self.submissions.push_multiple(entries) }.is_err() {
            self.submissions.sync();
            tolerate(self.submitter.submit())?;
            self.submissions.sync();
        }
        Ok(())
    }

    /// Submits the queue and waits for at least one completion, or for `timeout`. A zero timeout runs the work that is
    /// ready and returns.
    ///
    /// # Errors
    /// Any error from `io_uring_enter` except a timeout, an interruption or a temporary shortage.
    pub fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enter_for(1, timeout)
    }

    /// Submits the queue and waits for at least `wanted` completions, or for `timeout`. A caller that knows more than
    /// one will arrive sleeps once for all of them.
    ///
    /// # Errors
    /// Like [`enter`](Self::enter).
    pub fn enter_for(&mut self, wanted: usize, timeout: Option<Duration>) -> io::Result<()> {
        self.submissions.sync();
        let entered = match timeout {
            None => self.submitter.submit_and_wait(wanted),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                self.submitter.submit_with_args(wanted, &SubmitArgs::new().timespec(&timeout))
            }
        };
        self.submissions.sync();
        tolerate(entered)
    }

    /// Moves every posted completion into `list`, which is cleared first.
    pub fn reap(&mut self, list: &mut Vec<Completion>) {
        list.clear();
        self.completions.sync();
        list.extend(self.completions.by_ref().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        self.completions.sync();
    }
}

/// Drops the errors that only call for another enter.
fn tolerate(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_round_trips() {
        for (operation, index) in [(0, 0), (1, 7), (255, u32::MAX as usize)] {
            let completion = Completion { user_data: user_data(operation, index), result: 0, flags: 0 };
            assert_eq!((completion.operation(), completion.index()), (operation, index));
        }
    }

    #[test]
    fn a_full_queue_is_submitted_and_every_entry_completes() {
        let mut ring = Ring::new().unwrap();
        let entries = SUBMISSIONS_MAX as usize * 2 + 1;
        for index in 0..entries {
            let entry = io_uring::opcode::Nop::new().build().user_data(user_data(3, index));
            // SAFETY: a no-op points to no memory.
            unsafe { ring.push(&entry) }.unwrap();
        }
        let (mut list, mut seen) = (Vec::new(), Vec::new());
        while seen.len() < entries {
            ring.enter(None).unwrap();
            ring.reap(&mut list);
            seen.extend(list.iter().map(Completion::index));
        }
        assert!(seen.iter().copied().eq(0..entries));
    }

    #[test]
    fn enter_with_nothing_to_wait_for_times_out() {
        let mut ring = Ring::new().unwrap();
        let mut list = Vec::new();
        ring.enter(Some(Duration::ZERO)).unwrap();
        ring.reap(&mut list);
        assert!(list.is_empty());
    }
}
