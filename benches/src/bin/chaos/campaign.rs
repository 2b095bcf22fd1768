//! One engine and placement under attack, from the start of the server to its end.

use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::process::{Process, Resources};
use crate::setting::Combination;
use crate::soak::Soak;
use crate::{Outcome, attacks, ending};
use tidegate_benches::outln;

/// The share of the time for the first half; the second half does the same again, and then the server is ended.
const FIRST_HALF: f64 = 0.42;

/// What may differ between the two halves: allocations that pools keep, in blocks and in bytes, and pages that the
/// system's allocator keeps. A leak of one block per killed client is far more.
const BLOCKS_MAX: u64 = 500;
const BYTES_MAX: u64 = 4 << 20;
const RESIDENT_BYTES_MAX: u64 = 32 << 20;

/// What was done and found.
#[derive(Debug)]
pub struct Report {
    pub combination: Combination,
    pub elapsed: Duration,
    pub done: Counts,
    /// What the server held after each half.
    pub halves: [Resources; 2],
    pub faults: Vec<String>,
}

pub fn run(combination: Combination, time: Duration, seed: u64) -> Report {
    let begun = Instant::now();
    let mut report = Report {
        combination,
        elapsed: Duration::ZERO,
        done: Counts::default(),
        halves: Default::default(),
        faults: Vec::new(),
    };
    match Process::start(combination) {
        Ok(mut process) => {
            if let Err(fault) = attack(&mut process, time, seed, &mut report) {
                report.faults.push(fault);
            } else {
                let (done, faults) = ending::run(&mut process, seed);
                report.done.add_all(&done);
                report.faults.extend(faults);
            }
            report.faults.extend(process.log_faults().into_iter().map(|line| format!("log: {line}")));
        }
        Err(fault) => report.faults.push(fault),
    }
    report.elapsed = begun.elapsed();
    report
}

/// Attacks in two equal halves and compares what the server holds after each.
///
/// # Errors
/// If the server does not answer, or does not come to rest; there is no going on then.
fn attack(process: &mut Process, time: Duration, seed: u64, report: &mut Report) -> Outcome {
    let first_ends = Instant::now() + time.mul_f64(FIRST_HALF);
    let mut rounds = 0;
    report.halves[0] = half(process, seed, report, |done| {
        rounds = done;
        done == 0 || Instant::now() < first_ends
    })?;
    report.halves[1] = half(process, seed + 1_000_000, report, |done| done < rounds)?;
    report.done.add("rounds", 2 * rounds);
    let faults = growth(&report.halves[0], &report.halves[1]);
    report.faults.extend(faults);
    Ok(())
}

/// Runs rounds of attacks and a soak until `goes_on` ends them, by the number of rounds so far.
fn half(
    process: &mut Process,
    seed: u64,
    report: &mut Report,
    mut goes_on: impl FnMut(u64) -> bool,
) -> Outcome<Resources> {
    let soak = Soak::start(process.address, seed);
    let mut rounds = 0;
    while goes_on(rounds) {
        let (done, faults) = attacks::round(process.address, seed + rounds);
        report.done.add_all(&done);
        report.faults.extend(faults);
        rounds += 1;
    }
    let (done, faults) = soak.finish();
    report.done.add_all(&done);
    report.faults.extend(faults);
    let counts = process.wait_for_connections(0)?;
    report.faults.extend(inequalities(&counts));
    let held = process.resources()?;
    outln!("after {rounds} rounds: {held}");
    Ok(held)
}

/// Returns what should be equal while nobody is connected, and is not.
fn inequalities(counts: &Counts) -> Vec<String> {
    let ended = counts.of("closed_total") + counts.of("failed_total");
    let pairs = [
        ("connections accepted and ended", counts.of("accepted_total"), ended),
        ("handlers begun and ended", counts.of("begun"), counts.of("ended")),
        ("WebSockets connected and disconnected", counts.of("connected"), counts.of("disconnected")),
        ("connections paused, expected", counts.of("paused"), 0),
    ];
    let differ = pairs.into_iter().filter(|(_, left, right)| left != right);
    differ.map(|(what, left, right)| format!("{what}: {left}, {right}")).collect()
}

/// Returns what the second half left behind.
fn growth(first: &Resources, second: &Resources) -> Vec<String> {
    let exact = |value: usize| value as u64;
    let rows = [
        ("live allocations", first.live_blocks, second.live_blocks, BLOCKS_MAX),
        ("live bytes", first.live_bytes, second.live_bytes, BYTES_MAX),
        ("resident bytes", first.resident_bytes, second.resident_bytes, RESIDENT_BYTES_MAX),
        ("descriptors", exact(first.descriptors), exact(second.descriptors), 0),
        ("threads", exact(first.threads), exact(second.threads), 0),
    ];
    let grown = rows.into_iter().filter(|(_, first, second, allowed)| *second > first + allowed);
    grown.map(|(what, first, second, _)| format!("{what} grew from {first} to {second} in the second half")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_allowance_is_a_fault() {
        let first = Resources { live_blocks: 1000, descriptors: 20, ..Resources::default() };
        let same = Resources { live_blocks: 1000 + BLOCKS_MAX, ..first.clone() };
        assert_eq!(growth(&first, &same), Vec::<String>::new());
        let more = Resources { live_blocks: 1001 + BLOCKS_MAX, descriptors: 21, ..first.clone() };
        assert_eq!(growth(&first, &more).len(), 2);
    }

    #[test]
    fn counts_that_differ_are_faults() {
        let counts = Counts::parse("accepted_total=5 closed_total=3 failed_total=2 begun=4 ended=4 paused=0").unwrap();
        assert_eq!(inequalities(&counts), Vec::<String>::new());
        let counts = Counts::parse("accepted_total=5 closed_total=3 begun=4 ended=3 paused=1").unwrap();
        assert_eq!(inequalities(&counts).len(), 3);
    }
}
