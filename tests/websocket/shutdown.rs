//! Graceful shutdown as clients see it: every peer gets close 1001.

use std::time::Duration;

use tidegate::prelude::*;
use tidegate::websocket::Error;

use crate::backpressure::flood;
use crate::events::on_every_engine_and_style;
use crate::handler::{Gate, reports};
use crate::support::client::{CLOSE, Client, PING, PONG, TEXT, close_frame, frame};
use crate::support::servers::{TestServer, echo, on_every_engine};

#[test]
fn every_peer_gets_close_1001() {
    on_every_engine_and_style(|setup| {
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

/// The engine sends the close frame: no handler has to check.
#[test]
fn peers_of_busy_handlers_get_it_too() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let gate = Gate::default();
        let passed = gate.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            report.send(None).unwrap();
            passed.pass().await;
            let late = ws.send("too late").await.is_err_and(|error| error.is_close_sent());
            let result = ws.recv().await;
            report.send(Some((late, matches!(result, Ok(None)), ws.is_closed_cleanly()))).unwrap();
            Ok(result.map(drop)?)
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

/// A handler that waits for space is woken, and the peer gets every accepted byte, then close 1001.
#[test]
fn peers_that_do_not_read_get_it_too() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
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
            Err(error.into())
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

/// A read that waits for space to answer a ping is woken, as a handler that waits to send.
#[test]
fn peers_that_ping_and_do_not_read_get_it_too() {
    on_every_engine_and_style(|setup| {
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

/// A client that ignores the farewell has the time of a closing handshake, not that of the whole shutdown, whether its
/// handler reads or waits for something else.
#[test]
fn a_peer_that_ignores_the_farewell_is_given_up() {
    let mut config = WebSocketConfig::default();
    config.close_timeout = Duration::from_millis(100);
    for reads in [true, false] {
        on_every_engine(|setup| {
            let mut setup = setup.clone();
            setup.config.linger_timeout = Duration::from_millis(100);
            let server = TestServer::serve(&setup, config.clone(), move |mut ws: WebSocket| async move {
                if reads {
                    return echo(ws).await;
                }
                ws.closed().await;
                Ok(())
            });
            let mut client = Client::open(server.address);
            server.running.handle().begin_shutdown(Shutdown::default().drain_timeout(Duration::from_secs(3600)));
            client.expect_close(1001);
            // The client answers nothing, and keeps its side open.
            let report = server.running.join();
            assert_eq!((report.drained, report.forced), (1, 0));
        });
    }
}
