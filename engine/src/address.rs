//! The address of one end of a connection.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::ptr;

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

/// An address in the size of a pointer, for each of very many connections. Where it does not fit it is on the heap: an
/// IPv6 address, and on systems of 32 bits every IP address.
pub(crate) struct StoredAddress(*const Address);

/// The bits of an address in place of a pointer, from the lowest: a one, which no pointer has; whether it is an IPv4
/// address; from bit 8 on the port; from bit 24 on the IP address.
const IN_PLACE: u64 = 1;
const IS_V4: u64 = 1 << 1;
const PORT_SHIFT: u32 = 8;
const IP_SHIFT: u32 = 24;

const _: () = assert!(align_of::<Address>() > 1);

// SAFETY: it owns its address, which is plain data and never changes.
unsafe impl Send for StoredAddress {}
// SAFETY: as above.
unsafe impl Sync for StoredAddress {}

impl StoredAddress {
    pub(crate) fn new(address: Address) -> Self {
        let word = match address {
            Address::Unix => Some(IN_PLACE),
            Address::Ip(SocketAddr::V4(v4)) => {
                let (ip, port) = (u64::from(v4.ip().to_bits()), u64::from(v4.port()));
                Some(ip << IP_SHIFT | port << PORT_SHIFT | IS_V4 | IN_PLACE)
            }
            Address::Ip(SocketAddr::V6(_)) => None,
        };
        match word.and_then(|word| usize::try_from(word).ok()) {
            Some(word) => Self(ptr::without_provenance(word)),
            None => Self(Box::into_raw(Box::new(address))),
        }
    }

    pub(crate) fn get(&self) -> Address {
        let word = self.0.addr() as u64;
        if word & IN_PLACE == 0 {
            // SAFETY: without the bit it is the pointer of a box, which lives as long as `self`.
            return unsafe { *self.0 };
        }
        if word & IS_V4 == 0 {
            return Address::Unix;
        }
        let ip = Ipv4Addr::from_bits((word >> IP_SHIFT) as u32);
        Address::Ip(SocketAddrV4::new(ip, (word >> PORT_SHIFT) as u16).into())
    }
}

impl Drop for StoredAddress {
    fn drop(&mut self) {
        if self.0.addr() as u64 & IN_PLACE == 0 {
            // SAFETY: as in `get`; it was made by `Box::into_raw`, and nothing uses it afterwards.
            drop(unsafe { Box::from_raw(self.0.cast_mut()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_stored() {
        let addresses = ["0.0.0.0:0", "255.255.255.255:65535", "192.0.2.1:50000", "[::]:0", "[2001:db8::1]:443"];
        let ip = addresses.map(|address| Address::Ip(address.parse().expect("an address")));
        let scoped = Address::Ip(std::net::SocketAddrV6::new(Ipv6Addr::LOCALHOST, 7, 8, 9).into());
        for address in ip.into_iter().chain([Address::Unix, scoped]) {
            assert_eq!(StoredAddress::new(address).get(), address);
        }
        assert_eq!(size_of::<StoredAddress>(), size_of::<usize>());
    }
}
