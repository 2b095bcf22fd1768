//! Processor time and pinning.
//!
//! The client's times are those of the calling thread. A server's times are the sums over its threads, read from their
//! `schedstat`, which counts nanoseconds where `/proc/PID/stat` counts ticks of 10 ms.

use std::time::Duration;
use std::{fs, io};

/// Pins the calling thread to a core.
///
/// # Errors
/// If the core does not exist or the process may not use it.
pub fn pin(core: usize) -> io::Result<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("cannot pin to core {core}: must be a core this process may use"),
    ))
}

/// Processor time of one or more threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Time on a core.
    pub busy: Duration,
    /// Time ready to run while other work occupied the core: the sign of a disturbed measurement.
    pub waited: Duration,
}

impl Times {
    /// Returns the times added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { busy: self.busy.saturating_sub(earlier.busy), waited: self.waited.saturating_sub(earlier.waited) }
    }
}

/// Returns the times of the calling thread.
///
/// # Errors
/// If the kernel keeps no `schedstat`.
pub fn thread_times() -> io::Result<Times> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let waited = parse(&text).ok_or_else(invalid)?.waited;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to a live one. The clock always exists, so the call cannot fail. The busy
    // time comes from this clock because `schedstat` lags by up to a tick for a running thread.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Ok(Times { busy: Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32), waited })
}

/// Returns the sum of the times of a process's live threads.
///
/// # Errors
/// If the process is gone or its times cannot be read.
pub fn process_times(pid: u32) -> io::Result<Times> {
    let mut sum = Times::default();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread can end between the listing and the reading. Its time is not counted, like that of any thread that
        // has ended.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        let times = parse(&text).ok_or_else(invalid)?;
        sum.busy += times.busy;
        sum.waited += times.waited;
    }
    Ok(sum)
}

/// Processor time of a process in its own code and in the kernel, by the kernel's ticks of 10 ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shares {
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub kernel: Duration,
}

impl Shares {
    /// Returns the times of a process up to now, of ended threads too.
    ///
    /// # Errors
    /// If the process is gone or its times cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // SAFETY: sysconf only looks up a number.
        let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        parse_stat(&text, f64::from(i32::try_from(ticks_per_s).unwrap_or(100)))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "invalid stat: must have 15 fields"))
    }

    /// Returns the times added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let kernel = self.kernel.saturating_sub(earlier.kernel);
        Self { user: self.user.saturating_sub(earlier.user), kernel }
    }
}

/// Parses the fields `utime` and `stime`. The second field is a name in parentheses that can contain anything.
fn parse_stat(stat: &str, ticks_per_s: f64) -> Option<Shares> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_ascii_whitespace().skip(11).map(|ticks| ticks.parse::<u32>());
    let mut next = || Some(Duration::from_secs_f64(f64::from(times.next()?.ok()?) / ticks_per_s));
    Some(Shares { user: next()?, kernel: next()? })
}

/// Parses the first two of the three numbers in `schedstat`, in nanoseconds.
fn parse(schedstat: &str) -> Option<Times> {
    let mut numbers = schedstat.split_ascii_whitespace().map(str::parse);
    let (Some(Ok(busy)), Some(Ok(waited))) = (numbers.next(), numbers.next()) else {
        return None;
    };
    Some(Times { busy: Duration::from_nanos(busy), waited: Duration::from_nanos(waited) })
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "invalid schedstat: must start with two numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_starts_with_the_time_on_a_core_and_the_time_waiting() {
        let nanos = Duration::from_nanos;
        let times = Times { busy: nanos(123_456_789_012), waited: nanos(55) };
        assert_eq!(parse("123456789012 55 7\n"), Some(times));
        assert_eq!(parse(""), None);
        assert_eq!(parse("1"), None);
        assert_eq!(parse("x 1 2"), None);
    }

    #[test]
    fn shares_are_the_fourteenth_and_fifteenth_field() {
        let stat = "7 (a) b) S 4 5 6 7 8 9 10 11 12 13 250 31 16";
        let shares = Shares { user: Duration::from_millis(2500), kernel: Duration::from_millis(310) };
        assert_eq!(parse_stat(stat, 100.0), Some(shares));
        assert_eq!(parse_stat("7 (a) S 4", 100.0), None);
        assert!(Shares::of(std::process::id()).is_ok());
    }

    #[test]
    fn work_shows_in_both_clocks() {
        let process = process_times(std::process::id()).unwrap();
        let thread = thread_times().unwrap();
        let mut sum = 0_u64;
        while thread_times().unwrap().since(thread).busy < Duration::from_millis(30) {
            sum = std::hint::black_box(sum + 1);
        }
        // The kernel updates `schedstat` at its own ticks, so this is only a lower bound.
        assert!(process_times(std::process::id()).unwrap().busy > process.busy);
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert!(process_times(u32::MAX).is_err());
    }

    #[test]
    fn a_missing_core_is_an_error() {
        assert!(pin(1_000).is_err());
    }
}
