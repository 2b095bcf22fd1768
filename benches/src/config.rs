//! The settings that all modes of the load generator share.

use std::net::SocketAddr;
use std::time::Duration;

/// Address, number of connections and durations of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Address of the server.
    pub address: SocketAddr,
    /// Number of connections, at least 1.
    pub connections: usize,
    /// The run fails if replies are outstanding and none arrives for this long.
    pub stall: Duration,
    /// Time to run before measuring.
    pub warmup: Duration,
    /// Time to measure.
    pub measured: Duration,
    /// Process of the server, for its processor time and memory.
    pub server_pid: Option<u32>,
}
