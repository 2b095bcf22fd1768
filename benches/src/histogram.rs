//! A log-linear histogram of durations in nanoseconds.
//!
//! Each power of two is divided into 128 equal buckets, so a value read back is at most 1/128 (0.8 %) above the
//! recorded one. Recording is a shift and an increment. The table is 38 KiB and never grows.

/// Buckets per power of two, as a power of two.
const PRECISION_BITS: u32 = 7;
const BUCKETS_PER_OCTAVE: u64 = 1 << PRECISION_BITS;

/// Values of 2^43 ns (more than two hours) and above share the last bucket.
const VALUE_BITS_MAX: u32 = 43;
const BUCKETS: usize = ((VALUE_BITS_MAX - PRECISION_BITS + 1) as usize) << PRECISION_BITS;

/// Counts of durations in nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS].into_boxed_slice(), count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts `times` occurrences of `nanos`.
    #[inline]
    pub fn record(&mut self, nanos: u64, times: u64) {
        self.buckets[bucket(nanos)] += times;
        self.count += times;
        self.max = self.max.max(nanos);
    }

    /// Adds the durations that another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(bucket, times)| *bucket += times);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// Returns the number of durations recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the largest duration recorded, exactly, or 0 if there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns the duration that `share` (0.0 to 1.0) of the recorded ones do not exceed, rounded up to the end of its
    /// bucket and never above [`max`](Self::max), or 0 if there is none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, times) in self.buckets.iter().enumerate() {
            seen += times;
            if seen >= rank {
                return last_value(index).min(self.max);
            }
        }
        self.max
    }

    /// Removes all durations.
    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
        self.max = 0;
    }
}

/// Returns the bucket of a value.
#[inline]
fn bucket(nanos: u64) -> usize {
    if nanos < BUCKETS_PER_OCTAVE {
        return nanos as usize;
    }
    let octave = nanos.ilog2() - PRECISION_BITS;
    let within = (nanos >> octave) - BUCKETS_PER_OCTAVE;
    let index = (u64::from(octave + 1) << PRECISION_BITS) + within;
    (index as usize).min(BUCKETS - 1)
}

/// Returns the largest value of a bucket.
fn last_value(index: usize) -> u64 {
    let index = index as u64;
    if index < BUCKETS_PER_OCTAVE {
        return index;
    }
    let octave = (index >> PRECISION_BITS) - 1;
    let within = index & (BUCKETS_PER_OCTAVE - 1);
    ((BUCKETS_PER_OCTAVE + within + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        for index in 1..BUCKETS {
            let first = last_value(index - 1) + 1;
            let last = last_value(index);
            assert_eq!(bucket(first), index);
            assert_eq!(bucket(last), index);
            assert!((last - first) * BUCKETS_PER_OCTAVE <= first, "bucket {index} is wider than 1/128 of its values");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_a_known_spread() {
        let mut histogram = Histogram::default();
        for micros in 1..=10_000 {
            histogram.record(micros * 1_000, 1);
        }
        assert_eq!(histogram.count(), 10_000);
        assert_eq!(histogram.max(), 10_000_000);
        for (share, exact) in [(0.5, 5_000_000), (0.9, 9_000_000), (0.99, 9_900_000), (0.999, 9_990_000)] {
            let found = histogram.quantile(share);
            assert!(found >= exact && found <= exact + exact / 100, "{share}: {found} for {exact}");
        }
        assert_eq!(histogram.quantile(1.0), 10_000_000);
        assert_eq!(histogram.quantile(0.0), last_value(bucket(1_000)));
    }

    #[test]
    fn occurrences_weigh() {
        let mut histogram = Histogram::default();
        histogram.record(10, 99);
        histogram.record(1_000_000, 1);
        assert_eq!(histogram.quantile(0.99), 10);
        assert_eq!(histogram.quantile(0.991), 1_000_000);
    }

    #[test]
    fn merged_counts_add_up() {
        let (mut histogram, mut other) = (Histogram::default(), Histogram::default());
        histogram.record(10, 1);
        other.record(1_000, 3);
        histogram.merge(&other);
        assert_eq!((histogram.count(), histogram.max(), histogram.quantile(0.25)), (4, 1_000, 10));
    }

    #[test]
    fn empty_and_cleared_give_zero() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.count(), histogram.quantile(0.5), histogram.max()), (0, 0, 0));
        histogram.record(5, 5);
        histogram.clear();
        assert_eq!((histogram.count(), histogram.quantile(0.5), histogram.max()), (0, 0, 0));
    }

    #[test]
    fn values_beyond_the_table_keep_their_maximum() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX, 1);
        assert_eq!(histogram.max(), u64::MAX);
        assert!(histogram.quantile(1.0) >= 1 << (VALUE_BITS_MAX - 1));
    }
}
