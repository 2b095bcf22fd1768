//! Tests of what a burst leaves in the lists of a tick.

use std::io::Write;
use std::net::TcpStream;

use super::*;
use crate::driver::listener::open_on_loopback;

/// Connections that are active at once in a burst.
const CLIENTS: usize = 3 * LIST_ENTRIES_KEPT;

/// Longer than a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a driver with connections whose receives are armed, and their clients.
fn with_connections() -> (PortableDriver, Vec<ConnKey>, Vec<TcpStream>) {
    let (listeners, address) = open_on_loopback(2 * CLIENTS);
    let mut driver = PortableDriver::new(CLIENTS + 1, listeners, Instant::now()).unwrap();
    assert!(driver.arm_accept(0));
    let clients = (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let (mut keys, mut events) = (Vec::new(), Vec::new());
    while keys.len() < CLIENTS {
        driver.enter(Some(PATIENCE), &mut events).unwrap();
        for event in events.drain(..) {
            if let Event::Accepted(accepted) = event {
                keys.push(accepted.key);
            }
        }
    }
    keys.iter().for_each(|key| driver.arm_receive(*key, None));
    (driver, keys, clients)
}

/// Enters the driver. Returns the number of events, and whether one of them reports a burst.
fn enter(driver: &mut PortableDriver) -> (usize, bool) {
    let mut events = Vec::new();
    driver.enter(Some(PATIENCE), &mut events).unwrap();
    let (mut count, mut is_burst) = (0, false);
    for event in events.drain(..) {
        match event {
            Event::Burst => is_burst = true,
            Event::Received { data, .. } => {
                driver.recycle(data);
                count += 1;
            }
            _ => count += 1,
        }
    }
    (count, is_burst)
}

#[test]
fn few_events_are_no_burst() {
    let (mut driver, keys, mut clients) = with_connections();
    for (key, client) in keys.iter().zip(&mut clients).take(LIST_ENTRIES_KEPT / 2) {
        client.write_all(b"x").unwrap();
        assert_eq!(enter(&mut driver), (1, false));
        driver.send(*key, SendBatch::single(b"y".to_vec().into()));
        assert_eq!(enter(&mut driver), (1, false));
    }
}

#[test]
fn many_messages_at_once_are_a_burst() {
    let (mut driver, _keys, mut clients) = with_connections();
    clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
    let (mut received, mut bursts) = (0, 0);
    while received < CLIENTS {
        let (count, is_burst) = enter(&mut driver);
        received += count;
        bursts += usize::from(is_burst);
    }
    assert!(bursts > 0);
}

#[test]
fn the_memory_of_a_burst_is_given_back() {
    let (mut driver, keys, _clients) = with_connections();
    for key in &keys {
        driver.send(*key, SendBatch::single(b"y".to_vec().into()));
    }
    assert!(driver.pending.capacity() >= CLIENTS);
    assert_eq!(enter(&mut driver), (CLIENTS, true));
    for key in &keys {
        driver.close(*key, true);
    }
    assert!(driver.pending.capacity() >= CLIENTS);
    assert_eq!(enter(&mut driver), (CLIENTS, true));
    driver.ready.extend(0..CLIENTS as u32);
    driver.ready.clear();
    assert!(!driver.trim());
    assert!(driver.pending.capacity() <= LIST_ENTRIES_KEPT && driver.ready.capacity() <= 2 * LIST_ENTRIES_KEPT);
}
