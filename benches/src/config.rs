//! What a run of the load generator is to do.

use std::net::SocketAddr;
use std::time::Duration;

use crate::script::Protocol;

/// Messages one connection may have outstanding in an open loop; later ones wait, and their time counts.
const OPEN_WINDOW_MESSAGES_MAX: u32 = 64;

/// What to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the server listens.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// The request-target of the opening handshake.
    pub path: String,
    /// How many connections, 1 or more.
    pub connections: usize,
    /// Messages outstanding on each connection in a closed loop, 1 or more.
    pub depth: u32,
    /// Whether a closed loop slides instead of waiting for whole windows.
    pub sliding: bool,
    /// Messages a second over all connections; makes it an open loop.
    pub rate: Option<f64>,
    /// Payload bytes of each message.
    pub payload_bytes: usize,
    /// Text messages instead of binary ones.
    pub text: bool,
    /// Without one reply for this long while some are awaited, the run fails.
    pub stall: Duration,
    /// How long to run before measuring.
    pub warmup: Duration,
    /// How long to measure.
    pub measured: Duration,
    /// The server's process, to read its processor time.
    pub server_pid: Option<u32>,
}

impl Config {
    /// The most messages one connection has outstanding, and so the most in one send.
    #[must_use]
    pub fn window_messages_max(&self) -> u32 {
        if self.rate.is_some() { OPEN_WINDOW_MESSAGES_MAX } else { self.depth }
    }
}
