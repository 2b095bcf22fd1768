//! Sharing a port: several sockets listen on it, and the system spreads new connections over them.

use std::io;

use socket2::Socket;

/// Allows other sockets of the same user that also allow it on this socket's port.
#[cfg(not(target_os = "freebsd"))]
pub(crate) fn allow(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Allows other sockets of the same user that also allow it on this socket's port. SO_REUSEPORT alone would give all
/// connections to one of them.
#[cfg(target_os = "freebsd")]
pub(crate) fn allow(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

/// Returns whether workers can have a socket each on the port of `first`, which listens. `allowed` says that other
/// processes may share the port.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_balanced(first: &Socket, allowed: bool) -> io::Result<bool> {
    if !allowed {
        // As late as this, so that no other process could share the port.
        allow(first)?;
    }
    Ok(true)
}

/// FreeBSD balances between sockets that allowed it before they were bound; other systems do not.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_balanced(_first: &Socket, allowed: bool) -> io::Result<bool> {
    Ok(allowed && cfg!(target_os = "freebsd"))
}
