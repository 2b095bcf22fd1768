//! Processor time and pinning.
//!
//! The client's time is that of the calling thread; a server's is the sum over its threads, read from their
//! `schedstat`, which counts nanoseconds where `/proc/PID/stat` counts ticks of 10 ms.

use std::time::Duration;
use std::{fs, io};

/// Pins the calling thread to a core.
///
/// # Errors
/// When the core does not exist or the process may not use it.
pub fn pin(core: usize) -> io::Result<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("can't pin to core {core}"),
    ))
}

/// The processor time the calling thread has used.
#[must_use]
pub fn thread_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec to a live one. The clock always exists, so the call can't fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

/// The processor time all live threads of a process have used.
///
/// # Errors
/// When the process is gone or its times can't be read.
pub fn process_time(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading; what it used is lost, as after any thread's end.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        nanos += on_core_nanos(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The first of schedstat's three numbers: nanoseconds spent on a core.
fn on_core_nanos(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_starts_with_the_time_on_a_core() {
        assert_eq!(on_core_nanos("123456789012 55 7\n"), Some(123_456_789_012));
        assert_eq!(on_core_nanos(""), None);
        assert_eq!(on_core_nanos("x 1 2"), None);
    }

    #[test]
    fn work_shows_in_both_clocks() {
        let (thread, process) = (thread_time(), process_time(std::process::id()).unwrap());
        let mut sum = 0_u64;
        while thread_time() - thread < Duration::from_millis(30) {
            sum = std::hint::black_box(sum + 1);
        }
        // The kernel brings schedstat up to date at its own ticks, so this is only a lower bound.
        assert!(process_time(std::process::id()).unwrap() > process);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(process_time(u32::MAX).is_err());
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(pin(1_000).is_err());
    }
}
