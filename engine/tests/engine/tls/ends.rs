//! The ends of sessions: in order, cut short, broken.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown as Half, SocketAddr};
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use tidegate_engine::{CloseCause, Connection, ReceiveError, Running, Shutdown};

use super::peer::*;
use crate::support::*;

/// The end of a connection: the result of its last receive.
type Ends = Progress<Vec<Result<(), ReceiveError>>>;

/// Receives to the end and notes it, then sends what it has received.
async fn note_end(mut connection: Connection, ends: Ends) {
    let mut all = Vec::new();
    let end = loop {
        match connection.receive().await {
            Ok(Some(chunk)) => all.extend_from_slice(&chunk),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let _ = connection.sender().send(all).await;
    ends.update(|ends| ends.push(end));
}

/// Starts an engine with TLS that calls `begin` on its connections and notes how they end.
fn start_noting(setup: Setup, authority: &Authority, begin: fn(&Connection)) -> (Running, SocketAddr, Ends) {
    let ends = Ends::default();
    let notes = ends.clone();
    let (running, address) = start_tls(setup.config, authority.server(), move |connection| {
        begin(&connection);
        note_end(connection, notes.clone())
    });
    (running, address, ends)
}

/// Ends the handler's side of a connection.
fn say_bye(connection: &Connection) {
    connection.sender().append(|queue| queue.extend_from_slice(b"bye")).unwrap();
    connection.sender().shutdown_write();
}

/// Connects and receives the server's whole side, which `say_bye` has sent.
fn hear_bye(address: SocketAddr, authority: &Authority, version: &'static SupportedProtocolVersion) -> Client {
    let mut client = client(address, &Arc::new(authority.client(version)));
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"bye");
    client
}

/// A record of application data that no key has made.
const BROKEN_RECORD: [u8; 37] = {
    let mut record = [7; 37];
    record.split_at_mut(5).0.copy_from_slice(b"\x17\x03\x03\x00\x20");
    record
};

#[test]
fn close_notify_ends_the_stream_and_the_answer_follows() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address, ends) = start_noting(setup, &authority, |_| ());
        for version in VERSIONS {
            let mut client = client(address, &Arc::new(authority.client(version)));
            client.write_all(&pattern(50_000)).unwrap();
            // Fails if the server's close_notify does not come before its FIN.
            assert!(close(&mut client).unwrap() == pattern(50_000));
            assert_eq!(ends.wait("the end", Vec::pop), Ok(()));
        }
        finish(running);
    });
}

#[test]
fn a_connection_cut_short_is_an_error() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address, ends) = start_noting(setup, &authority, |_| ());
        for version in VERSIONS {
            let mut client = client(address, &Arc::new(authority.client(version)));
            client.write_all(b"half a mess").unwrap();
            client.flush().unwrap();
            client.sock.shutdown(Half::Write).unwrap();
            assert_eq!(ends.wait("the end", Vec::pop), Err(ReceiveError::Closed(CloseCause::Truncated)));
            // The peer can still wait for an answer.
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"half a mess");
        }
        finish(running);
    });
}

#[test]
fn a_handler_ends_its_side_and_goes_on_receiving() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address, ends) = start_noting(setup, &authority, say_bye);
        for version in VERSIONS {
            let mut client = hear_bye(address, &authority, version);
            client.write_all(&pattern(10_000)).unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
            assert_eq!(ends.wait("the end", Vec::pop), Ok(()));
        }
        finish(running);
    });
}

#[test]
fn a_broken_record_ends_the_session_with_an_alert() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address, ends) = start_noting(setup, &authority, |_| ());
        for version in VERSIONS {
            let mut client = client(address, &Arc::new(authority.client(version)));
            client.write_all(b"good").unwrap();
            client.flush().unwrap();
            client.sock.write_all(&BROKEN_RECORD).unwrap();
            assert_eq!(ends.wait("the end", Vec::pop), Err(ReceiveError::Closed(CloseCause::Tls)));
            let error = client.read_to_end(&mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("BadRecordMac"), "{error}");
        }
        running.shutdown(Shutdown::default());
    });
}

