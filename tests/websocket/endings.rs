//! Connections that end at awkward moments: with data on its way, with unread input, or by a peer that ignores the
//! rules.

use std::io::Write;
use std::net::Shutdown as Half;
use std::thread;
use std::time::Duration;

use tidegate::engine::CloseCause;
use tidegate::engine::time::sleep;
use tidegate::prelude::*;
use tidegate::websocket::{CloseCodeClass, Error};

use crate::deadlines::on_every_engine_at_once;
use crate::handler::{Gate, reports, wait_until};
use crate::support::client::{BINARY, Client, PING, TEXT, close_frame, frame, pattern};
use crate::support::servers::{TestServer, on_every_engine};

/// More than the kernel's buffers hold.
const LARGE_BYTES: usize = 12 << 20;

/// The peer closes before it has read a message on its way: it gets the whole message, then our close frame.
#[test]
fn a_close_frame_does_not_overtake_a_message_on_its_way() {
    let large = pattern(LARGE_BYTES);
    for half_closes in [false, true] {
        on_every_engine(|setup| {
            let (report, reports) = reports();
            let message = large.clone();
            let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
                ws.send(message.clone()).await?;
                let end = ws.recv().await;
                report.send((matches!(end, Ok(None)), ws.is_closed_cleanly())).unwrap();
                Ok(())
            });
            let mut client = Client::open(server.address);
            client.write(&close_frame(4000, "enough"));
            if half_closes {
                client.finish_writing();
            }
            assert_eq!(reports.next(), (true, true));
            client.expect(BINARY, &large);
            assert_eq!(client.expect_close(4000), "enough");
            client.expect_end();
            server.finish();
        });
    }
}

/// The close timeout bounds the answer to our close frame, not the delivery of queued bytes.
#[test]
fn accepted_messages_leave_even_after_the_close_timeout() {
    let large = pattern(LARGE_BYTES);
    // Long enough that a busy machine does not stall a handler for as long.
    const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
    let config = WebSocketConfig::default().close_timeout(CLOSE_TIMEOUT);
    on_every_engine_at_once(|setup| {
        let (report, reports) = reports();
        let message = large.clone();
        let server = TestServer::serve(setup, config.clone(), async move |mut ws: WebSocket| {
            ws.send(message.clone()).await?;
            let result = ws.close(CloseCode::NORMAL, "").await;
            drop(ws);
            // Every deadline of the closing handshake passes meanwhile.
            sleep(2 * CLOSE_TIMEOUT).await;
            report.send(matches!(result, Err(Error::Lost))).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        assert!(reports.next());
        client.expect(BINARY, &large);
        client.expect_close(1000);
        client.expect_end();
        server.finish();
    });
}

/// A handler returns with megabytes unread in the inbound buffer, in the kernel and on their way. They are drained,
/// because a reset would destroy the close frame.
#[test]
fn unread_input_does_not_destroy_the_close_frame() {
    let unread = [frame(BINARY, &vec![1; 3 << 20]), frame(PING, b"unanswered"), frame(TEXT, &[b'a'; 70_000])].concat();
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), |mut ws: WebSocket| async move {
            ws.recv().await?;
            Ok(())
        });
        let mut client = Client::open(server.address);
        let (mut writer, unread) = (client.stream.try_clone().unwrap(), &unread);
        thread::scope(|scope| {
            scope.spawn(move || {
                writer.write_all(&frame(TEXT, b"go")).unwrap();
                writer.write_all(unread).expect("no reset, although nothing is read");
                writer.write_all(&close_frame(1000, "")).unwrap();
            });
            client.expect_close(1000);
            client.expect_end();
        });
        server.finish();
    });
}

/// The same if the peer ends its stream without a close frame.
#[test]
fn a_half_close_ends_the_wait_for_a_close_frame() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let result = ws.close(CloseCode::NORMAL, "").await;
            report.send((result, ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.write(&frame(BINARY, &vec![0; 1 << 20]));
        client.finish_writing();
        client.expect_close(1000);
        let (result, clean) = reports.next();
        assert!(matches!(result, Err(Error::Lost)) && !clean, "{result:?}");
        client.expect_end();
        server.finish();
    });
}

/// A reset while the close frame is awaited ends the wait before the close timeout.
#[test]
fn a_reset_ends_the_wait_for_a_close_frame() {
    let config = WebSocketConfig::default().close_timeout(Duration::from_secs(3600));
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config.clone(), async move |mut ws: WebSocket| {
            ws.recv().await?;
            let result = ws.close(CloseCode::NORMAL, "").await;
            report.send((result, ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"go");
        // Closing a socket with unread input resets the connection.
        assert_eq!(client.stream.peek(&mut [0]).unwrap(), 1);
        drop(client);
        let (result, clean) = reports.next();
        assert!(matches!(result, Err(Error::Closed(CloseCause::Reset))) && !clean, "{result:?}");
        server.finish();
    });
}

/// Both a peer that neither answers nor disconnects, and one that keeps sending after the closing handshake, are
/// closed.
#[test]
fn a_peer_that_stays_is_closed() {
    // Long enough that a busy machine does not stall a peer or a handler for as long.
    let config = WebSocketConfig::default().close_timeout(Duration::from_secs(3));
    on_every_engine_at_once(|setup| {
        let mut setup = setup.clone();
        setup.config.linger_timeout = Duration::from_millis(50);
        let server = TestServer::serve(&setup, config.clone(), |ws: WebSocket| async move {
            drop(ws);
            Ok(())
        });
        let mut silent = Client::open(server.address);
        silent.expect_close(1000);
        assert!(silent.next().is_none(), "FIN without a close frame");
        let mut busy = Client::open(server.address);
        busy.expect_close(1000);
        busy.write(&close_frame(1000, ""));
        let mut writer = busy.stream.try_clone().unwrap();
        let connections = || server.running.stats().iter().map(|worker| worker.connections).sum::<u64>();
        thread::scope(|scope| {
            // Ends when the socket is shut down below.
            scope.spawn(|| while writer.write_all(&[0; 4096]).is_ok() {});
            wait_until("both to be closed", || connections() == 0);
            // The server can have reset the connection by now.
            let _ = busy.stream.shutdown(Half::Both);
        });
        server.finish();
    });
}

