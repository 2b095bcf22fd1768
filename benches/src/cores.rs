//! The distance between two cores: the time in which a cache line goes from one to the other and back.
//!
//! On a virtual machine the host moves the cores, so the distance changes while the machine runs. Everything that is
//! copied between far cores takes several times as long.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::cpu;

/// Round trips of a batch, and the number of batches. Their median counts, because other work on a core only reaches
/// some batches. All of them take about a millisecond between near cores, and five between far ones.
const ROUND_TRIPS: u32 = 200;
const BATCHES: usize = 75;

/// The batches that must be complete if other work keeps one of the cores for most of the time.
const BATCHES_MIN: usize = 15;

/// The longest time for all batches.
const TIME_MAX: Duration = Duration::from_millis(200);

/// Reads of the line between two looks at the clock.
const READS_PER_LOOK: u32 = 4_096;

/// Returns the distance of two cores in nanoseconds: the median of the batches.
///
/// # Errors
/// If the cores are the same, if this process cannot use one of them, or if other work keeps them busy for 200 ms.
pub fn distance_ns(cores: [usize; 2]) -> io::Result<f64> {
    let [asking, answering] = cores;
    if asking == answering {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a core has no distance from itself: give two cores"));
    }
    let line = Line { value: AtomicU32::new(0), deadline: Instant::now() + TIME_MAX };
    let (answered, batches) = thread::scope(|scope| {
        let answered = scope.spawn(|| cpu::pin(answering).map(|()| line.answer()));
        let asked = scope.spawn(|| cpu::pin(asking).map(|()| line.ask()));
        (answered.join(), asked.join())
    });
    let panicked = |_| io::Error::other("a thread that measures the distance of the cores panicked");
    answered.map_err(panicked)??;
    let batches = batches.map_err(panicked)??;
    if batches.len() < BATCHES_MIN {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "other work keeps the cores busy"));
    }
    Ok(median(batches))
}

/// The cache line that goes to and fro. Processors fetch lines in pairs, so it has two to itself.
#[repr(align(128))]
struct Line {
    value: AtomicU32,
    deadline: Instant,
}

impl Line {
    /// Writes odd values and waits for the even ones after them. Returns nanoseconds per round trip for each batch that
    /// was complete in time.
    fn ask(&self) -> Vec<f64> {
        let (mut batches, mut value) = (Vec::with_capacity(BATCHES), 0);
        while batches.len() < BATCHES {
            let begun = Instant::now();
            for _ in 0..ROUND_TRIPS {
                self.value.store(value + 1, Ordering::Release);
                value += 2;
                if !self.becomes(value) {
                    return batches;
                }
            }
            batches.push(begun.elapsed().as_nanos() as f64 / f64::from(ROUND_TRIPS));
        }
        batches
    }

    /// Waits for each odd value and writes the even one after it, while there is time.
    fn answer(&self) {
        for asked in 0..BATCHES as u32 * ROUND_TRIPS {
            if !self.becomes(2 * asked + 1) {
                return;
            }
            self.value.store(2 * asked + 2, Ordering::Release);
        }
    }

    /// Reads the line until it has the value. Returns whether it had it in time. There is no hint to the processor
    /// between two reads: on a virtual machine it can give the core to the host.
    fn becomes(&self, value: u32) -> bool {
        let mut reads = 0_u32;
        while self.value.load(Ordering::Acquire) != value {
            reads += 1;
            if reads.is_multiple_of(READS_PER_LOOK) && Instant::now() >= self.deadline {
                return false;
            }
        }
        true
    }
}

/// Returns the middle one of an odd number of values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_have_a_distance() {
        let cores: Vec<usize> = core_affinity::get_core_ids().unwrap().iter().map(|core| core.id).collect();
        let [one, other, ..] = cores[..] else { return };
        match distance_ns([one, other]) {
            Ok(nanos) => assert!(nanos > 0.0 && nanos < TIME_MAX.as_nanos() as f64, "{nanos}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}"),
        }
    }

    #[test]
    fn one_core_and_a_missing_one_are_errors() {
        assert!(distance_ns([0, 0]).is_err());
        let error = distance_ns([0, 1_000]).unwrap_err();
        assert!(error.to_string().contains("core 1000"), "{error}");
    }

    #[test]
    fn batches_with_other_work_do_not_count() {
        assert_eq!(median(vec![9_000.0, 56.0, 55.0, 8_000.0, 57.0]), 57.0);
    }
}
