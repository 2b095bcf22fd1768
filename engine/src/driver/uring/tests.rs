//! Tests of what a ring does before the kernel is entered.

use std::net::TcpStream;
use std::time::Instant;

use super::*;
use crate::driver::listener::open_on_loopback;

/// Returns a driver with regular descriptors, and a connection of it.
fn with_a_connection() -> (UringDriver, ConnKey, TcpStream) {
    let (listeners, address) = open_on_loopback(16);
    let config = UringConfig::default().direct_descriptors(false);
    let mut driver = UringDriver::new(&config, 16, 16, listeners, Instant::now()).unwrap();
    assert!(driver.arm_accept(0));
    let client = TcpStream::connect(address).unwrap();
    let mut events = Vec::new();
    loop {
        Driver::enter(&mut driver, Some(Duration::from_secs(30)), &mut events).unwrap();
        for event in events.drain(..) {
            if let Event::Accepted(accepted) = event {
                return (driver, accepted.key, client);
            }
        }
    }
}

/// Linux 6.1 to 6.6 have no operation for socket options, so the option must be set without one.
#[test]
fn a_regular_descriptor_is_set_to_reset_without_the_ring() {
    let (mut driver, key, _client) = with_a_connection();
    let duplicate = {
        let (out, socket) = std::sync::mpsc::channel();
        driver.with_socket(key, Box::new(move |socket| out.send(socket.unwrap().try_clone().unwrap()).unwrap()));
        socket.recv().unwrap()
    };
    driver.close(key, true);
    assert_eq!(duplicate.linger().unwrap(), Some(Duration::ZERO), "before the kernel has taken any entry");
}
