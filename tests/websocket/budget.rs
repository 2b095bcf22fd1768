//! The memory that large messages share while they are gathered, and the rate at which they must arrive.

use std::time::Duration;

use tidegate::engine::MemoryConfig;

use crate::handler::{received_bytes, wait_until};
use crate::support::client::{BINARY, Client, frame, pattern};
use crate::support::servers::{Setup, TestServer, on_every_engine};

const MIB: usize = 1 << 20;

/// Starts an echo with a budget of one MiB and other settings.
fn echo_with(setup: &Setup, change: impl FnOnce(MemoryConfig) -> MemoryConfig) -> TestServer {
    let mut setup = setup.clone();
    setup.config.memory = change(MemoryConfig::default().bytes_max(MIB));
    TestServer::echo(&setup)
}

/// A large message whose last byte has not been sent.
struct Held {
    payload: Vec<u8>,
    last: [u8; 1],
}

impl Held {
    /// Sends the last byte and expects the echo.
    fn finish(self, client: &mut Client) {
        client.write(&self.last);
        client.expect(BINARY, &self.payload);
    }
}

/// Begins a message of one MiB less 128 KiB, and waits until all but its last byte is gathered.
fn hold_most(server: &TestServer, client: &mut Client) -> Held {
    let payload = pattern(MIB - (128 << 10));
    let mut frame = frame(BINARY, &payload);
    let last = [frame.pop().expect("a byte")];
    let before = received_bytes(server);
    client.write(&frame);
    wait_until("the message", || received_bytes(server) - before == frame.len() as u64);
    // It draws one step more than it holds, so it needs nothing for its last byte.
    wait_until("its memory", || server.running.memory().bytes() == payload.len() + (64 << 10));
    Held { payload, last }
}

#[test]
fn a_message_larger_than_the_budget_is_refused() {
    on_every_engine(|setup| {
        let server = echo_with(setup, |memory| memory);
        assert_eq!(server.running.memory().bytes_max(), MIB);
        let mut client = Client::open(server.address);
        client.check_echo(BINARY, &pattern(MIB / 2));
        client.send(BINARY, &pattern(2 * MIB));
        client.expect_close(1013);
        client.expect_end();
        assert_eq!(server.running.memory().refused_total(), 1);
        wait_until("the memory to come back", || server.running.memory().bytes() == 0);
        assert_eq!(server.running.memory().messages(), 0);
        server.finish();
    });
}

/// A message waits while another one holds the memory, and is echoed when that is complete. Small messages never wait.
#[test]
fn a_message_waits_for_the_memory_of_another() {
    on_every_engine(|setup| {
        let server = echo_with(setup, |memory| memory.wait_timeout(Duration::from_secs(3600)));
        let (mut first, mut second, mut third) =
            (Client::open(server.address), Client::open(server.address), Client::open(server.address));
        let held = hold_most(&server, &mut first);
        let waits = pattern(MIB / 2);
        std::thread::scope(|scope| {
            scope.spawn(|| second.check_echo(BINARY, &waits));
            for len in [1, 1000, 60_000] {
                third.check_echo(BINARY, &pattern(len));
            }
            held.finish(&mut first);
        });
        assert_eq!(server.running.memory().refused_total(), 0);
        wait_until("the memory to come back", || server.running.memory().bytes() == 0);
        [first, second, third].into_iter().for_each(Client::close);
        server.finish();
    });
}

#[test]
fn a_message_that_waits_too_long_is_refused() {
    on_every_engine(|setup| {
        let server = echo_with(setup, |memory| memory.wait_timeout(Duration::from_millis(50)));
        let (mut first, mut second) = (Client::open(server.address), Client::open(server.address));
        let held = hold_most(&server, &mut first);
        second.write(&frame(BINARY, &pattern(MIB / 2))[..200_000]);
        second.expect_close(1013);
        second.expect_end();
        held.finish(&mut first);
        first.close();
        server.finish();
    });
}

/// While memory is short, a large message that has stopped arriving makes room.
#[test]
fn a_stalled_message_makes_room_for_one_that_waits() {
    on_every_engine(|setup| {
        let server = echo_with(setup, |memory| {
            let memory = memory.wait_timeout(Duration::from_secs(3600)).grace(Duration::from_secs(3600));
            memory.grace_when_spent(Duration::from_millis(50))
        });
        let (mut first, mut second) = (Client::open(server.address), Client::open(server.address));
        hold_most(&server, &mut first);
        second.check_echo(BINARY, &pattern(MIB / 2));
        first.expect_close(1008);
        first.expect_end();
        second.close();
        server.finish();
    });
}

/// A large message that stops arriving is given up. A small one is not.
#[test]
fn a_large_message_that_stops_arriving_is_given_up() {
    on_every_engine(|setup| {
        let server = echo_with(setup, |memory| memory.grace(Duration::from_millis(300)));
        let (mut first, mut second) = (Client::open(server.address), Client::open(server.address));
        let small = frame(BINARY, &pattern(60_000));
        second.write(&small[..50_000]);
        hold_most(&server, &mut first);
        first.expect_close(1008);
        first.expect_end();
        second.write(&small[50_000..]);
        second.expect(BINARY, &pattern(60_000));
        second.close();
        server.finish();
    });
}
