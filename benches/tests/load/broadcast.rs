//! Tests of the broadcast mode.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_benches::broadcast::{self, Broadcast};
use tidegate_benches::config::Run;
use tidegate_benches::error::LoadError;
use tidegate_benches::payload::Content;

use crate::servers::{WebSocket, run, server};

const SUBSCRIBERS: usize = 12;

/// Sends one frame, message number `count`, to the connection with this number.
type Deliver = fn(&mut TcpStream, usize, u64, &[u8]) -> io::Result<()>;

#[derive(Default)]
struct Hub {
    members: Vec<TcpStream>,
    messages: u64,
}

/// Starts a hub that passes each frame on with `deliver`.
fn hub(deliver: Deliver) -> SocketAddr {
    let hub = Arc::new(Mutex::new(Hub::default()));
    server(move |stream| {
        // One at a time, so members are in the order in which the client connects.
        let mut joining = hub.lock().unwrap();
        let mut websocket = WebSocket::accept(stream)?;
        joining.members.push(websocket.stream.try_clone()?);
        drop(joining);
        loop {
            let mut frame = websocket.read()?;
            if frame[0] == 0x89 {
                frame[0] = 0x8a;
                websocket.stream.write_all(&frame)?;
                continue;
            }
            let mut hub = hub.lock().unwrap();
            hub.messages += 1;
            let count = hub.messages;
            for (number, member) in hub.members.iter_mut().enumerate() {
                deliver(member, number, count, &frame)?;
            }
        }
    })
}

fn config(address: SocketAddr) -> Broadcast {
    Broadcast {
        run: run(address, SUBSCRIBERS),
        path: "/hub".into(),
        payload_bytes: 64,
        content: Content::Binary,
        burst: 1,
    }
}

#[test]
fn every_connection_gets_every_message() {
    for (burst, content, payload_bytes) in [(1, Content::Binary, 64), (16, Content::Json, 100), (3, Content::Text, 0)] {
        let address = hub(|member, _, _, frame| member.write_all(frame));
        let config = Broadcast { burst, content, payload_bytes, ..config(address) };
        let report = broadcast::run(&config).unwrap();
        assert!(report.measured.units > 0);
        assert!(report.json().contains("\"mode\":\"broadcast\"") && report.json().contains("\"published_per_s\":"));
    }
}

#[test]
fn a_wrong_byte_in_one_delivery_fails_the_run() {
    let address = hub(|member, number, count, frame| {
        let mut frame = frame.to_vec();
        frame[33] ^= u8::from(number == 7 && count == 5);
        member.write_all(&frame)
    });
    let error = broadcast::run(&config(address)).unwrap_err();
    assert!(matches!(error, LoadError::Wrong { index: 7, .. }), "{error}");
    assert!(error.to_string().contains("reply 4, byte 33 of 66"), "{error}");
}

#[test]
fn a_missing_delivery_is_a_stall_or_a_wrong_message() {
    let drops_one: Deliver = |member, number, count, frame| {
        if number == 3 && count == 6 { Ok(()) } else { member.write_all(frame) }
    };
    let base = config(hub(drops_one));
    let stall = Duration::from_millis(200);
    let failed = broadcast::run(&Broadcast { run: Run { stall, ..base.run.clone() }, ..base });
    assert!(matches!(failed, Err(LoadError::Stalled { connections: 1, messages: 1 })), "{failed:?}");
    let failed = broadcast::run(&Broadcast { burst: 16, ..config(hub(drops_one)) });
    assert!(matches!(failed, Err(LoadError::Wrong { index: 3, .. })), "{failed:?}");
}

#[test]
fn a_second_delivery_fails_the_run() {
    let address = hub(|member, number, count, frame| {
        member.write_all(frame)?;
        if number == 2 && count == 4 { member.write_all(frame) } else { Ok(()) }
    });
    let failed = broadcast::run(&config(address));
    assert!(matches!(failed, Err(LoadError::Wrong { index: 2, .. })), "{failed:?}");
}

#[test]
fn a_subscriber_that_is_dropped_fails_the_run() {
    let address = hub(|member, number, count, frame| match (number, count) {
        (4, 3) => member.shutdown(std::net::Shutdown::Both),
        (4, 4..) => Ok(()),
        _ => member.write_all(frame),
    });
    let failed = broadcast::run(&config(address));
    assert!(matches!(failed, Err(LoadError::Closed { index: 4, outstanding: 1 })), "{failed:?}");
}

#[test]
fn a_server_that_answers_no_ping_fails_the_run() {
    let address = server(|stream| {
        let mut websocket = WebSocket::accept(stream)?;
        let frame = websocket.read()?;
        websocket.stream.write_all(&frame)
    });
    let error = broadcast::run(&config(address)).unwrap_err();
    assert!(error.to_string().contains("expected the pong"), "{error}");
}
