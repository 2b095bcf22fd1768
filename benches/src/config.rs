//! The settings that all modes of the load generator share.

use std::net::SocketAddr;
use std::time::Duration;

use crate::args::{Args, ArgsError, Opt};

/// Option of a load generator: the address of the server.
pub const ADDR: Opt = Opt::value("addr", "HOST:PORT", "address of the server, not a name; required");
/// Option of a load generator: the time to measure.
pub const SECONDS: Opt = Opt::value("seconds", "S", "time to measure (default 5); idle: time to rest (default 1)");
/// Option of a load generator: the time before it.
pub const WARMUP: Opt = Opt::value("warmup", "S", "time to run before measuring (default 1)");
/// Option of a load generator: the longest wait for a reply.
pub const STALL: Opt = Opt::value("stall", "S", "fail when no reply arrives for this long (default 10)");
/// Option of a load generator: its core.
pub const CORE: Opt = Opt::value("core", "C", "pin to this core (default not pinned)");
/// Option of a load generator: the process of the server.
pub const SERVER_PID: Opt =
    Opt::value("server-pid", "PID", "also report this process's processor time; idle: and memory");

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

impl Run {
    /// Returns the run that the options above and `connections` describe. In the idle mode, connections rest for the
    /// measured time.
    ///
    /// # Errors
    /// The first option that is missing or has a wrong value.
    pub fn parse(args: &Args, is_idle: bool) -> Result<Self, ArgsError> {
        Ok(Self {
            address: args.required("addr")?,
            connections: args.within("connections", 64, [1, 1_000_000])?,
            stall: args.seconds("stall", 10.0)?,
            warmup: args.seconds("warmup", 1.0)?,
            measured: args.seconds("seconds", if is_idle { 1.0 } else { 5.0 })?,
            server_pid: args.optional("server-pid")?,
        })
    }
}
