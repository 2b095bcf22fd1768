//! The address of one end of a connection.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::SockAddr;

/// The address of one end of a connection. IPv4 peers of a dual-stack listener are IPv4 addresses here, not mapped ones
/// (RFC 4291, section 2.5.5.2).
///
/// ```
/// use std::net::{IpAddr, SocketAddr};
/// use tidegate_engine::Address;
///
/// /// Returns the peer's IP address, without its port, as a key for limits.
/// fn peer_ip(peer: Address) -> Option<IpAddr> {
///     peer.ip().map(|address| address.ip())
/// }
/// let address: SocketAddr = "192.0.2.1:50000".parse().unwrap();
/// assert_eq!(peer_ip(Address::Ip(address)), Some(address.ip()));
/// assert_eq!(Address::Unix.to_string(), "unix");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 socket address.
    Ip(SocketAddr),
    /// A Unix-domain socket. Its peers are usually unnamed.
    Unix,
}

impl Address {
    /// Converts the IPv6 form in which a dual-stack listener reports IPv4 peers back to IPv4.
    pub(crate) fn from_socket(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => Self::Ip(SocketAddr::new(v4.into(), v6.port())),
                None => Self::Ip(address),
            },
            SocketAddr::V4(_) => Self::Ip(address),
        }
    }

    /// Returns the unspecified address of the same family, for a peer whose address is unknown.
    pub(crate) fn unspecified(self) -> Self {
        match self {
            Self::Ip(SocketAddr::V6(_)) => Self::Ip(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)),
            Self::Ip(SocketAddr::V4(_)) => Self::Ip(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)),
            Self::Unix => Self::Unix,
        }
    }

    /// Returns the address of a socket's name.
    pub(crate) fn from_name(name: &SockAddr) -> Self {
        name.as_socket().map_or(Self::Unix, Self::from_socket)
    }

    /// Returns the socket address, or `None` for a Unix-domain socket.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
