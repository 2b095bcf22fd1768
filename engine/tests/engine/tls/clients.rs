//! Outbound connections with TLS, to servers of this crate and of rustls.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tidegate_engine::{
    Config, ConnectError, Connection, Engine, HandlerPlacement, Running, Tls, TlsClient, TlsVersion, block_on,
};

use super::peer::*;
use crate::support::*;

/// Runs `test` with an engine for clients, on every engine and placement.
fn with_clients(test: impl Fn(&Running)) {
    on_every_engine(|setup| {
        let running = Engine::client(setup.config).unwrap();
        test(&running);
        finish(running);
    });
}

fn open(running: &Running, address: SocketAddr, tls: &TlsClient) -> Result<Connection, ConnectError> {
    block_on(running.connect(address).tls(tls).tls_server_name("localhost").into_future())
}

/// Sends and checks that the same comes back.
async fn check_echo_of(connection: &mut Connection, bytes: &[u8]) {
    let sender = connection.sender().clone();
    for piece in bytes.chunks(10_000) {
        sender.send(piece.to_vec()).await.unwrap();
        assert!(receive_exact(connection, piece.len()).await == piece, "the echo differs");
    }
}

/// Checks that an attempt timed out against `server`, which keeps its end open, and that nothing of it is left.
fn check_timed_out(running: &Running, error: &ConnectError, server: &TcpListener) {
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    drop(server.accept().unwrap());
    wait_until("the end", || total(running).connections == 0);
    assert_eq!(total(running).handshakes, 0);
}

/// Reads to the end in order.
async fn check_end(mut connection: Connection) {
    connection.sender().shutdown_write();
    assert!(connection.receive().await.unwrap().is_none());
}

#[test]
fn a_client_reaches_a_server() {
    let authority = Authority::new();
    let (server, address) = start_tls(Config::default(), authority.server(), echo);
    let tls = TlsClient::ca_pem(&authority.pem).unwrap();
    with_clients(|running| {
        let mut connection = open(running, address, &tls).unwrap();
        let info = connection.tls().unwrap();
        assert_eq!((info.version(), info.peer_names()), (TlsVersion::V1_3, vec!["localhost".to_owned()]));
        assert_eq!(info.alpn(), Some(&b"http/1.1"[..]));
        block_on(check_echo_of(&mut connection, &pattern(100_000)));
        block_on(check_end(connection));
        assert!(open(running, address, &tls).unwrap().tls().unwrap().is_resumed());
    });
    finish(server);
}

/// A server of rustls that serves one client after the other until it is dropped.
fn foreign_server(pem: &Pem, serve: fn(StreamOwned<ServerConnection, std::net::TcpStream>)) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(pem.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(session, socket.unwrap()));
        }
    });
    address
}

