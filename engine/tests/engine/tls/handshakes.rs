//! Handshakes: versions, resumption, timeouts, and how many there are at once.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};
use tidegate_engine::{Connection, Shutdown, Tls, TlsVersion};

use super::peer::*;
use crate::support::*;

/// Answers with what the handshake agreed on.
async fn describe(connection: Connection) {
    let tls = connection.tls().expect("a connection with TLS");
    let alpn = tls.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned());
    let text = format!("{} {:?} {:?} {}", tls.version(), tls.server_name(), alpn, tls.is_resumed());
    let _ = connection.sender().send(text).await;
}

fn described(client: &mut Client) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    text
}

#[test]
fn the_handler_reads_what_was_agreed_on() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), describe);
        for (version, name) in VERSIONS.into_iter().zip([TlsVersion::V1_3, TlsVersion::V1_2]) {
            let text = described(&mut client(address, &Arc::new(authority.client(version))));
            assert_eq!(text, format!("{name} Some(\"localhost\") None false"));
            let mut config = authority.client(version);
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let text = described(&mut client(address, &Arc::new(config)));
            assert_eq!(text, format!("{name} Some(\"localhost\") Some(\"http/1.1\") false"));
        }
        finish(running);
    });
}

#[test]
fn a_client_of_other_protocols_is_refused() {
    let authority = Authority::new();
    let mut config = authority.client(VERSIONS[0]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), async |_| panic!("no handler"));
        let error = shake_hands(&mut client(address, &config)).unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        wait_until("the end", || total(&running).connections == 0);
        finish(running);
    });
}

#[test]
fn a_server_of_tls_1_3_refuses_1_2() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let tls = authority.server().tls13_only(true).unwrap();
        let (running, address) = start_tls(setup.config, tls, describe);
        let [new, old] = VERSIONS.map(|version| Arc::new(authority.client(version)));
        let error = shake_hands(&mut client(address, &old)).unwrap_err();
        assert!(error.to_string().contains("ProtocolVersion"), "{error}");
        assert!(described(&mut client(address, &new)).starts_with("TLS 1.3"));
        running.shutdown(Shutdown::default());
    });
}

/// Connects once, and returns the kind of the handshake and what the server says.
fn visit(address: std::net::SocketAddr, config: &Arc<ClientConfig>) -> (HandshakeKind, String) {
    let mut client = client(address, config);
    let text = described(&mut client);
    (client.conn.handshake_kind().unwrap(), text)
}

#[test]
fn sessions_resume_on_every_worker_and_after_a_reload() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let tls = authority.server();
        let (running, address) = start_tls(setup.config.workers(3), tls.clone(), describe);
        for version in VERSIONS {
            let mut config = authority.client(version);
            config.resumption = Resumption::in_memory_sessions(64);
            let config = Arc::new(config);
            assert_eq!(visit(address, &config).0, HandshakeKind::Full);
            for _ in 0..12 {
                let (kind, text) = visit(address, &config);
                assert_eq!(kind, HandshakeKind::Resumed);
                assert!(text.ends_with("true"), "{text}");
            }
            tls.reload().unwrap();
            assert_eq!(visit(address, &config).0, HandshakeKind::Resumed);
        }
        finish(running);
    });
}

/// A handshake message can be cut into records of any size (RFC 8446 section 5.1).
#[test]
fn a_client_hello_arrives_in_records_of_one_byte() {
    with_clients_of_an_echo(
        |_| (),
        |client| {
            let mut hello = Vec::new();
            client.conn.write_tls(&mut hello).unwrap();
            let (header, message) = hello.split_at(5);
            assert_eq!(message.len(), usize::from(u16::from_be_bytes([header[3], header[4]])), "one record");
            let records: Vec<u8> =
                message.iter().flat_map(|byte| [header[0], header[1], header[2], 0, 1, *byte]).collect();
            client.sock.write_all(&records).unwrap();
            check_tls_echo(client, b"hello");
        },
    );
}

#[test]
fn a_silent_client_is_reset_after_the_handshake_timeout() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let tls = authority.server().handshake_timeout(Duration::from_millis(100));
        let (running, address) = start_tls(setup.config, tls, async |_| panic!("no handler"));
        let mut silent = connect(address);
        let mut begun = connect(address);
        begun.write_all(b"\x16\x03\x01\x02\x00").unwrap();
        assert!(silent.read(&mut [0]).is_err(), "it is reset");
        assert!(begun.read(&mut [0]).is_err(), "it is reset");
        wait_until("the end", || total(&running).handshake_failures_total == 2);
        assert_eq!(total(&running).handshakes, 0);
        finish(running);
    });
}

/// The timeout ends with the handshake.
#[test]
fn a_session_outlives_the_handshake_timeout() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    /// Far more than a handshake takes on a busy machine.
    const TIMEOUT: Duration = Duration::from_secs(3);
    on_every_engine_at_once(|setup| {
        let tls = authority.server().handshake_timeout(TIMEOUT);
        let (running, address) = start_tls(setup.config, tls, |mut connection: Connection| async move {
            let _ = connection.receive().await;
            connection.timer().sleep(TIMEOUT + TIMEOUT / 4).await;
            connection.sender().send(&b"still here"[..]).await.unwrap();
        });
        let mut client = client(address, &config);
        client.write_all(b"x").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still here");
        drop(client);
        finish(running);
    });
}

#[test]
fn further_handshakes_wait_for_their_turn() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        let tls = authority.server().handshakes_max(1);
        let (running, address) = start_tls(setup.config, tls, describe);
        let first = connect(address);
        wait_until("the first handshake to begin", || total(&running).handshakes == 1);
        let others: Vec<_> = (0..3)
            .map(|_| {
                let config = Arc::clone(&config);
                std::thread::spawn(move || visit(address, &config).1)
            })
            .collect();
        wait_until("the others to connect", || total(&running).connections == 4);
        assert_eq!((total(&running).handshakes, total(&running).handshakes_total), (1, 0));
        drop(first);
        for other in others {
            assert!(other.join().unwrap().starts_with("TLS 1.3"));
        }
        assert_eq!(total(&running).handshakes_total, 3);
        finish(running);
    });
}

#[test]
fn many_handshakes_at_once() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), echo);
        let mut clients: Vec<_> = (0..64).map(|_| client(address, &config)).collect();
        // All send the beginning before the first one reads.
        for client in &mut clients {
            while client.conn.wants_write() {
                client.conn.write_tls(&mut client.sock).unwrap();
            }
        }
        for client in &mut clients {
            check_tls_echo(client, b"hello");
        }
        clients.iter_mut().for_each(|client| drop(close(client).unwrap()));
        assert_eq!(total(&running).handshakes_total, 64);
        finish(running);
    });
}

#[test]
fn settings_out_of_bounds_are_named() {
    let authority = Authority::new();
    type Change = fn(Tls) -> Tls;
    let table: [(&str, Change); 3] = [
        ("handshake_timeout", |tls| tls.handshake_timeout(Duration::ZERO)),
        ("handshakes_max", |tls| tls.handshakes_max(0)),
        ("reload_every", |tls| tls.reload_every(Duration::ZERO)),
    ];
    for (name, change) in table {
        let engine = tidegate_engine::Engine::new(Default::default());
        let engine = engine.bind_tls("127.0.0.1:0", change(authority.server())).unwrap();
        let error = engine.start(async |_| ()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}
