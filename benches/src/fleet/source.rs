//! The local addresses of connections.
//!
//! A connection is told apart by its local address and port. The client chooses both itself, one after the other: the
//! kernel's choice of a port gets slow once many of an address's ports are taken.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::SockAddr;

/// The ports of an address that are used. Those below are the usual ones of listeners.
const FIRST_PORT: usize = 10_000;
const PORTS: usize = 50_000;

/// The second bytes of the addresses: from 127.16.0.0 to 127.254.255.255.
const FIRST_NETWORK: usize = 16;
const ADDRESSES: usize = (255 - FIRST_NETWORK) << 16;

/// Addresses between the first ones of two processes with neighbouring numbers.
const ADDRESSES_PER_PROCESS: usize = 64;

/// The addresses not yet used, in order.
#[derive(Debug)]
pub(super) struct Sources {
    is_loopback: bool,
    next: AtomicUsize,
}

impl Sources {
    /// Returns the sources of connections to `server`: none unless that is an IPv4 loopback address.
    pub(super) fn of(server: &SockAddr) -> Self {
        let is_loopback = server.as_socket_ipv4().is_some_and(|server| server.ip().is_loopback());
        // Each process begins elsewhere, because the ports of the one before can be in TIME_WAIT.
        let begin = std::process::id() as usize * ADDRESSES_PER_PROCESS % ADDRESSES * PORTS;
        Self { is_loopback, next: AtomicUsize::new(begin) }
    }

    /// Returns the next source; `None` leaves the choice to the kernel.
    pub(super) fn take(&self) -> Option<SocketAddrV4> {
        self.is_loopback.then(|| source(self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

fn source(number: usize) -> SocketAddrV4 {
    let address = (number / PORTS % ADDRESSES + (FIRST_NETWORK << 16)) as u32;
    let [_, network, high, low] = address.to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, network, high, low), (FIRST_PORT + number % PORTS) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_before_addresses_and_both_stay_in_their_range() {
        let shown = |number| source(number).to_string();
        assert_eq!(shown(0), "127.16.0.0:10000");
        assert_eq!(shown(PORTS - 1), "127.16.0.0:59999");
        assert_eq!(shown(PORTS), "127.16.0.1:10000");
        assert_eq!(shown(PORTS * ADDRESSES - 1), "127.254.255.255:59999");
        assert_eq!(shown(PORTS * ADDRESSES), "127.16.0.0:10000");
    }

    #[test]
    fn only_ipv4_loopback_servers_have_sources() {
        let take = |server: &str| Sources::of(&server.parse::<std::net::SocketAddr>().unwrap().into()).take();
        assert!(take("127.0.0.1:80").is_some());
        assert_eq!((take("[::1]:80"), take("192.0.2.1:80")), (None, None));
        assert_eq!(Sources::of(&SockAddr::unix("socket").unwrap()).take(), None);
    }
}
