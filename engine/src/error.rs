//! The errors of the engine.

use std::fmt;
use std::io;
use std::time::Duration;

/// The reason why a connection ended, other than the peer's orderly end of stream, which
/// [`Connection::receive`](crate::Connection::receive) returns as `None`.
///
/// Every call on the connection and its senders fails with the same cause from then on.
///
/// ```
/// use tidegate_engine::{CloseCause, ReceiveError};
///
/// /// Returns whether a failure is worth a line in the log: most are the ordinary end of a client.
/// fn is_notable(error: ReceiveError) -> bool {
///     match error {
///         ReceiveError::Deadline => false,
///         ReceiveError::Closed(cause) => matches!(cause, CloseCause::Io(_) | CloseCause::TooSlow),
///         _ => true,
///     }
/// }
/// assert!(!is_notable(ReceiveError::Closed(CloseCause::Reset)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// The peer reset the connection, or stopped receiving while bytes were still queued for it.
    #[error("the peer reset the connection")]
    Reset,
    /// The operating system reported an error on the socket.
    #[error("socket error: {0}")]
    Io(io::ErrorKind),
    /// Bytes were still queued at the write deadline
    /// ([`set_write_deadline`](crate::Connection::set_write_deadline)).
    #[error("the peer did not take the queued bytes before the write deadline")]
    WriteDeadline,
    /// The peer took none of the queued bytes within the write timeout
    /// ([`set_write_timeout`](crate::Connection::set_write_timeout)).
    #[error("the peer took none of the queued bytes within the write timeout")]
    WriteTimeout,
    /// Nothing was received within the idle timeout ([`set_idle_timeout`](crate::Connection::set_idle_timeout),
    /// [`Config::idle_timeout`](crate::Config::idle_timeout)).
    #[error("nothing was received within the idle timeout")]
    IdleTimeout,
    /// The connection reached its lifetime deadline
    /// ([`set_lifetime_deadline`](crate::Connection::set_lifetime_deadline)).
    #[error("the connection reached its lifetime deadline")]
    LifetimeDeadline,
    /// The application called [`Connection::abort`](crate::Connection::abort) or
    /// [`ByteSender::abort`](crate::ByteSender::abort).
    #[error("the connection was aborted by the application")]
    Aborted,
    /// The outbound queue was full when a fan-out message arrived, under
    /// [`SlowMemberPolicy::Abort`](crate::SlowMemberPolicy::Abort).
    #[error("the peer reads too slowly: its outbound queue was full when a message was published")]
    TooSlow,
    /// [`Shutdown::drain_timeout`](crate::Shutdown::drain_timeout) passed before the connection had drained.
    #[error("the engine shut down before the connection had drained")]
    Shutdown,
    /// The peer broke the rules of TLS, or ended the session with an alert. The log has the reason at the level
    /// `debug`.
    #[error("the TLS session failed")]
    Tls,
    /// The peer ended the connection without ending its TLS session (close_notify, RFC 8446 section 6.1): what was
    /// received can have been cut short by anyone. Only receiving fails, because the peer can still wait for an answer.
    #[error("the peer ended the connection without ending its TLS session: data can be missing")]
    Truncated,
    /// The [`Connection`](crate::Connection) was dropped and has ended, after its queued bytes were sent or
    /// [`Config::flush_timeout`](crate::Config::flush_timeout) passed. Only its senders still see this.
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
    /// The read deadline ([`set_read_deadline`](crate::Connection::set_read_deadline)) passed with nothing received.
    /// The connection stays usable: set a later deadline and continue.
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
    /// The outbound queue is over its high mark ([`OutboundConfig::bytes_high`](crate::OutboundConfig::bytes_high)).
    /// Only the `try_` and `check_` calls return this; the others wait.
    #[error("the outbound queue is full: wait for space with `send`, drop the message, or close the connection")]
    Full,
    /// The last bytes are already queued (by `append_last`, `shutdown_write` or the farewell of a graceful shutdown).
    #[error("the sending side is finished: nothing can follow the last bytes")]
    Finished,
    /// The task that would wait has [exclusive use](crate::ExclusiveSender) of the queue itself, so it would wait
    /// forever. The `try_` and `check_` calls, which do not wait, return [`Full`](Self::Full).
    #[error("the same task has exclusive use of the queue and would wait for itself: end that first")]
    HeldByCaller,
    /// The connection is closed.
    #[error("connection closed: {0}")]
    Closed(CloseCause),
}

