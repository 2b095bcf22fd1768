//! Failures of a run of the load generator.

use std::io;

use crate::handshake::HandshakeError;
use crate::replies::Mismatch;

/// Why a run failed, and on which connection.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The prepared messages exceed 1 GiB.
    #[error("the prepared messages exceed 1 GiB: lower --size, --depth or --burst")]
    TooLarge,
    /// The run needs more connections than this process may open files.
    #[error("{connections} connections exceed the limit of {files} open files: raise ulimit -n")]
    TooManyConnections {
        /// Connections requested.
        connections: usize,
        /// The limit on open files.
        files: usize,
    },
    /// Connection `index` could not be opened.
    #[error("connection {index}: {error}")]
    Connect {
        /// Index of the connection.
        index: usize,
        /// Cause.
        error: io::Error,
    },
    /// Connection `index` was not upgraded.
    #[error("connection {index}: {error}")]
    Handshake {
        /// Index of the connection.
        index: usize,
        /// Cause.
        error: HandshakeError,
    },
    /// The server closed connection `index`.
    #[error("connection {index}: the server closed it with {outstanding} messages outstanding")]
    Closed {
        /// Index of the connection.
        index: usize,
        /// Replies it still owed.
        outstanding: u32,
    },
    /// An operation on connection `index` failed.
    #[error("connection {index}: {operation}: {error}")]
    Failed {
        /// Index of the connection.
        index: usize,
        /// The operation.
        operation: &'static str,
        /// Cause.
        error: io::Error,
    },
    /// Connection `index` received something other than its replies.
    #[error("connection {index}: {error}")]
    Wrong {
        /// Index of the connection.
        index: usize,
        /// The difference.
        error: Mismatch,
    },
    /// No reply arrived within the stall timeout.
    #[error(
        "stalled: {connections} connections wait for {messages} messages, and none arrived within the stall timeout"
    )]
    Stalled {
        /// Connections that wait.
        connections: usize,
        /// Messages they wait for.
        messages: u64,
    },
    /// No connection finished its cycle within the stall timeout.
    #[error("stalled: {connections} connections made no progress within the stall timeout, the first {first}")]
    StalledCycles {
        /// Connections in a cycle.
        connections: usize,
        /// State of the first of them.
        first: &'static str,
    },
    /// The server closed connection `index` before the end of its cycle.
    #[error("connection {index}: the server closed it {state}")]
    ClosedEarly {
        /// Index of the connection.
        index: usize,
        /// State of the connection.
        state: &'static str,
    },
    /// The ring or the machine failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LoadError {
    /// Returns whether the failure is a stall: nothing wrong arrived, but nothing arrived in time.
    #[must_use]
    pub fn is_stall(&self) -> bool {
        matches!(self, Self::Stalled { .. } | Self::StalledCycles { .. })
    }
}
