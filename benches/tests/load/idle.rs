//! Tests of the idle mode.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidegate_benches::config::Run;
use tidegate_benches::error::LoadError;
use tidegate_benches::idle::{self, Idle};
use tidegate_benches::report;
use tidegate_benches::script::Protocol;

use crate::servers::{Limit, WebSocket, run, server, websocket_echo};

fn config(address: SocketAddr) -> Idle {
    Idle { run: run(address, 25), protocol: Protocol::WebSocket, path: "/ws".into(), payload_bytes: 64 }
}

/// Echoes the first message and handles the second with `last`. Returns the failure.
fn fails(last: fn(&mut TcpStream, &mut [u8]) -> io::Result<()>) -> LoadError {
    let address = server(move |stream| {
        let mut websocket = WebSocket::accept(stream)?;
        let frame = websocket.read()?;
        websocket.stream.write_all(&frame)?;
        let mut frame = websocket.read()?;
        last(&mut websocket.stream, &mut frame)
    });
    let config = config(address);
    let stall = Duration::from_millis(300);
    idle::run(&Idle { run: Run { stall, ..config.run }, ..config }).expect_err("the fault went unnoticed")
}

#[test]
fn every_connection_answers_before_and_after_its_rest() {
    let config = config(server(websocket_echo));
    let report = idle::run(&config).unwrap();
    assert_eq!((report.measured.units, report.measured.latency.count()), (25, 25));
    let json = report.json();
    assert!(json.contains("\"mode\":\"idle\"") && json.contains("\"user_bytes_per_connection\":null"), "{json}");
    assert!(report::number(&json, "kernel_bytes_per_connection_both_ends").is_some(), "{json}");
}

#[test]
fn the_servers_memory_is_reported() {
    let limit = Limit::start(env!("CARGO_BIN_EXE_raw-uring"), &[]);
    let config = Idle { protocol: Protocol::Tcp, ..config(limit.address) };
    let run = Run { server_pid: Some(limit.pid()), ..config.run };
    let report = idle::run(&Idle { run, ..config }).unwrap();
    assert!(report.measured.server.is_some());
    // Each message was received into a 4 KiB buffer that was unused before.
    let user = report::number(&report.json(), "user_bytes_per_connection").unwrap();
    assert!((1.0..65_536.0).contains(&user), "{user}");
}

#[test]
fn a_wrong_byte_fails_the_run() {
    let error = fails(|stream, frame| {
        frame[9] ^= 1;
        stream.write_all(frame)
    });
    assert!(!error.is_stall() && error.to_string().contains("byte 9 of 66"), "{error}");
}

#[test]
fn a_connection_that_was_closed_meanwhile_fails_the_run() {
    let error = fails(|_, _| Ok(()));
    assert!(!error.is_stall() && error.to_string().contains("closed it with 1 messages outstanding"), "{error}");
}

#[test]
fn no_answer_after_the_rest_is_a_stall() {
    let error = fails(|stream, _| io::copy(stream, &mut io::sink()).map(drop));
    assert!(error.is_stall(), "{error}");
}

#[test]
fn a_refused_connection_fails_the_run() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = idle::run(&config(address)).unwrap_err();
    assert!(matches!(&error, LoadError::Connect { .. }), "{error}");
}
