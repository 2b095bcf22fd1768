//! Tests of the echo mode and of the limit servers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidegate_benches::config::Run;
use tidegate_benches::echo::{self, Echo};
use tidegate_benches::error::LoadError;
use tidegate_benches::exchange::Pacing;
use tidegate_benches::payload::Content;
use tidegate_benches::script::Protocol;

use crate::servers::{Limit, run, server, websocket_echo};

fn config(address: SocketAddr) -> Echo {
    Echo {
        run: run(address, 20),
        protocol: Protocol::Tcp,
        path: "/ws".into(),
        pacing: Pacing::Windows { depth: 1 },
        payload_bytes: 64,
        content: Content::Binary,
        deflate: None,
    }
}

/// Applies every kind of load and expects every byte back.
fn serves_every_load(limit: &Limit) {
    let base = config(limit.address);
    let base = Echo { run: Run { server_pid: Some(limit.pid()), ..base.run }, ..base };
    let few = |connections| Run { connections, ..base.run.clone() };
    let loads = [
        base.clone(),
        Echo { pacing: Pacing::Windows { depth: 16 }, ..base.clone() },
        Echo { pacing: Pacing::Sliding { depth: 16 }, ..base.clone() },
        Echo { pacing: Pacing::Rate { messages_per_s: 5_000.0 }, ..base.clone() },
        Echo { payload_bytes: 0, content: Content::Text, ..base.clone() },
        Echo { payload_bytes: 300_000, pacing: Pacing::Windows { depth: 3 }, run: few(4), ..base.clone() },
        Echo { payload_bytes: 3_000_000, pacing: Pacing::Sliding { depth: 1 }, run: few(2), ..base.clone() },
    ];
    for load in loads {
        let report = echo::run(&load).unwrap_or_else(|error| panic!("{error} under {load:?}"));
        assert!(report.measured.units > 0, "{load:?}");
        assert_eq!(report.measured.latency.count(), report.measured.units);
        assert!(report.measured.client.busy > Duration::ZERO && report.measured.server.is_some());
    }
}

#[test]
fn the_io_uring_limit_returns_every_byte() {
    serves_every_load(&Limit::start(env!("CARGO_BIN_EXE_raw-uring"), &[]));
}

#[test]
fn the_io_uring_limit_survives_a_shortage_of_buffers() {
    let options = ["--buffers", "8", "--buffer-bytes", "512"];
    serves_every_load(&Limit::start(env!("CARGO_BIN_EXE_raw-uring"), &options));
}

#[test]
fn the_epoll_limit_returns_every_byte() {
    serves_every_load(&Limit::start(env!("CARGO_BIN_EXE_raw-epoll"), &[]));
}

#[test]
fn the_limits_answer_what_came_before_a_half_close() {
    for program in [env!("CARGO_BIN_EXE_raw-uring"), env!("CARGO_BIN_EXE_raw-epoll")] {
        let limit = Limit::start(program, &[]);
        for _ in 0..20 {
            let mut stream = TcpStream::connect(limit.address).unwrap();
            stream.write_all(&[7; 10_000]).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut back = Vec::new();
            stream.read_to_end(&mut back).unwrap();
            assert_eq!(back, [7; 10_000]);
        }
    }
}

#[test]
fn websocket_messages_come_back_unmasked() {
    let config = Echo { protocol: Protocol::WebSocket, ..config(server(websocket_echo)) };
    let windows = Echo { pacing: Pacing::Windows { depth: 3 }, ..config.clone() };
    for config in [windows, Echo { pacing: Pacing::Sliding { depth: 3 }, content: Content::Json, ..config }] {
        assert!(echo::run(&config).unwrap().measured.units > 0);
    }
}

#[test]
fn a_server_that_does_not_upgrade_fails_the_run() {
    let address = server(|mut stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let config = Echo { protocol: Protocol::WebSocket, ..config(address) };
    assert!(matches!(echo::run(&config), Err(LoadError::Handshake { index: 0, .. })));
}

#[test]
fn one_wrong_byte_fails_the_run() {
    let address = server(|mut stream| {
        let mut block = [0; 4096];
        for round in 0.. {
            let length = stream.read(&mut block)?;
            block[69] ^= u8::from(round == 5);
            stream.write_all(&block[..length])?;
        }
        Ok(())
    });
    let Err(LoadError::Wrong { error, .. }) = echo::run(&config(address)) else {
        panic!("the wrong byte went unnoticed")
    };
    assert!(error.to_string().starts_with("reply 5, byte 69 of 70"), "{error}");
}

#[test]
fn a_server_that_hangs_up_fails_the_run() {
    let address = server(|mut stream| stream.read_exact(&mut [0; 70]));
    assert!(matches!(echo::run(&config(address)), Err(LoadError::Closed { outstanding: 1, .. })));
}

#[test]
fn a_server_that_never_answers_is_a_stall() {
    let address = server(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()).map(drop));
    let config = config(address);
    let run = Run { stall: Duration::from_millis(200), ..config.run };
    let config = Echo { run, pacing: Pacing::Windows { depth: 2 }, ..config };
    let stalled = echo::run(&config);
    assert!(matches!(stalled, Err(LoadError::Stalled { connections: 20, messages: 40 })), "{stalled:?}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_times_from_the_schedule() {
    let limit = Limit::start(env!("CARGO_BIN_EXE_raw-epoll"), &[]);
    let config = config(limit.address);
    let run = Run { connections: 3, warmup: Duration::ZERO, measured: Duration::from_millis(500), ..config.run };
    let config = Echo { run, pacing: Pacing::Rate { messages_per_s: 100.0 }, ..config };
    let report = echo::run(&config).unwrap();
    // Nothing is sent before it is due, however slow the machine is.
    let due = 100.0 * report.measured.wall.as_secs_f64() + 1.0;
    assert!(report.measured.units > 0 && report.measured.units as f64 <= due, "{} of {due}", report.measured.units);
    assert_eq!(report.measured.latency.count(), report.measured.units);
}
