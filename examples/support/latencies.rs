//! A histogram of latencies that all threads add to: 32 buckets for each power of two, so a value is off by 3 % at
//! most.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const BUCKETS_PER_POWER: u64 = 32;
const BUCKETS: usize = 60 * BUCKETS_PER_POWER as usize;

pub struct Latencies {
    buckets: Box<[AtomicU64]>,
    max_ns: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max_ns: AtomicU64::new(0) }
    }
}

impl Latencies {
    pub fn add(&self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(ns).min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// Returns the latency that this share of the values does not exceed.
    fn percentile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let rank = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut sum = 0;
        let found = counts.iter().position(|count| {
            sum += count;
            sum >= rank
        });
        Duration::from_nanos(found.map_or(0, start_of))
    }
}

/// "p50 0.123 ms, p99 0.456 ms, max 0.789 ms".
impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |latency: Duration| latency.as_secs_f64() * 1e3;
        let max = Duration::from_nanos(self.max_ns.load(Ordering::Relaxed));
        let (half, most) = (self.percentile(0.5), self.percentile(0.99));
        write!(f, "p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms", ms(half), ms(most), ms(max))
    }
}

/// Returns the bucket of a value.
fn bucket_of(ns: u64) -> usize {
    if ns < BUCKETS_PER_POWER {
        return ns as usize;
    }
    let power = u64::from(ns.ilog2()) - 5;
    (power * BUCKETS_PER_POWER + (ns >> power)) as usize
}

/// Returns the smallest value of a bucket.
fn start_of(bucket: usize) -> u64 {
    let (power, part) = (bucket as u64 / BUCKETS_PER_POWER, bucket as u64 % BUCKETS_PER_POWER);
    if power == 0 { part } else { (BUCKETS_PER_POWER + part) << (power - 1) }
}
