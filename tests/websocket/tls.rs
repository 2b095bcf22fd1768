//! Keepalive over TLS, on every engine and placement: answers and other signs of life, and peers that give none. The
//! ends are those of sessions: `expect_end` fails without close_notify.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tidegate::engine::{Engine, TlsClient, block_on};
use tidegate::prelude::*;
use tidegate::web::SharedAcrossThreads;
use tidegate::websocket::{Error, KeepaliveConfig, connect};

use crate::deadlines::{on_every_engine_and_style_at_once, on_every_engine_at_once};
use crate::handler::Gate;
use crate::keepalive::{PATIENT, SHORT, STEPS_MAX, UNREAD_PONG_TIMEOUT, config, step, wait_for_a_pause};
use crate::support::certificates::Certificates;
use crate::support::client::{BINARY, Client, PATIENCE, PONG, TEXT, frame, header, pattern};
use crate::support::servers::{Echo, Setup, TestServer, echo};

type Session = StreamOwned<ClientConnection, TcpStream>;

/// Serves `app` with TLS.
fn start(setup: &Setup, certificates: &Certificates, app: Router) -> TestServer {
    let builder = Server::builder(app).bind_tls("127.0.0.1:0", certificates.server()).expect("loopback resolves");
    TestServer::run(setup, builder)
}

/// Serves `handler` as the WebSocket at `/ws`.
fn serve<F>(setup: &Setup, certificates: &Certificates, config: WebSocketConfig, handler: F) -> TestServer
where
    F: AsyncFn(WebSocket) -> websocket::Result + SharedAcrossThreads,
{
    start(setup, certificates, Router::new().get("/ws", websocket::upgrade(handler).config(config)))
}

/// Serves an echo at `/ws`.
fn serve_echo(setup: &Setup, certificates: &Certificates, config: WebSocketConfig) -> TestServer {
    if !setup.events {
        return serve(setup, certificates, config, echo);
    }
    start(setup, certificates, Router::new().get("/ws", websocket::upgrade_events(Echo).config(config)))
}

/// Opens a connection and makes both handshakes.
fn open(address: SocketAddr, trust: &Arc<ClientConfig>) -> Client<Session> {
    let name = "localhost".try_into().expect("a name");
    let session = ClientConnection::new(Arc::clone(trust), name).expect("a session");
    Client::of(StreamOwned::new(session, Client::connect(address).stream)).upgraded()
}

#[test]
fn answered_pings_keep_a_connection_open() {
    let certificates = Certificates::new();
    let trust = certificates.client();
    on_every_engine_and_style_at_once(|setup| {
        let server = serve_echo(setup, &certificates, config(SHORT, PATIENT));
        let mut client = open(server.address, &trust);
        let mut last = Vec::new();
        for _ in 0..3 {
            let ping = client.next_ping();
            assert_ne!(ping, last, "each ping has its own payload");
            client.send(PONG, &ping);
            client.send(TEXT, b"between the pings");
            assert_eq!(client.next_between_pings().payload, b"between the pings");
            last = ping;
        }
        client.close_between_pings();
        server.finish();
    });
}

/// A peer that acknowledges and answers nothing is lost. The close frame and close_notify still reach it.
#[test]
fn a_silent_peer_is_given_up_in_order() {
    let certificates = Certificates::new();
    let trust = certificates.client();
    on_every_engine_and_style_at_once(|setup| {
        let server = serve_echo(setup, &certificates, config(SHORT, 4 * SHORT));
        open(server.address, &trust).expect_no_pong();
        server.finish();
    });
}

/// A frame that arrives in many records, and a record that arrives in many pieces: nothing of the second can be
/// decrypted until it is complete, and its bytes show all the same that the peer lives.
#[test]
fn a_slow_upload_is_life() {
    const BYTES: usize = 150;
    /// Bytes after which a client waits for the next ping, which is not sent while a sign of life is awaited.
    const STEP_BYTES: usize = 15;
    let certificates = Certificates::new();
    let trust = certificates.client();
    on_every_engine_and_style_at_once(|setup| {
        let server = serve_echo(setup, &certificates, config(SHORT, PATIENT));
        let [mut records, mut pieces] = [(); 2].map(|()| open(server.address, &trust));
        records.next_ping();
        pieces.next_ping();
        let record = record_of(&mut pieces, &frame(BINARY, &[7; BYTES]));
        assert!(record.len() > BYTES);
        records.write(&header(BINARY, BYTES as u64 + 1));
        for piece in record[..BYTES].chunks(STEP_BYTES) {
            records.write(&[0; STEP_BYTES]);
            records.next_ping();
            pieces.stream.sock.write_all(piece).unwrap();
            pieces.next_ping();
        }
        records.write(&[0]);
        pieces.stream.sock.write_all(&record[BYTES..]).unwrap();
        for (mut client, bytes) in [(records, BYTES + 1), (pieces, BYTES)] {
            assert_eq!(client.next_between_pings().payload.len(), bytes);
            client.close_between_pings();
        }
        server.finish();
    });
}

/// Encrypts `bytes` without sending them.
fn record_of(client: &mut Client<Session>, bytes: &[u8]) -> Vec<u8> {
    let session = &mut client.stream.conn;
    session.writer().write_all(bytes).unwrap();
    let mut record = Vec::new();
    session.write_tls(&mut record).unwrap();
    assert!(!session.wants_write());
    record
}