/// The reason why a message cannot be gathered further. See [`MemoryConfig`](crate::MemoryConfig).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GatheringError {
    /// All large messages together hold as much memory as they may.
    #[error("the memory for large messages is spent: try again later, or raise `MemoryConfig::bytes_max`")]
    MemorySpent,
    /// It arrived more slowly than [`MemoryConfig::rate_min`](crate::MemoryConfig::rate_min) for too long.
    #[error("the message arrives too slowly: see `MemoryConfig::rate_min`")]
    TooSlow,
}

/// An error of starting or running an engine.
///
/// Its texts are complete: they include the cause and say how to mend it. `Debug` prints the same text, so a `main`
/// that returns the error ends with a readable line:
///
/// ```no_run
/// use tidegate_engine::{Config, Engine, Error, Shutdown};
///
/// fn main() -> Result<(), Error> {
///     // Without the privilege: "Error: cannot bind 127.0.0.1:80: Permission denied (os error 13)".
///     let running = Engine::new(Config::default()).bind("127.0.0.1:80")?.start(async |_connection| ())?;
///     running.run_until_signal(Shutdown::default())?;
///     Ok(())
/// }
/// ```
// No variant has a `source`: reports that print the chain would print its text twice.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of bounds.
    #[error("{0}")]
    Config(ConfigError),
    /// An address cannot be resolved or bound.
    #[error("cannot bind {address}: {error}")]
    #[non_exhaustive]
    Bind {
        /// The address as given, or the one that it resolved to.
        address: String,
        /// The error of the operating system: bind(2), listen(2), or name resolution.
        error: io::Error,
    },
    /// io_uring was requested by name ([`EngineKind::Uring`](crate::EngineKind::Uring)) and is unavailable.
    #[error("io_uring is unavailable: {reason}; allow it, or use EngineKind::Auto or EngineKind::Portable")]
    #[non_exhaustive]
    UringUnavailable {
        /// The failed attempt and the kernel's error.
        reason: String,
    },
    /// A thread or a ring could not be set up, usually for lack of memory, threads or locked memory.
    #[error(
        "cannot start a worker: {0}; check the limits on threads (ulimit -u), locked memory (ulimit -l) and open files \
         (ulimit -n)"
    )]
    Worker(io::Error),
    /// A running worker failed: its ring returned an error, its thread panicked, or a handler did not return when a
    /// shutdown's time was up. The engine has shut down; restart it.
    #[error("worker {worker} failed: {reason}; the engine has shut down")]
    #[non_exhaustive]
    WorkerFailed {
        /// Index of the first worker that failed.
        worker: usize,
        /// The error or the panic.
        reason: String,
    },
    /// The engine was started without an address.
    #[error("nothing to serve: call `bind` before `start`")]
    NoListener,
    /// A certificate, a key or another setting of TLS cannot be used.
    #[error("cannot set up TLS: {reason}")]
    #[non_exhaustive]
    Tls {
        /// What cannot be used, such as a file, and why.
        reason: String,
    },
    /// Signal handlers could not be installed.
    #[error("cannot install signal handlers: {0}")]
    Signal(io::Error),
}

/// A passed deadline is [`TimedOut`](io::ErrorKind::TimedOut). The source is the engine's error.
impl From<ReceiveError> for io::Error {
    fn from(error: ReceiveError) -> Self {
        let kind = match error {
            ReceiveError::Deadline => io::ErrorKind::TimedOut,
            ReceiveError::Closed(cause) => cause.io_kind(),
        };
        Self::new(kind, error)
    }
}