/// A session whose own side has ended sends no alert.
#[test]
fn a_broken_record_after_the_own_end_fails_the_receive() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address, ends) = start_noting(setup, &authority, say_bye);
        for version in VERSIONS {
            let mut client = hear_bye(address, &authority, version);
            client.sock.write_all(&BROKEN_RECORD).unwrap();
            assert_eq!(ends.wait("the end", Vec::pop), Err(ReceiveError::Closed(CloseCause::Tls)));
        }
        running.shutdown(Shutdown::default());
    });
}

/// The handler of a session that breaks at once still gets what came before.
#[test]
fn a_broken_record_right_behind_the_handshake_is_one_too() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let ends = Progress::<Vec<(Vec<u8>, ReceiveError)>>::default();
        let notes = ends.clone();
        let (running, address) = start_tls(setup.config, authority.server(), move |mut connection: Connection| {
            let notes = notes.clone();
            async move {
                let mut all = Vec::new();
                let error = loop {
                    match connection.receive().await {
                        Ok(chunk) => all.extend_from_slice(&chunk.expect("no end in order")),
                        Err(error) => break error,
                    }
                };
                notes.update(|ends| ends.push((all, error)));
            }
        });
        let mut client = client(address, &Arc::new(authority.client(VERSIONS[0])));
        while client.conn.is_handshaking() {
            while client.conn.wants_write() {
                client.conn.write_tls(&mut client.sock).unwrap();
            }
            client.conn.read_tls(&mut client.sock).unwrap();
            client.conn.process_new_packets().unwrap();
        }
        // The client's last handshake message, its data and the broken record, in one piece.
        let mut piece = records_of(&mut client, b"good");
        piece.extend_from_slice(&BROKEN_RECORD);
        client.sock.write_all(&piece).unwrap();
        let end = ends.wait("the end", Vec::pop);
        assert_eq!(end, (b"good".to_vec(), ReceiveError::Closed(CloseCause::Tls)));
        drop(client);
        running.shutdown(Shutdown::default());
    });
}

#[test]
fn plain_text_on_a_port_with_tls_is_answered() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let engine = tidegate_engine::Engine::new(setup.config).bind_tls("127.0.0.1:0", authority.server()).unwrap();
        let running = engine.plaintext_answer(b"this is TLS\n").start(async |_| panic!("no handler")).unwrap();
        let mut client = connect(running.local_addr().unwrap());
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(read_all(&mut client), b"this is TLS\n");
        drop(client);
        wait_until("the end", || total(&running).connections == 0);
        assert_eq!((total(&running).handshakes, total(&running).handshake_failures_total), (0, 1));
        finish(running);
    });
}

#[test]
fn a_shutdown_ends_sessions_in_order() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), |mut connection: Connection| async move {
            connection.set_farewell(b"farewell");
            while let Ok(Some(_)) = connection.receive().await {
                if connection.is_draining() {
                    return;
                }
            }
        });
        let mut client = client(address, &config);
        client.write_all(b"x").unwrap();
        client.flush().unwrap();
        wait_until("the handshake", || total(&running).handshakes_total == 1);
        let handle = running.handle();
        let ending = std::thread::spawn(move || running.shutdown(Shutdown::default()));
        let mut all = vec![0; 8];
        client.read_exact(&mut all).unwrap();
        assert_eq!(all, b"farewell");
        close(&mut client).unwrap();
        assert_eq!(ending.join().unwrap().forced, 0);
        drop(handle);
    });
}

#[test]
fn a_reset_in_the_handshake_is_counted_and_forgotten() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), echo);
        for start in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x00\x02"] {
            let before = total(&running).handshake_failures_total;
            let mut client = connect(address);
            client.write_all(start).unwrap();
            client.shutdown(Half::Write).unwrap();
            match client.read_to_end(&mut Vec::new()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            wait_until("the failure", || total(&running).handshake_failures_total == before + 1);
        }
        wait_until("the end", || total(&running).connections == 0);
        finish(running);
    });
}