/// Receiving is paused in the middle of the upload, because the handler reads nothing, so no pong can arrive. Another
/// server gives up silent peers meanwhile, which shows that more than the time for an answer has passed.
#[test]
fn a_large_upload_that_nobody_reads_is_life() {
    let certificates = Certificates::new();
    let trust = certificates.client();
    let payload = pattern(1 << 20);
    let message = frame(BINARY, &payload);
    on_every_engine_at_once(|setup| {
        let [paused, gate] = [(); 2].map(|()| Gate::default());
        let (pauses, passed) = (paused.clone(), gate.clone());
        let server = serve(setup, &certificates, WebSocketConfig::default(), async move |mut ws: WebSocket| {
            pauses.pass().await;
            ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT).pong_timeout(UNREAD_PONG_TIMEOUT)));
            passed.pass().await;
            echo(ws).await
        });
        let clock = serve_echo(setup, &certificates, config(SHORT, UNREAD_PONG_TIMEOUT));
        let address = server.address;
        std::thread::scope(|scope| {
            let upload = scope.spawn(|| {
                let mut client = open(address, &trust);
                client.write(&message);
                client
            });
            wait_for_a_pause(&server);
            paused.open();
            for _ in 0..2 {
                open(clock.address, &trust).expect_no_pong();
            }
            gate.open();
            let mut client = upload.join().expect("the upload is complete");
            assert!(client.next_between_pings().payload == payload);
            client.close_between_pings();
        });
        clock.finish();
        server.finish();
    });
}

/// The ping lies behind the download, in records that the peer has not taken yet.
#[test]
fn a_slow_download_is_life() {
    const BYTES: usize = 300_000;
    let certificates = Certificates::new();
    let trust = certificates.client();
    on_every_engine_at_once(|setup| {
        let mut setup = setup.clone();
        setup.config.socket_send_buffer_bytes = Some(1 << 20);
        let server = serve(&setup, &certificates, WebSocketConfig::default(), async |mut ws: WebSocket| {
            ws.recv().await?;
            ws.send(pattern(BYTES)).await?;
            // Now, because pings do not wait for a reader.
            ws.set_keepalive(Some(KeepaliveConfig::default().interval(SHORT).pong_timeout(STEPS_MAX)));
            echo(ws).await
        });
        let mut client = open(server.address, &trust);
        socket2::SockRef::from(&client.stream.sock).set_recv_buffer_size(8 * 1024).unwrap();
        client.send(TEXT, b"go");
        let mut received = Vec::new();
        // A step takes a piece of a record.
        while received.len() < BYTES + 10 {
            let Session { conn, sock } = &mut client.stream;
            assert!(conn.read_tls(&mut Read::by_ref(sock).take(2048)).unwrap() > 0, "the connection lives");
            let plain_bytes = conn.process_new_packets().unwrap().plaintext_bytes_to_read();
            let start = received.len();
            received.resize(start + plain_bytes, 0);
            conn.reader().read_exact(&mut received[start..]).unwrap();
            step();
        }
        // A ping can be behind it.
        assert!(received[10..BYTES + 10] == pattern(BYTES));
        client.send(TEXT, b"alive");
        assert_eq!(client.next_between_pings().payload, b"alive");
        client.close_between_pings();
        server.finish();
    });
}

/// The same for our client: a server that answers measures the round trip, one whose handler reads nothing is lost.
#[test]
fn a_client_gives_up_a_silent_server() {
    let certificates = Certificates::new();
    let tls = TlsClient::ca_file(certificates.path("ca.pem")).unwrap();
    on_every_engine_at_once(|setup| {
        let gate = Gate::default();
        let passed = gate.clone();
        let silent = websocket::upgrade(async move |ws: WebSocket| {
            passed.pass().await;
            echo(ws).await
        });
        let app = Router::new().get("/ws", websocket::upgrade(echo)).get("/silent", silent);
        let server = start(setup, &certificates, app);
        let running = Engine::client(setup.config.clone()).unwrap();
        let to = |path: &str, pong_timeout: Duration| {
            let url = format!("wss://localhost:{}{path}", server.address.port());
            let keepalive = KeepaliveConfig::default().interval(SHORT).pong_timeout(pong_timeout);
            connect(url).tls(&tls).keepalive(keepalive)
        };
        let (answering, silent) = (to("/ws", PATIENT), to("/silent", 4 * SHORT));
        let outcome = block_on(running.spawn(move || async move {
            let (mut ws, _) = answering.await.unwrap();
            let start = Instant::now();
            while ws.rtt().is_none() {
                assert!(start.elapsed() < PATIENCE, "no pong");
                ws.send("tide").await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some("tide".into()));
            }
            ws.close(CloseCode::NORMAL, "").await.unwrap();
            let (mut ws, _) = silent.await.unwrap();
            ws.recv().await
        }));
        let outcome = outcome.expect("the client panicked");
        assert!(matches!(outcome, Err(Error::NoPong)), "on {}: {outcome:?}", setup.name);
        gate.open();
        assert_eq!(running.shutdown(Shutdown::default()).forced, 0);
        server.finish();
    });
}