/// Each constant of `CloseCode` has its number, and is sent as it.
#[test]
fn every_code_has_its_constant() {
    let sent = [
        (CloseCode::NORMAL, 1000),
        (CloseCode::GOING_AWAY, 1001),
        (CloseCode::PROTOCOL_ERROR, 1002),
        (CloseCode::UNSUPPORTED_DATA, 1003),
        (CloseCode::INVALID_PAYLOAD, 1007),
        (CloseCode::POLICY_VIOLATION, 1008),
        (CloseCode::MESSAGE_TOO_BIG, 1009),
        (CloseCode::MANDATORY_EXTENSION, 1010),
        (CloseCode::INTERNAL_ERROR, 1011),
        (CloseCode::SERVICE_RESTART, 1012),
        (CloseCode::TRY_AGAIN_LATER, 1013),
        (CloseCode::BAD_GATEWAY, 1014),
        (CloseCode::new(3000), 3000),
        (CloseCode::new(4999), 4999),
    ];
    let local = [(CloseCode::NO_STATUS, 1005), (CloseCode::ABNORMAL, 1006), (CloseCode::TLS_HANDSHAKE, 1015)];
    for (code, value) in local {
        assert_eq!((code.value(), code.class(), code.is_sendable()), (value, CloseCodeClass::Local, false));
    }
    assert_eq!(WebSocketConfig::default().close_timeout, Duration::from_secs(5));
    on_every_engine(|setup| {
        let server = TestServer::serve(setup, WebSocketConfig::default(), move |mut ws: WebSocket| async move {
            while let Some(message) = ws.recv().await? {
                let number: usize = message.as_text().and_then(|text| text.parse().ok()).expect("a number");
                ws.close(sent[number].0, "as asked").await?;
            }
            Ok(())
        });
        for (number, (_, value)) in sent.iter().enumerate() {
            let mut client = Client::open(server.address);
            client.send(TEXT, number.to_string().as_bytes());
            assert_eq!(client.expect_close(*value), "as asked");
            client.write(&close_frame(*value, ""));
            client.expect_end();
        }
        server.finish();
    });
}

/// A breach of the protocol ends the connection for its helpers, although the handler goes on.
#[test]
fn closed_completes_when_the_peer_breaks_a_rule() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let gate = Gate::default();
        let end = gate.clone();
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            let closed = ws.closed();
            let error = ws.recv().await;
            report.send((matches!(error, Err(Error::Protocol(_))), closed.is_closed())).unwrap();
            gate.pass().await;
            Ok(())
        });
        let mut client = Client::open(server.address);
        client.send(TEXT, b"\xff");
        assert_eq!(reports.next(), (true, true));
        client.expect_close(1007);
        end.open();
        client.expect_end();
        server.finish();
    });
}

/// Once a WebSocket is closed the connection ends, although the handler holds it.
#[test]
fn a_closed_websocket_holds_no_peer() {
    type Bye = fn(&mut Client);
    let byes: [(&str, Bye); 4] = [
        ("the peer closes", |client| {
            client.write(&close_frame(4000, "bye"));
            client.expect_close(4000);
        }),
        ("the handler closes", |client| {
            client.send(TEXT, b"close");
            client.expect_close(1000);
            client.write(&close_frame(1000, ""));
        }),
        ("the peer does not answer", |client| {
            client.send(TEXT, b"close");
            client.expect_close(1000);
        }),
        ("the peer breaks a rule", |client| {
            client.send(TEXT, b"\xff");
            client.expect_close(1007);
        }),
    ];
    let config = WebSocketConfig::default().close_timeout(Duration::from_millis(200));
    on_every_engine(|setup| {
        let gate = Gate::default();
        let end = gate.clone();
        let server = TestServer::serve(setup, config.clone(), async move |mut ws: WebSocket| {
            if let Ok(Some(_)) = ws.recv().await {
                let _ = ws.close(CloseCode::NORMAL, "").await;
            }
            gate.pass().await;
            Ok(())
        });
        for (what, say_goodbye) in byes {
            println!("{what}");
            let mut client = Client::open(server.address);
            say_goodbye(&mut client);
            client.expect_end();
        }
        end.open();
        server.finish();
    });
}

/// The end of the peer completes `closed()` while the handler reads nothing, also behind more input than is received.
#[test]
fn closed_completes_at_the_peers_end_whatever_is_unread() {
    for unread in [0, 1, 100_000] {
        on_every_engine(|setup| {
            let (report, reports) = reports();
            let server = TestServer::serve(setup, WebSocketConfig::default(), move |mut ws: WebSocket| {
                let report = report.clone();
                async move {
                    ws.closed().await;
                    report.send("closed").unwrap();
                    Ok(())
                }
            });
            let mut client = Client::open(server.address);
            client.write(&frame(BINARY, &vec![1; unread]));
            client.finish_writing();
            assert_eq!(reports.next(), "closed");
            server.finish();
        });
    }
}
