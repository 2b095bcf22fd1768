//! Tests of the churn mode.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidegate_benches::churn::{self, Churn};
use tidegate_benches::config::Run;
use tidegate_benches::error::LoadError;
use tidegate_benches::payload::Content;

use crate::servers::{WebSocket, run, server, websocket_echo};

fn config(address: SocketAddr) -> Churn {
    Churn { run: run(address, 8), path: "/ws".into(), payload_bytes: 64, content: Content::Binary }
}

/// Runs the load against `serve` and returns the failure.
fn fails(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> LoadError {
    churn::run(&config(server(serve))).expect_err("the fault went unnoticed")
}

#[test]
fn cycles_are_counted_when_the_server_has_closed() {
    let report = churn::run(&config(server(websocket_echo))).unwrap();
    assert!(report.measured.units > 0);
    assert_eq!(report.measured.latency.count(), report.measured.units);
    assert!(report.json().contains("\"mode\":\"churn\"") && report.json().contains("\"upgrades_per_s\":"));
    let text = Churn { content: Content::Text, payload_bytes: 0, ..config(server(websocket_echo)) };
    assert!(churn::run(&text).unwrap().measured.units > 0);
}

#[test]
fn a_refused_connection_fails_the_run() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(churn::run(&config(address)), Err(LoadError::Connect { .. })));
}

#[test]
fn a_server_that_does_not_upgrade_fails_the_run() {
    let error = fails(|mut stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    assert!(error.to_string().contains("expected status 101"), "{error}");
}

#[test]
fn a_wrong_byte_in_the_echo_fails_the_run() {
    let error = fails(|stream| {
        let mut websocket = WebSocket::accept(stream)?;
        let mut frame = websocket.read()?;
        frame[40] ^= 1;
        websocket.stream.write_all(&frame)?;
        websocket.read().map(drop)
    });
    assert!(matches!(error, LoadError::Wrong { .. }) && error.to_string().contains("byte 40 of 66"), "{error}");
}

#[test]
fn another_close_code_fails_the_run() {
    let error = fails(|stream| {
        let mut websocket = WebSocket::accept(stream)?;
        let frame = websocket.read()?;
        websocket.stream.write_all(&frame)?;
        websocket.read()?;
        websocket.stream.write_all(&[0x88, 2, 3, 0xea])
    });
    assert!(error.to_string().contains("expected a close frame with 1000"), "{error}");
}

#[test]
fn an_end_without_the_closing_handshake_fails_the_run() {
    let error = fails(|stream| {
        let mut websocket = WebSocket::accept(stream)?;
        let frame = websocket.read()?;
        websocket.stream.write_all(&frame)?;
        websocket.read().map(drop)
    });
    assert!(matches!(error, LoadError::ClosedEarly { .. }) && error.to_string().contains("close frame"), "{error}");
    let error = fails(|stream| WebSocket::accept(stream)?.read().map(drop));
    assert!(matches!(error, LoadError::ClosedEarly { .. }) && error.to_string().contains("echo"), "{error}");
}

#[test]
fn a_server_that_does_not_close_tcp_is_a_stall() {
    let address = server(|stream| {
        let mut websocket = WebSocket::accept(stream)?;
        for _ in 0..2 {
            let frame = websocket.read()?;
            websocket.stream.write_all(&frame)?;
        }
        websocket.reader.read_to_end(&mut Vec::new()).map(drop)
    });
    let config = config(address);
    let stall = Duration::from_millis(200);
    let error = churn::run(&Churn { run: Run { stall, ..config.run }, ..config }).unwrap_err();
    assert!(error.is_stall() && error.to_string().contains("after the closing handshake"), "{error}");
}
