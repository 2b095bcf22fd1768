//! The server's regular pings, and peers that do not answer them.

use std::time::Duration;

use tidegate::prelude::*;
use tidegate::websocket::{Error, KeepaliveConfig};

use crate::deadlines::on_every_engine_at_once;
use crate::handler::reports;
use crate::support::client::{Client, PING, PONG, TEXT, close_frame, frame};
use crate::support::servers::{TestServer, echo, on_every_engine};

const SHORT: Duration = Duration::from_millis(50);

/// Longer than a busy machine can delay a client's answer.
const PATIENT: Duration = Duration::from_secs(20);

fn config(interval: Duration, pong_timeout: Duration) -> WebSocketConfig {
    WebSocketConfig::default().keepalive(KeepaliveConfig::default().interval(interval).pong_timeout(pong_timeout))
}

/// Returns the payload of the next ping, and skips echoes before it.
fn next_ping(client: &mut Client) -> Vec<u8> {
    loop {
        let frame = client.next().expect("a ping before the end of the stream");
        if frame.first == PING {
            return frame.payload;
        }
        assert_eq!(frame.first, TEXT, "{frame:?}");
    }
}

/// Reads to the close frame, and skips everything before it.
fn expect_no_pong(mut client: Client) {
    loop {
        let frame = client.next().expect("a close frame before the end of the stream");
        match frame.first {
            PING | TEXT => {}
            _ => {
                assert_eq!(frame.payload, [&1001_u16.to_be_bytes()[..], b"no pong"].concat(), "{frame:?}");
                break;
            }
        }
    }
    client.expect_end();
}

#[test]
fn answered_pings_keep_a_connection_open_and_measure_its_round_trip() {
    on_every_engine(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config(SHORT, PATIENT), async move |mut ws: WebSocket| {
            report.send(ws.rtt()).unwrap();
            // Pongs of the keepalive are not passed to the application.
            ws.on_pong(|_, payload| Err(Error::application(payload.escape_ascii().to_string())));
            while let Some(message) = ws.recv().await? {
                report.send(ws.rtt()).unwrap();
                ws.send(message).await?;
            }
            Ok(())
        });
        let mut client = Client::open(server.address);
        assert_eq!(reports.next(), None);
        let mut last = Vec::new();
        for _ in 0..3 {
            let ping = next_ping(&mut client);
            assert_ne!(ping, last, "each ping has its own payload");
            client.send(PONG, &ping);
            last = ping;
            client.send(TEXT, b"between the pings");
            let rtt = reports.next().expect("the pong came before the message");
            assert!(rtt > Duration::ZERO && rtt < PATIENT, "{rtt:?}");
            client.expect(TEXT, b"between the pings");
        }
        // The last ping can be on its way, and the closing handshake does not wait for its pong.
        client.write(&close_frame(1000, ""));
        while client.next().expect("a close frame").first == PING {}
        client.expect_end();
        server.finish();
    });
}

/// A peer that sends but never answers is lost, too, and so is one that answers with another payload.
#[test]
fn a_missing_pong_closes() {
    on_every_engine_at_once(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config(SHORT, 4 * SHORT), async move |mut ws: WebSocket| {
            let result = async {
                while let Some(message) = ws.recv().await? {
                    ws.send(message).await?;
                }
                Ok(())
            };
            let result: Result<(), Error> = result.await;
            let over = ws.recv().await;
            report.send((result, matches!(over, Ok(None)), ws.is_closed_cleanly())).unwrap();
            Ok(())
        });
        let silent = Client::open(server.address);
        let mut mistaken = Client::open(server.address);
        let mut busy = Client::open(server.address);
        mistaken.send(PONG, b"nobody asked");
        let mut ping = next_ping(&mut mistaken);
        ping[0] ^= 1;
        mistaken.send(PONG, &ping);
        busy.send(TEXT, b"echo");
        // Sends as long as it can and reads everything, but never answers a ping.
        loop {
            let frame = busy.next().expect("a close frame before the end of the stream");
            match frame.first {
                TEXT => busy.send(TEXT, b"echo"),
                PING => {}
                _ => {
                    assert_eq!(frame.payload[2..], *b"no pong", "{frame:?}");
                    break;
                }
            }
        }
        busy.expect_end();
        expect_no_pong(silent);
        expect_no_pong(mistaken);
        for _ in 0..3 {
            let (result, over, clean) = reports.next();
            assert!(matches!(result, Err(Error::NoPong)), "on {}: {result:?}", setup.name);
            assert!(over && !clean);
        }
        server.finish();
    });
}

/// A pong that arrives while the handler is busy counts as in time.
#[test]
fn a_busy_handler_loses_no_peer() {
    /// Longer than a busy machine can delay a client's answer.
    const PONG_TIMEOUT: Duration = Duration::from_secs(1);
    on_every_engine_at_once(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config(SHORT, PONG_TIMEOUT), async move |mut ws: WebSocket| {
            let message = ws.recv().await?;
            assert_eq!(message, Some(Message::from("a pong follows")));
            ws.connection().timer().sleep(2 * PONG_TIMEOUT).await;
            // The pong is behind this message. Then the keepalive ends, and nothing answers it.
            assert_eq!(ws.recv().await?, Some(Message::from("behind the pong")));
            report.send(ws.rtt()).unwrap();
            ws.set_keepalive(None);
            ws.connection().timer().sleep(2 * PONG_TIMEOUT).await;
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        let ping = next_ping(&mut client);
        let answer = [frame(TEXT, b"a pong follows"), frame(PONG, &ping), frame(TEXT, b"behind the pong")];
        client.write(&answer.concat());
        assert!(reports.next().is_some());
        client.check_echo(TEXT, b"still here");
        client.close();
        server.finish();
    });
}
