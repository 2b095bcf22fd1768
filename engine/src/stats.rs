//! The counters of a worker and their public snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters written by one worker and readable from every thread.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// A snapshot of a worker's counters. Names that end in `_total` count from the start of the engine; the others
        /// are current values. Each counter is read by itself, so counters of one snapshot can disagree by a few
        /// events; but every connection that is counted as accepted or connected is also counted as open or as ended.
        ///
        /// ```
        /// use tidegate_engine::WorkerStats;
        ///
        /// /// Formats the counters in the text format of Prometheus.
        /// fn metrics(workers: &[WorkerStats]) -> String {
        ///     let mut all = WorkerStats::default();
        ///     workers.iter().for_each(|worker| all.add(worker));
        ///     all.iter().map(|(name, value)| format!("tidegate_{name} {value}\n")).collect()
        /// }
        /// assert!(metrics(&[WorkerStats::default()]).starts_with("tidegate_accepted_total 0\n"));
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct WorkerStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> WorkerStats {
                WorkerStats { $($name: self.$name.load(),)* }
            }
        }

        impl WorkerStats {
            /// Returns every counter with its name, for exporters. A name that ends in `_total` is a counter, any other
            /// a gauge.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Adds another worker's counters to these, the current values too: the sum is that of all workers.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

// In the order in which a snapshot reads them: the start of a connection before what becomes of it. The worker writes
// in the other order: `connections` before `accepted_total`, and `closed_total` before `connections`.
counters! {
    /// Connections accepted.
    accepted_total,
    /// Connections opened with [`connect`](crate::connect()).
    connected_total,
    /// Connections currently open, a current value.
    connections,
    /// Connections closed in order.
    closed_total,
    /// Connections closed by a failure, a deadline or an abort.
    failed_total,
    /// Attempts to connect to one address that failed or were given up.
    connect_failures_total,
    /// Number of times accepting paused because slots, descriptors or kernel memory were short.
    accept_pauses_total,
    /// Bytes received.
    received_bytes_total,
    /// Bytes handed to the kernel for sending.
    sent_bytes_total,
    /// Chunks received.
    chunks_total,
    /// Sends completed.
    sends_total,
    /// Connections whose receiving is currently paused for backpressure, a current value.
    paused,
    /// Number of times receiving was paused for backpressure.
    pauses_total,
    /// Number of times a receive found no free buffer of its size and had to be armed again.
    starved_total,
    /// Number of worker ticks.
    ticks_total,
    /// TLS handshakes in progress, a current value; 0 without the feature `tls`.
    handshakes,
    /// TLS handshakes completed.
    handshakes_total,
    /// TLS handshakes that failed: by an error, a timeout, or the end of the connection.
    handshake_failures_total,
}

/// A counter with a single writer: a load and a store instead of a read-modify-write.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + more, Ordering::Release);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) - less, Ordering::Release);
    }

    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
