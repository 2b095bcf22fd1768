//! One io_uring instance: setup, submission, entering with a timeout, reaping.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

use crate::config::UringConfig;

pub(super) struct Ring {
    uring: IoUring,
    no_sqarray: bool,
    /// The error that ended the ring while an entry was queued, for the next [`enter`](Ring::enter).
    failed: Option<io::Error>,
}

/// Pause after the kernel was short of memory.
const ENOMEM_PAUSE: Duration = Duration::from_millis(1);

/// Returns whether an error of `io_uring_enter(2)` passes: a signal arrived, completions must be reaped first, or
/// memory is short.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ENOMEM))
}

impl Ring {
    /// Sets the ring up for one submitter that asks for its completions (DEFER_TASKRUN, Linux 6.1), without an
    /// indirection array where possible (6.6).
    ///
    /// # Errors
    /// The error of `io_uring_setup(2)`: EPERM where it is forbidden, ENOSYS where it is missing, EINVAL before Linux
    /// 6.1, ENOMEM where the locked-memory limit is too low.
    pub(super) fn new(config: &UringConfig) -> io::Result<Self> {
        match Self::set_up(config, true) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Self::set_up(config, false),
            answer => answer,
        }
    }

    fn set_up(config: &UringConfig, no_sqarray: bool) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(config.completion_entries).dontfork();
        builder.setup_submit_all().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        Ok(Self { uring: builder.build(config.submission_entries)?, no_sqarray, failed: None })
    }

    /// Returns whether it was set up without an indirection array.
    pub(super) fn has_no_sqarray(&self) -> bool {
        self.no_sqarray
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.uring.submitter()
    }

    /// Queues an entry. If the submission queue is full, submits the queued entries first. If the ring has failed,
    /// drops the entry, and [`enter`](Self::enter) returns the error.
    ///
    /// # Safety
    /// All memory and descriptors that the entry names must stay valid until its last completion is reaped.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: guaranteed by the caller.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return;
            }
            match self.uring.submit() {
                Ok(_) => {}
                Err(error) if is_passing(&error) => {
                    // The entries stay queued, and the kernel's backlog is bounded by the outstanding operations, so
                    // this loop ends.
                    log::trace!("submission queue full: {error}");
                    std::thread::yield_now();
                }
                Err(error) => {
                    self.failed.get_or_insert(error);
                    return;
                }
            }
        }
    }

    /// Submits queued entries and waits for a completion, at most for `timeout`; zero does not wait.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let waits = timeout != Some(Duration::ZERO) && self.uring.completion().is_empty();
        let result = if !waits {
            let nothing = {
                let queue = self.uring.submission();
                queue.is_empty() && !queue.taskrun() && !queue.cq_overflow()
            };
            if nothing { Ok(0) } else { self.uring.submit() }
        } else {
            match timeout {
                None => self.uring.submit_and_wait(1),
                Some(timeout) => {
                    let time = Timespec::from(timeout);
                    self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
                }
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // The timeout passed, a signal arrived, or completions must be reaped first. In each case the caller
                // reaps next.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => {
                    if error.raw_os_error() == Some(libc::ENOMEM) {
                        // The caller tries again.
                        std::thread::sleep(ENOMEM_PAUSE);
                    }
                    Err(error)
                }
            },
        }
    }

    /// Returns whether there is no completion to reap.
    pub(super) fn is_reaped(&mut self) -> bool {
        let has_overflow = self.uring.submission().cq_overflow();
        !has_overflow && self.uring.completion().is_empty()
    }

    /// Moves the available completions into `into`.
    pub(super) fn reap(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.uring.completion());
    }
}

/// An eventfd. Each write posts one completion of a multishot poll.
pub(super) struct WakeFd(OwnedFd);

impl WakeFd {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; its result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(super) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }

    pub(super) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: writes eight bytes from a buffer of eight. The counter is never read and holds 2^64 - 2 wakes, so it
        // never becomes full.
        unsafe { libc::write(self.raw(), one.as_ptr().cast(), one.len()) };
    }
}
