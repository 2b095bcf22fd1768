//! The errors of connecting.

use std::fmt;
use std::io;

use crate::shared::attempt::ConnectFailure;

/// The reason why [`connect`](crate::connect()) opened no connection.
///
/// If several addresses were tried, this is the first failure that tells of a server: an address without a route is
/// mentioned only if there was nothing else. `Debug` prints the same text as `Display`, which is complete.
///
/// ```
/// use tidegate_engine::ConnectError;
///
/// /// Returns whether another attempt can succeed a moment later.
/// fn is_passing(error: &ConnectError) -> bool {
///     matches!(error, ConnectError::Refused { .. } | ConnectError::TimedOut { .. } | ConnectError::LimitReached)
/// }
/// assert!(!is_passing(&ConnectError::Draining));
/// ```
// No variant has a `source`: reports that print the chain would print its text twice.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The target's name does not resolve, or is not `host:port`.
    #[error("cannot resolve {name}: {error}")]
    #[non_exhaustive]
    Resolve {
        /// The target as given.
        name: String,
        /// The error of getaddrinfo(3).
        error: io::Error,
    },
    /// Nothing listens at the address (ECONNREFUSED).
    #[error("{address} refused the connection: nothing listens there")]
    #[non_exhaustive]
    Refused {
        /// The address that was tried.
        address: String,
    },
    /// There was no answer within the timeout ([`Connect::timeout`](crate::Connect::timeout)), or within that of the
    /// kernel.
    #[error("{address} did not answer in time")]
    #[non_exhaustive]
    TimedOut {
        /// The target, or the address that the kernel gave up.
        address: String,
    },
    /// The socket cannot be opened, bound or connected: the network is unreachable, the local address is not of this
    /// host or in use, or the file of a Unix-domain socket does not exist.
    #[error("cannot connect to {address}: {error}")]
    #[non_exhaustive]
    Io {
        /// The address that was tried.
        address: String,
        /// The error of socket(2), bind(2), connect(2) or of a socket option.
        error: io::Error,
    },
    /// The TLS handshake failed: the certificate of the server is not to be trusted or is for another name, the server
    /// refused the client, or it does not speak TLS.
    #[error("no TLS with {server}: {reason}")]
    #[non_exhaustive]
    Tls {
        /// The target.
        server: String,
        /// The reason.
        reason: String,
    },
    /// The worker has no room for another connection ([`Config::connections_max`](crate::Config::connections_max), or
    /// the open-file limit).
    #[error(
        "no room for another connection: close one, or raise connections_max, the number of workers or the open-file \
         limit (ulimit -n)"
    )]
    LimitReached,
    /// The engine shuts down. See [`Connect::while_draining`](crate::Connect::while_draining).
    #[error("the engine is shutting down")]
    Draining,
    /// The engine has shut down.
    #[error("the engine has shut down")]
    EngineEnded,
    /// Awaited on a thread that runs no handlers.
    #[error(
        "connect was called on a thread that runs no handlers: use Running::connect there, or name a connection whose \
         worker is to be used"
    )]
    NotOnHandlerThread,
}

impl ConnectError {
    /// Returns the error of an attempt to connect to `address`.
    pub(super) fn of(failure: ConnectFailure, address: impl FnOnce() -> String) -> Self {
        match failure {
            ConnectFailure::Full => Self::LimitReached,
            ConnectFailure::Draining => Self::Draining,
            ConnectFailure::Ended => Self::EngineEnded,
            ConnectFailure::Errno(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                match error.kind() {
                    io::ErrorKind::ConnectionRefused => Self::Refused { address: address() },
                    io::ErrorKind::TimedOut => Self::TimedOut { address: address() },
                    _ if is_shortage(errno) => Self::LimitReached,
                    _ => Self::Io { address: address(), error },
                }
            }
        }
    }

    /// Returns whether another address cannot do better.
    pub(super) fn is_of_all_addresses(&self) -> bool {
        matches!(self, Self::LimitReached | Self::Draining | Self::EngineEnded)
    }

    /// Returns whether the address has no route from here, which says nothing about the server.
    pub(super) fn is_without_route(&self) -> bool {
        let Self::Io { error, .. } = self else { return false };
        matches!(
            error.kind(),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::AddrNotAvailable
        ) || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
    }
}

/// Returns whether an errno means that no descriptor or slot is free.
fn is_shortage(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE)
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Keeps the kind of the operating system's error. The source is the engine's error.
impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::Resolve { error, .. } | ConnectError::Io { error, .. } => error.kind(),
            ConnectError::Refused { .. } => io::ErrorKind::ConnectionRefused,
            ConnectError::TimedOut { .. } => io::ErrorKind::TimedOut,
            ConnectError::Tls { .. } => io::ErrorKind::InvalidData,
            ConnectError::LimitReached => io::ErrorKind::QuotaExceeded,
            ConnectError::Draining | ConnectError::EngineEnded => io::ErrorKind::ConnectionAborted,
            ConnectError::NotOnHandlerThread => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_become_the_error_that_names_them() {
        let of = |errno| ConnectError::of(ConnectFailure::Errno(errno), || "[::1]:9".to_owned());
        assert!(matches!(of(libc::ECONNREFUSED), ConnectError::Refused { .. }));
        assert!(matches!(of(libc::ETIMEDOUT), ConnectError::TimedOut { .. }));
        assert!(matches!(of(libc::EMFILE), ConnectError::LimitReached));
        assert!(of(libc::ENETUNREACH).is_without_route());
        assert!(!of(libc::EACCES).is_without_route());
        assert_eq!(of(libc::ECONNREFUSED).to_string(), "[::1]:9 refused the connection: nothing listens there");
        assert_eq!(io::Error::from(of(libc::EACCES)).kind(), io::ErrorKind::PermissionDenied);
    }
}
