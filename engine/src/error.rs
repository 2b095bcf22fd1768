//! The errors of the engine. Each says who is at fault and how to mend it.

use std::io;

/// The reason why a connection ended, other than the peer's orderly end of stream.
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
    /// Nothing was received within the idle timeout.
    #[error("nothing was received within the idle timeout")]
    IdleTimeout,
    /// The connection reached its lifetime deadline.
    #[error("the connection reached its lifetime deadline")]
    Lifetime,
    /// The application called `abort`.
    #[error("the connection was aborted by the application")]
    Aborted,
    /// The outbound queue was full when a fan-out message arrived, under
    /// [`SlowMemberPolicy::Abort`](crate::SlowMemberPolicy::Abort).
    #[error("the peer read too slowly for what was published to it")]
    TooSlow,
    /// The engine's shutdown deadline passed before the connection had drained.
    #[error("the engine shut down before the connection had drained")]
    Shutdown,
    /// The [`Connection`](crate::Connection) was dropped and only its senders remain.
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

/// An error of [`Connection::receive`](crate::Connection::receive).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The read deadline passed with nothing received. The connection stays usable: set a later deadline and continue.
    #[error("nothing was received before the read deadline")]
    Deadline,
    /// The connection is closed.
    #[error("connection closed: {0}")]
    Closed(CloseCause),
}

/// An error of sending. The bytes of the failed call were not queued; those of earlier successful calls were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The outbound queue is over its high mark. Only the `try_` calls return this; the others wait.
    #[error("the outbound queue is full: wait for space with `send`, or drop or close slow peers")]
    Full,
    /// The last bytes are already queued (by `append_last`, `shutdown_write` or the farewell of a graceful shutdown).
    #[error("the sending side is finished: nothing can follow the last bytes")]
    Finished,
    /// The connection is closed.
    #[error("connection closed: {0}")]
    Closed(CloseCause),
}

/// An error of starting or running an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of bounds.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The listening socket could not be set up.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// io_uring was requested by name and is unavailable.
    #[error("io_uring is unavailable: {reason}; allow it, or use EngineKind::Auto or EngineKind::Std")]
    UringUnavailable {
        /// What was tried and the kernel's error.
        reason: String,
    },
    /// A thread or a ring could not be set up.
    #[error("cannot start a worker: {0}")]
    Worker(#[source] io::Error),
    /// The engine has no listener.
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

/// A setting that is out of bounds. The message names it and its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {setting} {value:?}: must be {rule}")]
pub struct ConfigError {
    /// The name of the setting.
    pub setting: &'static str,
    /// The value given.
    pub value: String,
    /// The allowed values.
    pub rule: &'static str,
}