/// The source is the engine's error.
impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::Full => io::ErrorKind::WouldBlock,
            SendError::HeldByCaller => io::ErrorKind::Deadlock,
            SendError::Finished => io::ErrorKind::BrokenPipe,
            SendError::Closed(cause) => cause.io_kind(),
        };
        Self::new(kind, error)
    }
}

impl CloseCause {
    fn io_kind(self) -> io::ErrorKind {
        match self {
            Self::Reset => io::ErrorKind::ConnectionReset,
            Self::Io(kind) => kind,
            Self::WriteDeadline | Self::WriteTimeout | Self::IdleTimeout | Self::LifetimeDeadline => {
                io::ErrorKind::TimedOut
            }
            Self::Tls => io::ErrorKind::InvalidData,
            Self::Truncated => io::ErrorKind::UnexpectedEof,
            Self::Aborted | Self::Shutdown | Self::Dropped | Self::TooSlow => io::ErrorKind::ConnectionAborted,
        }
    }
}

impl Error {
    /// Creates the error of an address that cannot be resolved or bound.
    pub fn bind(address: impl fmt::Display, error: io::Error) -> Self {
        Self::Bind { address: address.to_string(), error }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(reason: impl Into<String>) -> Self {
        Self::Tls { reason: reason.into() }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A setting that is out of bounds. The text names the setting, its value and the allowed values; `Debug` prints the
/// same.
///
/// ```
/// use tidegate_engine::EngineKind;
///
/// let error = "epoll".parse::<EngineKind>().unwrap_err();
/// assert_eq!(error.setting, "engine");
/// assert_eq!(error.to_string(), r#"invalid engine "epoll": must be auto, uring or portable"#);
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {setting} {value:?}: must be {rule}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The name of the setting, such as `inbound.bytes_high`.
    pub setting: &'static str,
    /// The value given.
    pub value: String,
    /// The allowed values, as they follow "must be".
    pub rule: &'static str,
}

impl ConfigError {
    /// Creates an error, for the settings of a protocol above the engine. `rule` follows "must be".
    pub fn new(setting: &'static str, value: impl fmt::Display, rule: &'static str) -> Self {
        Self { setting, value: value.to_string(), rule }
    }

    /// Checks that a timeout, if there is one, is above zero: with zero everything would end at once.
    ///
    /// # Errors
    /// The error that names `setting`.
    pub fn check_time(setting: &'static str, time: Option<Duration>) -> Result<(), Self> {
        match time {
            Some(Duration::ZERO) => Err(Self::new(setting, "0s", "above zero")),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    /// `main` prints the `Debug` form of the error that it returns.
    #[test]
    fn errors_print_one_complete_sentence() {
        let config = ConfigError::new("workers", 1025, "0 to 1024");
        let table = [
            (Error::from(config.clone()), "invalid workers \"1025\": must be 0 to 1024"),
            (Error::bind("127.0.0.1:80", io::ErrorKind::AddrInUse.into()), "cannot bind 127.0.0.1:80: address in use"),
            (
                Error::UringUnavailable { reason: "no ring".to_owned() },
                "io_uring is unavailable: no ring; allow it, or use EngineKind::Auto or EngineKind::Portable",
            ),
            (
                Error::Worker(io::Error::other("no thread")),
                "cannot start a worker: no thread; check the limits on threads (ulimit -u), locked memory (ulimit -l) \
                 and open files (ulimit -n)",
            ),
            (Error::NoListener, "nothing to serve: call `bind` before `start`"),
            (Error::Signal(io::Error::other("taken")), "cannot install signal handlers: taken"),
        ];
        for (error, text) in table {
            assert_eq!((error.to_string().as_str(), format!("{error:?}").as_str()), (text, text));
            assert!(error.source().is_none(), "{error}: a chain would print its cause twice");
        }
        assert_eq!(format!("{config:?}"), config.to_string());
    }
}
