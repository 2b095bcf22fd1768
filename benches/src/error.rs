//! Why a run of the load generator failed, and on which connection.

use std::io;

use crate::handshake::HandshakeError;
use crate::replies::Mismatch;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The messages do not fit into memory.
    #[error("size and depth together are too large")]
    TooLarge,
    /// More connections than files this process may open.
    #[error("{connections} connections, but only {files} files")]
    TooManyConnections {
        /// Asked for.
        connections: usize,
        /// The limit.
        files: usize,
    },
    /// Connection `index` could not be opened.
    #[error("connection {index}: {error}")]
    Connect {
        /// Which.
        index: usize,
        /// Why.
        error: io::Error,
    },
    /// Connection `index` was not upgraded.
    #[error("connection {index}: {error}")]
    Handshake {
        /// Which.
        index: usize,
        /// Why.
        error: HandshakeError,
    },
    /// The server ended connection `index`.
    #[error("connection {index}: the server closed it with {outstanding} messages outstanding")]
    Closed {
        /// Which.
        index: usize,
        /// What it owed.
        outstanding: u32,
    },
    /// An operation on connection `index` failed.
    #[error("connection {index}: {operation}: {error}")]
    Failed {
        /// Which.
        index: usize,
        /// What failed.
        operation: &'static str,
        /// Why.
        error: io::Error,
    },
    /// Connection `index` got something else than its replies.
    #[error("connection {index}: {error}")]
    Wrong {
        /// Which.
        index: usize,
        /// What.
        error: Mismatch,
    },
    /// Nothing came for as long as the run may stall.
    #[error("stalled: {connections} connections wait for {messages} messages and none came for too long")]
    Stalled {
        /// How many wait.
        connections: usize,
        /// For how many messages.
        messages: u64,
    },
    /// No connection came through its life for as long as the run may stall.
    #[error("stalled: {connections} connections, the first {first}; none got on for too long")]
    StalledCycles {
        /// How many are at it.
        connections: usize,
        /// What the first one waits for.
        first: &'static str,
    },
    /// The server ended connection `index` before its life was over.
    #[error("connection {index}: the server closed it {state}")]
    ClosedEarly {
        /// Which.
        index: usize,
        /// What the client waited for.
        state: &'static str,
    },
    /// A process that holds idle connections failed.
    #[error("{why}")]
    Holder {
        /// What it said.
        why: String,
        /// Whether nothing came for too long.
        stalled: bool,
    },
    /// The ring or the machine failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LoadError {
    /// Whether nothing went wrong except that nothing came.
    #[must_use]
    pub fn is_stall(&self) -> bool {
        matches!(self, Self::Stalled { .. } | Self::StalledCycles { .. } | Self::Holder { stalled: true, .. })
    }
}
