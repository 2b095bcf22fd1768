//! The server's regular pings, and peers that do not answer them.

use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

use tidegate::prelude::*;
use tidegate::websocket::{Error, KeepaliveConfig};

use crate::deadlines::{on_every_engine_and_style_at_once, on_every_engine_at_once};
use crate::handler::{Gate, reports, wait_until};
use crate::support::client::{BINARY, CLOSE, Client, PING, PONG, TEXT, close_frame, frame, header, pattern};
use crate::support::servers::{TestServer, echo, on_every_engine};

pub const SHORT: Duration = Duration::from_millis(50);

/// Longer than a busy machine can delay a client's answer.
pub const PATIENT: Duration = Duration::from_secs(20);

pub fn config(interval: Duration, pong_timeout: Duration) -> WebSocketConfig {
    WebSocketConfig::default().keepalive(KeepaliveConfig::default().interval(interval).pong_timeout(pong_timeout))
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
            let ping = client.next_ping();
            assert_ne!(ping, last, "each ping has its own payload");
            client.send(PONG, &ping);
            last = ping;
            client.send(TEXT, b"between the pings");
            let rtt = reports.next().expect("the pong came before the message");
            assert!(rtt > Duration::ZERO && rtt < PATIENT, "{rtt:?}");
            assert_eq!(client.next_between_pings().payload, b"between the pings");
        }
        // The last ping can be on its way, and the closing handshake does not wait for its pong.
        client.close_between_pings();
        server.finish();
    });
}

/// A silent peer is lost, and so is one that answers something else and is silent then. One that sends all the time
/// lives, although it never answers.
#[test]
fn a_missing_pong_closes() {
    on_every_engine_at_once(|setup| {
        let (report, reports) = reports();
        let server = TestServer::serve(setup, config(SHORT, 4 * SHORT), async move |mut ws: WebSocket| {
            let result = async {
                let mut is_busy = false;
                while let Some(message) = ws.recv().await? {
                    if !std::mem::replace(&mut is_busy, true) {
                        ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT).pong_timeout(PATIENT)));
                    }
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
        let mut ping = mistaken.next_ping();
        ping[0] ^= 1;
        mistaken.send(PONG, &ping);
        busy.send(TEXT, b"echo");
        let lost = std::thread::spawn(move || {
            silent.expect_no_pong();
            mistaken.expect_no_pong();
        });
        // None is sent while a sign of life after the one before is awaited.
        let mut pings = 0;
        while !lost.is_finished() || pings < 10 {
            let frame = busy.next().expect("the peer that sends is not lost");
            match frame.first {
                TEXT => busy.send(TEXT, b"echo"),
                PING => pings += 1,
                _ => panic!("the peer that sends is not lost: {frame:?}"),
            }
        }
        lost.join().expect("both are lost");
        busy.write(&close_frame(1000, ""));
        while matches!(busy.next().expect("a close frame").first, TEXT | PING) {}
        busy.expect_end();
        let mut lost = 0;
        for _ in 0..3 {
            let (result, over, clean) = reports.next();
            assert!(over);
            match result {
                Err(Error::NoPong) => lost += 1,
                result => assert!(result.is_ok() && clean, "on {}: {result:?}", setup.name),
            }
        }
        assert_eq!(lost, 2);
        server.finish();
    });
}

/// Pings go on while the handler reads nothing: a peer that answers lives, one that does not is ended, whatever it sent
/// before.
#[test]
fn the_keepalive_holds_while_the_handler_reads_nothing() {
    const PINGS: usize = 30;
    on_every_engine_at_once(|setup| {
        let (report, reports) = reports();
        let gate = Gate::default();
        let passed = gate.clone();
        let config = config(SHORT, PATIENT).close_timeout(SHORT);
        let server = TestServer::serve(setup, config, async move |mut ws: WebSocket| {
            if ws.recv().await?.is_some_and(|message| message.as_text() == Some("dead")) {
                ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT).pong_timeout(4 * SHORT)));
                ws.closed().await;
                let sent = ws.send("nobody is there").await;
                let (first, second) = (ws.recv().await, ws.recv().await);
                report.send((sent.is_err(), matches!(first, Err(Error::NoPong)), matches!(second, Ok(None)))).unwrap();
                return Ok(());
            }
            passed.pass().await;
            // The pongs that nobody has read are not the application's.
            ws.on_pong(|_, _| Err(Error::application("a pong of the keepalive")));
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        });
        let mut dead = Client::open(server.address);
        dead.send(TEXT, b"dead");
        let mut living = Client::open(server.address);
        living.send(TEXT, b"living");
        // None is sent while the answer to the one before is awaited.
        for _ in 0..PINGS {
            let ping = living.next_ping();
            living.send(PONG, &ping);
        }
        expect_no_pong_or_reset(dead);
        assert_eq!(reports.next(), (true, true, true));
        gate.open();
        living.send(TEXT, b"still here");
        assert_eq!(living.next_between_pings().payload, b"still here");
        living.close_between_pings();
        server.finish();
    });
}

