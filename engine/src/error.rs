//! Every error of the engine: who is at fault, and how to mend it.

use std::io;

/// Why a connection ended other than by the peer's orderly end of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// The peer reset the connection, or stopped receiving while bytes were still queued for it.
    #[error("the peer reset the connection")]
    Reset,
    /// The operating system reported an error on the socket.
    #[error("socket error: {0}")]
    Io(io::ErrorKind),
    /// Bytes were still queued at the write deadline.
    #[error("the peer did not take the queued bytes before the write deadline")]
    WriteDeadline,
    /// Nothing was received for the idle timeout.
    #[error("nothing was received for the idle timeout")]
    IdleTimeout,
    /// The connection reached its lifetime deadline.
    #[error("the connection reached its lifetime deadline")]
    Lifetime,
    /// The application called `abort`.
    #[error("the connection was aborted by the application")]
    Aborted,
    /// Its outbound queue was full when a message for many came, and [`SlowMemberPolicy::Abort`](crate::SlowMemberPolicy::Abort) held.
    #[error("the peer took less than was published to it")]
    TooSlow,
    /// The engine's shutdown deadline passed before the connection had drained.
    #[error("the engine shut down before the connection had drained")]
    Shutdown,
    /// The [`Connection`](crate::Connection) was dropped; only its senders are left.
    #[error("the connection was dropped by its handler")]
    Dropped,
}

impl CloseCause {
    pub(crate) fn from_errno(errno: i32) -> Self {
        let kind = io::Error::from_raw_os_error(errno).kind();
        match kind {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                Self::Reset
            }
            kind => Self::Io(kind),
        }
    }
}

/// What [`Connection::receive`](crate::Connection::receive) can fail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The read deadline passed with nothing received. The connection is usable: set a later deadline and go on.
    #[error("nothing was received before the read deadline")]
    Deadline,
    /// The connection is closed.
    #[error("connection closed: {0}")]
    Closed(CloseCause),
}

/// What sending can fail with. Bytes of a failed call were not queued; bytes of an earlier successful call were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The outbound queue is over its high mark (only the `try_` calls say so; the others wait).
    #[error("the outbound queue is full: wait for it with `send`, or drop or close slow peers")]
    Full,
    /// The last bytes were already queued (`append_last`, `shutdown_write`, or the farewell of a graceful shutdown).
    #[error("the sending side is finished: nothing can follow the last bytes")]
    Finished,
    /// The connection is closed.
    #[error("connection closed: {0}")]
    Closed(CloseCause),
}

/// What starting an engine can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of its bounds.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The listening socket could not be set up.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// What the operating system answered.
        source: io::Error,
    },
    /// io_uring was asked for by name and cannot be had.
    #[error("io_uring cannot be used: {reason}; allow it, or choose EngineKind::Auto or EngineKind::Std")]
    UringUnavailable {
        /// What was tried and what the kernel answered.
        reason: String,
    },
    /// A thread or a ring could not be set up.
    #[error("cannot start a worker: {0}")]
    Worker(#[source] io::Error),
    /// The engine has no listener to serve.
    #[error("nothing to serve: call `listen` before `start`")]
    NoListener,
    /// Signal handlers could not be installed.
    #[error("cannot install signal handlers: {0}")]
    Signal(#[source] io::Error),
}

impl Error {
    pub(crate) fn listen(address: impl std::fmt::Display, source: io::Error) -> Self {
        Self::Listen { address: address.to_string(), source }
    }
}

/// A setting that is out of its bounds; the message names it and its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}: {rule}")]
pub struct ConfigError {
    /// The name of the setting.
    pub setting: &'static str,
    /// The value given.
    pub value: String,
    /// The rule it breaks.
    pub rule: &'static str,
}
