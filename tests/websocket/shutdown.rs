//! Graceful shutdown as clients see it (bug 8: no 1001 on SIGTERM).

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tidegate::prelude::*;
use tidegate::websocket::Error;

use crate::backpressure::flood;
use crate::handler::{Gate, reports};
use crate::support::client::{CLOSE, Client, PING, PONG, TEXT, close_frame, frame};
use crate::support::servers::{TestServer, on_every_engine};

#[test]
fn every_peer_is_told_1001() {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        let mut clients: Vec<_> = (0..20).map(|_| Client::open(server.address)).collect();
        clients[0].check_echo(TEXT, b"not all were idle");
        server.running.handle().begin_shutdown(Shutdown::default());
        for client in &mut clients {
            client.expect_close(1001);
        }
        for mut client in clients {
            client.write(&close_frame(1001, ""));
            client.expect_end();
        }
        let report = server.running.join();
        assert_eq!((report.drained, report.forced), (20, 0));
    });
}

/// The engine itself says it: no handler has to look.
#[test]
fn peers_of_busy_handlers_are_told_too() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let gate = Gate::default();
        let passed = gate.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), move |mut ws: WebSocket| {
            let (report, gate) = (report.clone(), passed.clone());
            async move {
                report.send(None).unwrap();
                gate.pass().await;
                let late = ws.send("too late").await.is_err_and(|error| error.is_close_sent());
                let result = ws.recv().await;
                report.send(Some((late, matches!(result, Ok(None)), ws.is_closed_cleanly()))).unwrap();
                result.map(drop)
            }
        });
        let mut client = Client::open(server.address);
        assert_eq!(reports.next(), None);
        server.running.handle().begin_shutdown(Shutdown::default());
        client.expect_close(1001);
        client.send(PING, b"no pong is due");
        client.write(&close_frame(1001, ""));
        gate.open();
        assert_eq!(reports.next(), Some((true, true, true)));
        client.expect_end();
        let report = server.running.join();
        assert_eq!((report.drained, report.forced), (1, 0));
    });
}

/// A handler that waits for space is woken, and the peer gets every byte that was accepted, then 1001.
#[test]
fn peers_that_do_not_read_are_told_too() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), move |mut ws: WebSocket| {
            let report = report.clone();
            async move {
                let mut sent = 0_u32;
                let error = loop {
                    let mut message = vec![0; 500_000];
                    message[..4].copy_from_slice(&sent.to_be_bytes());
                    match ws.sender().try_send(message.clone()) {
                        Ok(()) => sent += 1,
                        Err(Error::Full) => {
                            report.send(None).unwrap();
                            if let Err(error) = ws.send(message).await {
                                break error;
                            }
                            sent += 1;
                        }
                        Err(error) => break error,
                    }
                };
                report.send(Some((sent, error.is_close_sent()))).unwrap();
                Err(error)
            }
        });
        let mut client = Client::open(server.address);
        assert_eq!(reports.next(), None);
        server.running.handle().begin_shutdown(Shutdown::default());
        let (sent, close_sent) = std::iter::repeat_with(|| reports.next()).find_map(|report| report).unwrap();
        assert!(close_sent);
        for number in 0..sent {
            let frame = client.next().expect("a message");
            assert!(frame.payload.len() == 500_000 && frame.payload[..4] == number.to_be_bytes(), "{frame:?}");
        }
        client.expect_close(1001);
        client.write(&close_frame(1001, ""));
        client.expect_end();
        let report = server.running.join();
        assert_eq!(report.forced, 0);
    });
}

/// A read that waits to answer a ping is woken like a handler that waits to send.
#[test]
fn peers_that_ping_and_do_not_read_are_told_too() {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        let mut client = Client::open(server.address);
        let ping = frame(PING, &[0; 125]);
        let (begun, rest) = flood(&server, &mut client, &ping);
        server.running.handle().begin_shutdown(Shutdown::default());
        client.write(rest);
        client.write(&close_frame(1001, ""));
        let mut pongs = 0;
        let last = loop {
            let frame = client.next().expect("a frame");
            if frame.first != PONG {
                break frame;
            }
            pongs += 1;
        };
        assert!(pongs <= begun, "{pongs} pongs for {begun} pings");
        assert_eq!((last.first, &last.payload[..]), (CLOSE, &1001_u16.to_be_bytes()[..]));
        client.expect_end();
        let report = server.running.join();
        assert_eq!((report.drained, report.forced), (1, 0));
    });
}

/// The example, as a program of its own, on a signal.
#[test]
fn the_echo_example_says_1001_on_sigterm_and_ends_well() {
    let program = example("echo");
    for (engine, handlers) in [("uring", "same-core"), ("uring", "inline"), ("std", "same-core")] {
        println!("on {engine}/{handlers}");
        let arguments = ["--addr", "127.0.0.1:0", "--engine", engine, "--handlers", handlers, "--workers", "2"];
        let mut child = Command::new(&program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line
            .split(|c: char| c.is_whitespace() || c == ',')
            .find_map(|word| word.parse().ok())
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        let mut clients: Vec<_> = (0..8).map(|_| Client::open(address)).collect();
        clients[0].check_echo(TEXT, b"up");
        terminate(&child);
        for client in &mut clients {
            client.expect_close(1001);
        }
        for mut client in clients {
            client.write(&close_frame(1001, ""));
            client.expect_end();
        }
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0));
        let rest: Vec<_> = output.lines().map_while(Result::ok).collect();
        assert!(matches!(&rest[..], [line] if line.ends_with(" connections drained, 0 reset")), "{rest:?}");
    }
}

fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// The program of an example, built from the sources as they are, beside this test's own.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).expect("<target>/<profile>/deps/<test>");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--example",
        name,
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    cargo.arg("--target-dir").arg(profile.parent().expect("<target>"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the example {name} does not build");
    profile.join("examples").join(name)
}
