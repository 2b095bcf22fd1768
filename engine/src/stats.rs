//! Counters of a worker, and the snapshot an application reads.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Written by one worker, read by anyone.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// A worker's counters at one moment. Totals count since the engine started.
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
            /// Every counter with its name, for exporters.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Adds another worker's counters.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Connections open now.
    connections,
    /// Connections accepted.
    accepted_total,
    /// Connections closed in order.
    closed_total,
    /// Connections closed by a failure, a deadline or an abort.
    failed_total,
    /// Times that accepting paused for want of a slot or of kernel memory.
    accept_pauses_total,
    /// Bytes received.
    received_bytes_total,
    /// Bytes handed to the kernel.
    sent_bytes_total,
    /// Chunks received.
    chunks_total,
    /// Sends completed.
    sends_total,
    /// Connections whose receiving is paused for backpressure now.
    paused,
    /// Times that receiving was paused for backpressure.
    pauses_total,
    /// Times that a receive found no free buffer and waited its turn.
    starved_total,
    /// Times the worker came round.
    ticks_total,
}

/// A number with one writer: a load and a store, no read-modify-write.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.load() + more, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.store(self.load() - less, Ordering::Relaxed);
    }

    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
