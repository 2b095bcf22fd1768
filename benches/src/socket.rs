//! Listening and connecting with plain blocking calls. None of this is measured.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted. The kernel lowers it to its own limit (`somaxconn`).
const BACKLOG_MAX: i32 = 4096;

/// Connections per loopback source address: well below the 28,000 ports that the kernel assigns for each.
pub const CONNECTIONS_PER_SOURCE_MAX: usize = 8_000;

/// Source addresses that short-lived connections use in turn. With 28,000 ports each they last more than a minute at
/// 20,000 connections per second, and TIME_WAIT holds a port for one minute.
const SOURCES_OF_CYCLES: u64 = 64;

/// Congestion control of the client's sockets: the cheapest algorithm, because loopback has no congestion.
const LIGHT_CONGESTION_CONTROL: &[u8] = b"reno";

/// Timeout of connecting and of each read and write of a handshake.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns a listener whose accepted sockets inherit TCP_NODELAY.
///
/// # Errors
/// Any error from `socket`, `setsockopt`, `bind` or `listen`.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG_MAX)?;
    Ok(socket.into())
}

/// Opens connection `index` to `address`, from another loopback address for every [`CONNECTIONS_PER_SOURCE_MAX`]
/// connections. The socket blocks, with [`SETUP_TIMEOUT`] on reading and writing.
///
/// # Errors
/// Any error from `socket`, `setsockopt`, `bind` or `connect`.
pub fn connect(address: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(source) = source(address, index) {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&address.into(), SETUP_TIMEOUT)?;
    socket.set_tcp_nodelay(true)?;
    // BBR would pace every send with a timer. Where reno is missing, the system's default works too, only slower.
    let _ = socket.set_tcp_congestion(LIGHT_CONGESTION_CONTROL);
    socket.set_read_timeout(Some(SETUP_TIMEOUT))?;
    socket.set_write_timeout(Some(SETUP_TIMEOUT))?;
    Ok(socket.into())
}

/// Returns an unconnected socket for cycle number `cycle` to `address`. Cycles use the source addresses in turn, so
/// ports are free again before they are needed, whichever side closed first.
///
/// # Errors
/// Any error from `socket`, `setsockopt` or `bind`.
pub fn unconnected(address: SocketAddr, cycle: u64) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    let group = 1 + (cycle % SOURCES_OF_CYCLES) as usize;
    if let Some(source) = source(address, group * CONNECTIONS_PER_SOURCE_MAX) {
        // The port is chosen when connecting. The destination is known by then, and the port is taken only for that
        // destination.
        bind_address_without_port(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    let _ = socket.set_tcp_congestion(LIGHT_CONGESTION_CONTROL);
    Ok(socket)
}

/// Makes `bind` leave the port open (`IP_BIND_ADDRESS_NO_PORT`).
fn bind_address_without_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (level, name) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    let (value, length) = ((&raw const on).cast(), size_of_val(&on) as libc::socklen_t);
    // SAFETY: the kernel reads one live integer of the given length.
    if unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Returns the source address. `None` leaves the choice to the kernel: for the first group, and for anything but IPv4
/// loopback.
fn source(address: SocketAddr, index: usize) -> Option<IpAddr> {
    let group = u16::try_from(index / CONNECTIONS_PER_SOURCE_MAX).ok()?;
    if group == 0 || !address.is_ipv4() || !address.ip().is_loopback() {
        return None;
    }
    let [high, low] = group.to_be_bytes();
    Some(Ipv4Addr::new(127, 1, high, low).into())
}

/// Raises the limit of open files to the most this process may have and returns it.
///
/// # Errors
/// Any error from `getrlimit` or `setrlimit`.
pub fn raise_file_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit to a live one.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one live rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_change_every_group_and_only_on_loopback() {
        let loopback: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert_eq!(source(loopback, CONNECTIONS_PER_SOURCE_MAX - 1), None);
        assert_eq!(source(loopback, CONNECTIONS_PER_SOURCE_MAX), Some("127.1.0.1".parse().unwrap()));
        assert_eq!(source(loopback, CONNECTIONS_PER_SOURCE_MAX * 257), Some("127.1.1.1".parse().unwrap()));
        assert_eq!(source("[::1]:80".parse().unwrap(), 100_000), None);
        assert_eq!(source("192.0.2.1:80".parse().unwrap(), 100_000), None);
    }

    #[test]
    fn connects_from_the_second_source() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let _stream = connect(listener.local_addr().unwrap(), CONNECTIONS_PER_SOURCE_MAX).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), "127.1.0.1".parse::<IpAddr>().unwrap());
        assert!(accepted.nodelay().unwrap(), "accepted sockets inherit TCP_NODELAY");
    }
}
