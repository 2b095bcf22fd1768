//! Peers that do not read: memory stays bounded, and everything continues once they read.

use std::io::{ErrorKind, Write};

use tidegate::prelude::*;
use tidegate::websocket::{Error, EventHandler, EventSocket, Sender};

use crate::events::on_every_engine_and_style;
use crate::handler::{Gate, reports};
use crate::support::client::{BINARY, Client, PATIENCE, PING, PONG, TEXT, frame, pattern};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

/// A server that echoes, and the sender of its connection.
fn echo_with_sender(setup: &Setup) -> (TestServer, Client, Sender) {
    let (report, reports) = reports();
    let config = WebSocketConfig::default();
    let server = match setup.events {
        true => TestServer::serve_events(setup, config, EchoAndReport(report)),
        false => TestServer::serve(setup, config, move |ws: WebSocket| {
            report.send(ws.sender()).unwrap();
            echo(ws)
        }),
    };
    let client = Client::open(server.address);
    let sender = reports.next();
    (server, client, sender)
}

/// Echoes, and reports the senders of its connections.
struct EchoAndReport(std::sync::mpsc::Sender<Sender>);

impl EventHandler for EchoAndReport {
    type State = ();

    fn on_open(&self, ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(self.0.send(ws.sender())?)
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        Ok(ws.send(message)?)
    }
}

/// Writes `frame` repeatedly until the server stops receiving and the kernel takes no more. Returns the number of
/// frames begun, and the unwritten rest of the last one.
pub fn flood<'f>(server: &TestServer, client: &mut Client, frame: &'f [u8]) -> (usize, &'f [u8]) {
    let start = std::time::Instant::now();
    client.stream.set_nonblocking(true).unwrap();
    let (mut begun, mut offset) = (0, frame.len());
    loop {
        if offset == frame.len() {
            (begun, offset) = (begun + 1, 0);
        }
        match client.stream.write(&frame[offset..]) {
            Ok(len) => offset += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if server.running.stats().iter().any(|worker| worker.paused > 0) {
                    break;
                }
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(start.elapsed() < PATIENCE, "the server keeps receiving while nothing it sends is read");
    }
    client.stream.set_nonblocking(false).unwrap();
    (begun, &frame[offset..])
}

/// Floods with `sent` until both sides stall, checks the bytes the server holds, and reads as many `answer`s.
fn check_flood(setup: &Setup, sent: (u8, &[u8]), answer: u8) {
    let (server, mut client, sender) = echo_with_sender(setup);
    let bytes = frame(sent.0, sent.1);
    let (begun, rest) = flood(&server, &mut client, &bytes);
    let high = setup.config.outbound.bytes_high;
    let queued = sender.queued_bytes();
    assert!(queued <= high + bytes.len(), "{queued} bytes are queued, though the mark is {high}");
    let mut writer = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(rest).unwrap());
        for _ in 0..begun {
            client.expect(answer, sent.1);
        }
    });
    client.check_echo(TEXT, b"as if nothing had been");
    client.close();
    server.finish();
}

/// An echo buffer must not grow without end towards a client that does not read.
#[test]
fn a_flood_of_messages_without_reading_is_bounded_and_continues() {
    let payload = pattern(50_000);
    on_every_engine_and_style(|setup| check_flood(setup, (BINARY, &payload), BINARY));
}

/// The same with pongs, which no handler sends.
#[test]
fn a_flood_of_pings_without_reading_is_bounded_and_continues() {
    let payload = pattern(125);
    on_every_engine_and_style(|setup| check_flood(setup, (PING, &payload), PONG));
}

#[test]
fn trying_to_send_is_refused_above_the_mark_and_nothing_is_lost() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let gate = Gate::default();
        let passed = gate.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |ws: WebSocket| {
            let sender = ws.sender();
            let mut accepted = 0_u32;
            let error = loop {
                let mut message = vec![0; 60_000];
                message[..4].copy_from_slice(&accepted.to_be_bytes());
                match sender.try_send(message) {
                    Ok(()) => accepted += 1,
                    Err(error) => break error,
                }
            };
            report.send((accepted, matches!(error, Error::Full))).unwrap();
            passed.pass().await;
            sender.send_text("the last").await?;
            sender.flush().await?;
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        let (accepted, full) = reports.next();
        assert!(full);
        gate.open();
        for number in 0..accepted {
            let frame = client.next().expect("a message");
            assert!(frame.payload.len() == 60_000 && frame.payload[..4] == number.to_be_bytes(), "{frame:?}");
        }
        client.expect(TEXT, b"the last");
        client.close();
        server.finish();
    });
}

/// The mark bounds the queued bytes, not the size of a message.
#[test]
fn a_message_larger_than_the_mark_passes_alone() {
    let large = pattern(3 << 20);
    on_every_engine_and_style(|setup| {
        let (server, mut client, _sender) = echo_with_sender(setup);
        for _ in 0..3 {
            client.check_echo(BINARY, &large);
        }
        client.close();
        server.finish();
    });
}