/// While receiving is paused because the handler reads nothing, no pong can arrive: a peer whose kernel acknowledges
/// the pings lives. The keepalive begins with the pause, because on a busy machine the peer is silent for long before.
#[test]
fn a_peer_that_is_not_read_lives() {
    let payload = pattern(1 << 20);
    let message = frame(BINARY, &payload);
    on_every_engine_at_once(|setup| {
        let [paused, gate] = [(); 2].map(|()| Gate::default());
        let (pauses, passed) = (paused.clone(), gate.clone());
        let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            pauses.pass().await;
            ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT).pong_timeout(UNREAD_PONG_TIMEOUT)));
            passed.pass().await;
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        let mut writer = client.stream.try_clone().unwrap();
        let message = message.clone();
        let upload = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &message).unwrap());
        wait_for_a_pause(&server);
        paused.open();
        // Each one comes after the time in which the one before had to be answered.
        for _ in 0..3 {
            client.next_ping();
        }
        gate.open();
        assert!(client.next_between_pings().payload == payload);
        upload.join().unwrap();
        client.close_between_pings();
        server.finish();
    });
}

/// The time for a pong of a peer that is not read.
pub const UNREAD_PONG_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until a connection is paused, because its handler reads nothing.
pub fn wait_for_a_pause(server: &TestServer) {
    wait_until("a pause", || server.running.stats().iter().any(|worker| worker.paused > 0));
}

/// Reads to the close frame of a lost peer. Nothing is answered, so the connection is reset after it.
fn expect_no_pong_or_reset(mut client: Client) {
    let mut all = Vec::new();
    let end = client.stream.read_to_end(&mut all);
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(all.ends_with(&[&[CLOSE, 9], &1001_u16.to_be_bytes()[..], b"no pong"].concat()), "{all:?}");
}

/// A pong that arrives while the handler is busy counts as in time, and is found later.
#[test]
fn a_busy_handler_loses_no_peer() {
    on_every_engine_at_once(|setup| {
        let gate = Gate::default();
        let passed = gate.clone();
        let server = TestServer::serve(setup, config(SHORT, PATIENT), async move |mut ws: WebSocket| {
            let message = ws.recv().await?;
            assert_eq!(message, Some(Message::from("a pong follows")));
            passed.pass().await;
            // Only the pong of the last ping has a round trip, and a slow client can be one behind.
            while ws.rtt().is_none() {
                assert_eq!(ws.recv().await?, Some(Message::from("behind a pong")));
            }
            // Then the keepalive ends, and nothing answers it.
            ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT).pong_timeout(SHORT)));
            ws.set_keepalive(None);
            ws.send("found").await?;
            ws.connection().timer().sleep(6 * SHORT).await;
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        let ping = client.next_ping();
        client.write(&[frame(TEXT, b"a pong follows"), frame(PONG, &ping)].concat());
        // None is sent while the answer to the one before is awaited.
        for _ in 0..3 {
            let ping = client.next_ping();
            client.write(&[frame(PONG, &ping), frame(TEXT, b"behind a pong")].concat());
        }
        gate.open();
        loop {
            let received = client.next().expect("a ping or the message");
            if received.first != PING {
                assert_eq!(received.payload, b"found");
                break;
            }
            client.write(&[frame(PONG, &received.payload), frame(TEXT, b"behind a pong")].concat());
        }
        client.send(TEXT, b"still here");
        while client.next().expect("the echo").payload != b"still here" {}
        client.close();
        server.finish();
    });
}

/// The time between two steps of a slow peer, and the time in which it would have to answer a ping. The second is long
/// enough that a busy machine does not keep a client from its next step for as long.
const STEP: Duration = Duration::from_millis(40);
pub const STEPS_MAX: Duration = Duration::from_secs(4);

/// Waits for the next step of a slow peer.
pub fn step() {
    let (_sender, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(STEP);
}

/// A pong cannot stand inside a frame: received bytes are as good. No ping is sent while a sign of life is awaited.
#[test]
fn an_upload_of_one_frame_is_life() {
    on_every_engine_and_style_at_once(|setup| {
        let server = TestServer::echo_with(setup, config(SHORT, PATIENT));
        let mut client = Client::open(server.address);
        client.next_ping();
        const STEPS: usize = 10;
        client.write(&header(BINARY, STEPS as u64 + 1));
        for _ in 0..STEPS {
            client.write(&[0]);
            client.next_ping();
        }
        client.write(&[0]);
        assert_eq!(client.next_between_pings().payload.len(), STEPS + 1);
        client.close_between_pings();
        server.finish();
    });
}

/// The ping lies in the kernel's send buffer behind what the peer downloads: acknowledged bytes are life.
#[test]
fn a_download_with_the_ping_behind_it_is_life() {
    const BYTES: usize = 300_000;
    on_every_engine_at_once(|setup| {
        let mut setup = setup.clone();
        setup.config.socket_send_buffer_bytes = Some(1 << 20);
        let server = TestServer::serve(&setup, WebSocketConfig::default(), |mut ws: WebSocket| async move {
            ws.recv().await?;
            ws.send(pattern(BYTES)).await?;
            // Now, because pings do not wait for a reader.
            ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT).pong_timeout(STEPS_MAX)));
            echo(ws).await
        });
        let mut client = Client::open(server.address);
        socket2::SockRef::from(&client.stream).set_recv_buffer_size(8 * 1024).unwrap();
        client.send(TEXT, b"go");
        let mut received = Vec::new();
        while received.len() < BYTES + 10 {
            let mut piece = vec![0; (BYTES + 10 - received.len()).min(2048)];
            client.stream.read_exact(&mut piece).unwrap();
            received.extend(piece);
            step();
        }
        assert!(received[10..] == pattern(BYTES));
        let ping = client.next_ping();
        client.send(PONG, &ping);
        client.send(TEXT, b"alive");
        assert_eq!(client.next_between_pings().payload, b"alive");
        client.close_between_pings();
        server.finish();
    });
}
