//! What every run of the load generator has, whatever it does.

use std::net::SocketAddr;
use std::time::Duration;

/// Where to run, how much of it and for how long.
#[derive(Debug, Clone)]
pub struct Run {
    /// Where the server listens.
    pub address: SocketAddr,
    /// How many connections, 1 or more.
    pub connections: usize,
    /// Without any progress for this long while some is awaited, the run fails.
    pub stall: Duration,
    /// How long to run before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub measured: Duration,
    /// The server's process, to read its processor time and memory.
    pub server_pid: Option<u32>,
}
