//! The clock and the counts of a run: warm-up, measuring, draining.
//!
//! Owns the phase, the counts and the latencies. A mode reports its progress and asks whether to go on. This module
//! never waits and never touches a connection.

use std::io;
use std::time::{Duration, Instant};

use crate::config::Run;
use crate::cpu::{self, Times};
use crate::histogram::Histogram;

/// The longest sleep in one enter, so the ends of warm-up and measuring are noticed at most this late.
pub const ENTER_TIMEOUT_MAX: Duration = Duration::from_millis(50);

/// Phase of a run. Times are nanoseconds since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Warmup { until: u64 },
    Measuring { since: Mark, until: u64 },
    Draining,
}

/// The clocks at one instant.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    at: u64,
    client: Times,
    server: Option<Times>,
}

/// The numbers of the measured part of a run.
#[derive(Debug)]
pub struct Measured {
    /// Duration of the measured part.
    pub wall: Duration,
    /// Messages, deliveries, requests or cycles in that time.
    pub units: u64,
    /// Processor time of the client's thread.
    pub client: Times,
    /// Processor time of the server's threads, if its process is known.
    pub server: Option<Times>,
    /// Latencies in nanoseconds.
    pub latency: Histogram,
}

/// The clock and the counts of one run.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    phase: Phase,
    measured: Duration,
    stall_nanos: u64,
    server_pid: Option<u32>,
    measuring: bool,
    progress_at: u64,
    units: u64,
    latency: Histogram,
    span: Option<(Mark, Mark)>,
}

impl Meter {
    /// Starts the clock with the warm-up.
    #[must_use]
    pub fn start(run: &Run) -> Self {
        Self {
            start: Instant::now(),
            phase: Phase::Warmup { until: nanos(run.warmup) },
            measured: run.measured,
            stall_nanos: nanos(run.stall),
            server_pid: run.server_pid,
            measuring: false,
            progress_at: 0,
            units: 0,
            latency: Histogram::default(),
            span: None,
        }
    }

    /// Returns the nanoseconds since the start.
    #[must_use]
    pub fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }

    /// Moves on to measuring or draining when the time of the current phase is over.
    ///
    /// # Errors
    /// If the times of a process cannot be read.
    pub fn advance(&mut self, now: u64) -> io::Result<()> {
        match self.phase {
            Phase::Warmup { until } if now >= until => {
                self.measuring = true;
                self.phase = Phase::Measuring { since: self.mark(now)?, until: now + nanos(self.measured) };
            }
            Phase::Measuring { since, until } if now >= until => {
                self.measuring = false;
                self.span = Some((since, self.mark(now)?));
                self.phase = Phase::Draining;
            }
            Phase::Warmup { .. } | Phase::Measuring { .. } | Phase::Draining => {}
        }
        Ok(())
    }

    /// Returns whether no new work may start.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase == Phase::Draining
    }

    /// Returns whether progress counts now.
    #[inline]
    #[must_use]
    pub fn is_measuring(&self) -> bool {
        self.measuring
    }

    /// Records `units` of progress.
    #[inline]
    pub fn count(&mut self, now: u64, units: u64) {
        self.units += if self.measuring { units } else { 0 };
        self.progress_at = now;
    }

    /// Records the latency, from `due` to `now`, of `times` units.
    #[inline]
    pub fn time(&mut self, now: u64, due: u64, times: u64) {
        if self.measuring {
            self.latency.record(now.saturating_sub(due), times);
        }
    }

    /// Returns whether there was no progress for the stall timeout although something was `awaited`.
    pub fn is_stalled(&mut self, now: u64, awaited: bool) -> bool {
        if !awaited {
            self.progress_at = now;
        }
        now.saturating_sub(self.progress_at) >= self.stall_nanos
    }

    /// Returns the numbers.
    ///
    /// # Errors
    /// If the run ended before the measured part did.
    pub fn finish(self) -> io::Result<Measured> {
        let (since, until) =
            self.span.ok_or_else(|| io::Error::other("the run ended before the end of its measured part"))?;
        Ok(Measured {
            wall: Duration::from_nanos(until.at - since.at),
            units: self.units,
            client: until.client.since(since.client),
            server: until.server.zip(since.server).map(|(until, since)| until.since(since)),
            latency: self.latency,
        })
    }

    fn mark(&self, at: u64) -> io::Result<Mark> {
        let server = self.server_pid.map(cpu::process_times).transpose()?;
        Ok(Mark { at, client: cpu::thread_times()?, server })
    }
}

/// Returns a duration in nanoseconds.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter() -> Meter {
        Meter::start(&Run {
            address: ([127, 0, 0, 1], 80).into(),
            connections: 1,
            stall: Duration::from_nanos(500),
            warmup: Duration::from_nanos(100),
            measured: Duration::from_nanos(1_000),
            server_pid: None,
        })
    }

    #[test]
    fn only_what_is_done_while_measuring_counts() {
        let mut meter = meter();
        for now in [50, 100, 700, 1_100, 1_200] {
            meter.advance(now).unwrap();
            meter.count(now, 3);
            meter.time(now, now - 10, 3);
        }
        assert!(meter.is_draining() && !meter.is_measuring());
        let measured = meter.finish().unwrap();
        assert_eq!((measured.units, measured.latency.count(), measured.latency.max()), (6, 6, 10));
        assert_eq!(measured.wall, Duration::from_nanos(1_000));
    }

    #[test]
    fn an_unfinished_run_has_no_numbers() {
        let mut meter = meter();
        meter.advance(200).unwrap();
        assert!(meter.finish().is_err());
    }

    #[test]
    fn a_stall_is_time_without_progress_while_something_is_awaited() {
        let mut meter = meter();
        meter.count(100, 1);
        assert!(!meter.is_stalled(599, true));
        assert!(meter.is_stalled(600, true));
        assert!(!meter.is_stalled(700, false));
        assert!(!meter.is_stalled(1_199, true));
        assert!(meter.is_stalled(1_200, true));
    }
}