/// A server that speaks in the clear before it shakes hands, as a proxy does: eight bytes either way.
fn server_behind_a_conversation(authority: &Authority) -> SocketAddr {
    foreign_server(&authority.issue(&["localhost"]), |mut stream| {
        let mut request = [0; 8];
        if stream.sock.read_exact(&mut request).is_ok() && stream.sock.write_all(b"go ahead").is_ok() {
            let mut piece = [0; 5000];
            while let Ok(len @ 1..) = stream.read(&mut piece) {
                stream.write_all(&piece[..len]).unwrap();
            }
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    })
}

/// Connects and sends the request in the clear.
fn ask(running: &Running, address: SocketAddr) -> Connection {
    let connection = block_on(running.connect(address).into_future()).unwrap();
    block_on(connection.sender().send(&b"connect!"[..])).unwrap();
    connection
}

/// Receives this many bytes.
async fn receive_exact(connection: &mut Connection, len: usize) -> Vec<u8> {
    let mut received = Vec::new();
    while received.len() < len {
        received.extend_from_slice(&connection.receive().await.unwrap().expect("more"));
    }
    received
}

#[test]
fn tls_begins_once_everything_received_has_been_read() {
    let authority = Authority::new();
    let address = server_behind_a_conversation(&authority);
    let tls = TlsClient::ca_pem(&authority.pem).unwrap();
    with_clients(|running| {
        let mut connection = ask(running, address);
        let mut connection = block_on(async {
            assert_eq!(receive_exact(&mut connection, 8).await, b"go ahead");
            assert!(connection.tls().is_none());
            connection.start_tls(&tls, "localhost", PATIENCE).await.unwrap()
        });
        assert_eq!(connection.tls().unwrap().peer_names(), ["localhost"]);
        block_on(check_echo_of(&mut connection, &pattern(30_000)));
        block_on(check_end(connection));
        wait_until("the end", || total(running).connections == 0);
        assert_eq!((total(running).handshakes_total, total(running).handshake_failures_total), (1, 0));
    });
}

#[test]
fn tls_does_not_begin_before_everything_received_has_been_read() {
    let authority = Authority::new();
    let address = server_behind_a_conversation(&authority);
    let tls = TlsClient::ca_pem(&authority.pem).unwrap();
    with_clients(|running| {
        for begins_to_read in [false, true] {
            let mut connection = ask(running, address);
            wait_until("the answer", || connection.inbound_bytes() == 8);
            if begins_to_read {
                assert!(block_on(poll_fn(|cx| connection.poll_fill(cx))).unwrap());
                connection.consume(3);
            }
            let error = block_on(connection.start_tls(&tls, "localhost", PATIENCE)).unwrap_err();
            assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
            wait_until("the end", || total(running).connections == 0);
        }
        assert_eq!(total(running).handshakes_total, 0);
    });
}

#[test]
fn tls_that_begins_late_fails_as_any_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = server_behind_a_conversation(&authority);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap();
    let trusts_other = TlsClient::ca_pem(&other.pem).unwrap();
    with_clients(|running| {
        let mut connection = ask(running, address);
        block_on(receive_exact(&mut connection, 8));
        let error = block_on(connection.start_tls(&trusts_other, "localhost", PATIENCE)).unwrap_err();
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");

        let connection = ask(running, silent_address);
        let short = Duration::from_millis(50);
        let error = block_on(connection.start_tls(&trusts_other, "localhost", short)).unwrap_err();
        check_timed_out(running, &error, &silent);
    });
}

/// A connection has one session.
#[test]
fn tls_begins_once() {
    let authority = Authority::new();
    let (server, address) = start_tls(Config::default(), authority.server(), echo);
    let tls = TlsClient::ca_pem(&authority.pem).unwrap();
    with_clients(|running| {
        let connection = open(running, address, &tls).unwrap();
        let error = block_on(connection.start_tls(&tls, "localhost", PATIENCE)).unwrap_err();
        assert!(error.to_string().contains("speaks TLS already"), "{error}");
    });
    finish(server);
}

