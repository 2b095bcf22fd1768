//! The listeners that `serve` takes.

use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;

/// A listener that [`serve`](super::serve()) takes: of tokio or of std, TCP or Unix.
pub trait Listener: Send + 'static {
    /// Its kind of address.
    type Addr: Debug;

    /// Returns the address it listens on.
    ///
    /// # Errors
    /// Of getsockname(2).
    fn local_addr(&self) -> io::Result<Self::Addr>;

    /// Returns its socket.
    ///
    /// # Errors
    /// If the runtime cannot give it up.
    fn into_socket(self) -> io::Result<OwnedFd>;
}

impl Listener for std::net::TcpListener {
    type Addr = std::net::SocketAddr;

    fn local_addr(&self) -> io::Result<Self::Addr> {
        std::net::TcpListener::local_addr(self)
    }

    fn into_socket(self) -> io::Result<OwnedFd> {
        Ok(self.into())
    }
}

impl Listener for std::os::unix::net::UnixListener {
    type Addr = std::os::unix::net::SocketAddr;

    fn local_addr(&self) -> io::Result<Self::Addr> {
        std::os::unix::net::UnixListener::local_addr(self)
    }

    fn into_socket(self) -> io::Result<OwnedFd> {
        Ok(self.into())
    }
}

impl Listener for tokio::net::TcpListener {
    type Addr = std::net::SocketAddr;

    fn local_addr(&self) -> io::Result<Self::Addr> {
        tokio::net::TcpListener::local_addr(self)
    }

    fn into_socket(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}

impl Listener for tokio::net::UnixListener {
    type Addr = tokio::net::unix::SocketAddr;

    fn local_addr(&self) -> io::Result<Self::Addr> {
        tokio::net::UnixListener::local_addr(self)
    }

    fn into_socket(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}
