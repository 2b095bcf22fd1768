//! Sockets that are about to connect: their options and the local address.

use std::io;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::address::Address;
use crate::shared::attempt::{ConnectFailure, ConnectRequest};

/// Opens a socket, sets its options and binds it to the local address, if the request has one. All of this is quick,
/// whether the socket blocks or not.
pub(crate) fn open(request: &ConnectRequest, nonblocking: bool) -> io::Result<Socket> {
    let socket = Socket::new(request.address.domain(), Type::STREAM, protocol(request))?;
    if nonblocking {
        socket.set_nonblocking(true)?;
    }
    prepare(&SockRef::from(&socket), request)?;
    if request.is_nodelay() {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket)
}

/// Returns the protocol of the request's socket.
pub(crate) fn protocol(request: &ConnectRequest) -> Option<Protocol> {
    (request.address.domain() != Domain::UNIX).then_some(Protocol::TCP)
}

/// Sets the options but TCP_NODELAY and binds the local address. The sizes of the buffers precede the connection,
/// because the TCP window scale is agreed on during its setup.
pub(crate) fn prepare(socket: &SockRef<'_>, request: &ConnectRequest) -> io::Result<()> {
    let options = &request.options;
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if let Some(prepare) = &options.prepare {
        prepare(SockRef::from(&**socket))?;
    }
    if let Some(local) = &request.local {
        if request.binds_any_port() {
            choose_port_late(socket);
        }
        socket.bind(local)?;
    }
    Ok(())
}

/// Returns the local address of a connected socket.
pub(crate) fn local_address(socket: &SockRef<'_>) -> io::Result<Address> {
    Ok(Address::from_name(&socket.local_addr()?))
}

/// Returns the errno of an error, as the failure of an attempt.
pub(crate) fn failure(error: &io::Error) -> ConnectFailure {
    ConnectFailure::Errno(error.raw_os_error().unwrap_or(libc::EINVAL))
}

/// Lets the kernel choose the port when the socket connects (IP_BIND_ADDRESS_NO_PORT of ip(7)): the pair of both
/// addresses must be unique, not the port. Without it a local address has about 28,000 ports for all servers together.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn choose_port_late(socket: &SockRef<'_>) {
    use std::os::fd::AsRawFd;

    let on: libc::c_int = 1;
    // SAFETY: reads one integer, which outlives the call; the descriptor is open as long as `socket` is borrowed. If it
    // fails (before Linux 4.2), bind(2) chooses the port.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn choose_port_late(_socket: &SockRef<'_>) {}

#[cfg(all(test, not(miri), not(loom)))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::shared::attempt::ConnectOptions;

    #[test]
    fn the_port_is_chosen_when_the_socket_connects() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let local = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
        let options = ConnectOptions::default();
        let request = ConnectRequest { address: address.into(), local: Some(local.into()), options };
        let bound = open(&request, true).unwrap().local_addr().unwrap().as_socket().unwrap();
        assert_eq!(bound.ip(), local.ip());
        assert_eq!(bound.port() == 0, cfg!(any(target_os = "linux", target_os = "android")), "{bound}");
    }
}