#[test]
fn a_client_reaches_a_foreign_server() {
    let authority = Authority::new();
    let address = foreign_server(&authority.issue(&["localhost"]), |mut stream| {
        stream.sock.set_nodelay(true).unwrap();
        let mut piece = [0; 5000];
        // The server speaks first, right behind its handshake.
        stream.write_all(b"welcome").unwrap();
        stream.flush().unwrap();
        while let Ok(len @ 1..) = stream.read(&mut piece) {
            // Each answer has new keys.
            stream.conn.refresh_traffic_keys().unwrap();
            stream.write_all(&piece[..len]).unwrap();
            stream.flush().unwrap();
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let tls = TlsClient::ca_pem(&authority.pem).unwrap();
    with_clients(|running| {
        let mut connection = open(running, address, &tls).unwrap();
        block_on(async {
            assert_eq!(&connection.receive().await.unwrap().unwrap()[..], b"welcome");
            check_echo_of(&mut connection, &pattern(30_000)).await;
            check_end(connection).await;
        });
    });
}

#[test]
fn impostors_are_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (server, address) = start_tls(Config::default(), authority.server(), echo);
    let trusts_other = TlsClient::ca_pem(&other.pem).unwrap();
    let trusts = TlsClient::ca_pem(&authority.pem).unwrap();
    with_clients(|running| {
        let error = open(running, address, &trusts_other).unwrap_err();
        assert!(matches!(&error, ConnectError::Tls { .. }), "{error}");
        assert!(error.to_string().contains("invalid peer certificate"), "{error}");
        // The host of the target is not in the certificate.
        let error = block_on(running.connect(address).tls(&trusts).into_future()).unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
        let anyone = TlsClient::dangerous_trust_anyone().unwrap();
        let mut connection = open(running, address, &anyone).unwrap();
        block_on(check_echo_of(&mut connection, b"whoever you are"));
        block_on(check_end(connection));
        let both = trusts_other.clone().and_ca_pem(&authority.pem).unwrap();
        block_on(check_end(open(running, address, &both).unwrap()));
    });
    finish(server);
}

#[test]
fn clients_show_their_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let own = clients.issue(&["bob.example"]);
    let tls = authority.server().client_ca_pem(&clients.pem).unwrap();
    let (server, address) = start_tls(Config::default(), tls, |mut connection: Connection| async move {
        let names = connection.tls().map(|tls| tls.peer_names()).unwrap_or_default();
        let _ = connection.sender().send(names.join(",")).await;
        connection.sender().shutdown_write();
        while let Ok(Some(_)) = connection.receive().await {}
    });
    let without = TlsClient::ca_pem(&authority.pem).unwrap();
    let with = without.clone().certificate_pem(&own.certificate, &own.key).unwrap();
    with_clients(|running| {
        let mut connection = open(running, address, &with).unwrap();
        let text = block_on(connection.receive()).unwrap().unwrap();
        assert_eq!(&text[..], b"bob.example");
        block_on(check_end(connection));
        // With TLS 1.3 a client learns of its refusal after its own handshake.
        let refused = match open(running, address, &without) {
            Ok(mut connection) => block_on(connection.receive()).is_err(),
            Err(error) => matches!(error, ConnectError::Tls { .. }),
        };
        assert!(refused);
    });
    server.shutdown(Default::default());
}

#[test]
fn a_server_that_does_not_speak_tls_is_named() {
    let (server, address) = start(Config::default(), |connection: Connection| async move {
        let _ = connection.sender().send(&b"220 welcome to plain text\r\n"[..]).await;
    });
    let authority = Authority::new();
    let tls = TlsClient::ca_pem(&authority.pem).unwrap();
    with_clients(|running| {
        let error = open(running, address, &tls).unwrap_err();
        assert!(matches!(error, ConnectError::Tls { .. }), "{error}");
    });
    finish(server);
}

#[test]
fn the_timeout_includes_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tls = TlsClient::dangerous_trust_anyone().unwrap();
    with_clients(|running| {
        let connect = running.connect(address).tls(&tls).timeout(Duration::from_millis(50));
        check_timed_out(running, &block_on(connect.into_future()).unwrap_err(), &listener);
    });
}

/// A handler connects on its own thread, and all stays there.
#[test]
fn handlers_connect_with_tls() {
    let authority = Authority::new();
    let (server, address) = start_tls(Config::default(), authority.server(), echo);
    on_every_engine(|setup| {
        let inline = setup.config.placement == HandlerPlacement::Inline;
        let tls = TlsClient::ca_pem(&authority.pem).unwrap();
        let front: Tls = authority.server();
        let (running, front_address) = start_tls(setup.config, front, move |mut client: Connection| {
            let tls = tls.clone();
            async move {
                let connect = tidegate_engine::connect(address).tls(&tls).tls_server_name("localhost");
                let mut back = connect.await.unwrap();
                while let Ok(Some(chunk)) = client.receive().await {
                    back.sender().send(chunk.into_vec()).await.unwrap();
                    let answer = back.receive().await.unwrap().unwrap();
                    client.sender().send(answer.into_vec()).await.unwrap();
                }
                check_end(back).await;
            }
        });
        let mut client = client(front_address, &Arc::new(authority.client(VERSIONS[0])));
        for _ in 0..if inline { 50 } else { 10 } {
            check_tls_echo(&mut client, b"through two servers");
        }
        close(&mut client).unwrap();
        finish(running);
    });
    finish(server);
}
