//! One io_uring instance: set up with what the kernel grants, entered with a timeout.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

use crate::config::UringConfig;

pub(super) struct Ring {
    uring: IoUring,
    /// How it was set up, for people.
    features: Vec<&'static str>,
}

/// Flags to try, the best first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SetUp {
    /// `Deferred` and no indirection array (6.6).
    Lean,
    /// Completions are delivered when the worker asks for them, and to it alone (6.1).
    Deferred,
    /// Completions are delivered when the worker enters the kernel anyway (5.19).
    Cooperative,
    /// No flags (5.11 for what is checked below).
    Plain,
}

impl Ring {
    /// Sets the ring up with the best flags the kernel grants.
    ///
    /// # Errors
    /// What `io_uring_setup(2)` answered to the plainest flags: EPERM where it is forbidden, ENOSYS where it is
    /// missing, ENOMEM where the locked-memory limit is too low.
    pub(super) fn new(config: &UringConfig) -> io::Result<Self> {
        let mut last = io::Error::from_raw_os_error(libc::ENOSYS);
        for setup in [SetUp::Lean, SetUp::Deferred, SetUp::Cooperative, SetUp::Plain] {
            if !config.defer_taskrun && matches!(setup, SetUp::Lean | SetUp::Deferred) {
                continue;
            }
            match Self::set_up(config, setup) {
                Ok(ring) => return Ok(ring),
                // Only an unknown flag is worth another attempt.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn set_up(config: &UringConfig, setup: SetUp) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(config.completion_entries).dontfork();
        let mut features = Vec::new();
        match setup {
            SetUp::Lean | SetUp::Deferred => {
                builder.setup_submit_all().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
                features.push("defer-taskrun");
            }
            SetUp::Cooperative => {
                builder.setup_submit_all().setup_coop_taskrun().setup_taskrun_flag();
            }
            SetUp::Plain => {}
        }
        if setup == SetUp::Lean {
            builder.setup_no_sqarray();
            features.push("no-sqarray");
        }
        let uring = builder.build(config.submission_entries)?;
        if !uring.params().is_feature_nodrop() || !uring.params().is_feature_ext_arg() {
            // Before Linux 5.11 completions could be lost and waits had no timeout.
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        Ok(Self { uring, features })
    }

    pub(super) fn features(&self) -> &[&'static str] {
        &self.features
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.uring.submitter()
    }

    /// Queues an entry, submitting what is queued first if the submission queue is full.
    ///
    /// # Safety
    /// Whatever memory and descriptors the entry names must stay valid until its last completion was reaped.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: passed on to the caller.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return;
            }
            if let Err(error) = self.uring.submit() {
                // EBUSY or EAGAIN: completions wait to be reaped, or memory is short for a moment. The entries stay
                // queued and the kernel's backlog is bounded by the operations outstanding, so this ends.
                log::trace!("submission queue full: {error}");
                std::thread::yield_now();
            }
        }
    }

    /// Submits what is queued and waits for a completion, at most `timeout`; zero does not wait.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
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
                // The time is up, a signal came, or completions must be reaped first: all of it is for the caller's
                // next look at the completion queue.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Moves the completions there are to `into`.
    pub(super) fn reap(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.uring.completion());
    }
}

/// An event counter whose every write posts one completion of a multishot poll.
pub(super) struct WakeFd(OwnedFd);

impl WakeFd {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers; its result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that no one else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(super) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }

    pub(super) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: writes eight bytes from a buffer of eight. The counter is never read and holds 2^64 - 2 wakes, so the
        // write cannot find it full.
        unsafe { libc::write(self.raw(), one.as_ptr().cast(), one.len()) };
    }
}
