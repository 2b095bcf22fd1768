//! The deadlines of a connection, in ticks of its worker's clock.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::clock::{Clock, NEVER};

/// The deadlines of a connection. Its handler writes them and its worker's timer reads them. Those that few connections
/// have are with the outbound queue ([`QueueDeadlines`](super::waiters::QueueDeadlines)).
pub(crate) struct Deadlines {
    pub(crate) read: AtomicU64,
    /// Idle timeout in ticks; 0 for none.
    pub(crate) idle: AtomicU32,
    /// Maximum time of a send, in ticks; 0 for no limit.
    pub(crate) stall: AtomicU32,
    /// The tick at which the worker will next check this connection's deadlines.
    pub(crate) armed: AtomicU64,
}

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self {
            read: AtomicU64::new(NEVER),
            idle: AtomicU32::new(0),
            stall: AtomicU32::new(0),
            armed: AtomicU64::new(NEVER),
        }
    }
}

/// Converts a timeout to its stored form: 0 for none.
pub(crate) fn timeout_ticks(timeout: Option<Duration>) -> u32 {
    timeout.map_or(0, |timeout| Clock::ticks_in(timeout).clamp(1, u64::from(u32::MAX)) as u32)
}
