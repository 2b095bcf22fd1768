//! Deadlines and timeouts of sessions: they are those of plain connections, and bytes that complete no record do not
//! count as data.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_engine::{CloseCause, Connection, ReceiveError};

use super::peer::*;
use crate::support::*;

/// Long enough to be noticed, short enough to repeat.
const SHORT: Duration = Duration::from_millis(40);

#[test]
fn a_read_deadline_passes_within_a_record_and_leaves_the_session_usable() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let passed = Progress::<bool>::default();
        let notes = passed.clone();
        let (running, address) = start_tls(setup.config, authority.server(), move |mut connection: Connection| {
            let notes = notes.clone();
            async move {
                let deadline = Instant::now() + SHORT;
                connection.set_read_deadline(Some(deadline));
                assert_eq!(connection.receive().await.err(), Some(ReceiveError::Deadline));
                assert!(Instant::now() >= deadline, "fired before its deadline");
                connection.set_read_deadline(None);
                notes.update(|passed| *passed = true);
                echo(connection).await;
            }
        });
        for version in VERSIONS {
            passed.update(|passed| *passed = false);
            let mut client = client(address, &Arc::new(authority.client(version)));
            shake_hands(&mut client).unwrap();
            let records = records_of(&mut client, b"in two parts");
            let (first, second) = records.split_at(records.len() - 3);
            client.sock.write_all(first).unwrap();
            passed.wait("the deadline", |passed| passed.then_some(()));
            client.sock.write_all(second).unwrap();
            let mut back = [0; 12];
            client.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"in two parts");
            close(&mut client).unwrap();
        }
        finish(running);
    });
}

#[test]
fn a_silent_session_is_reset_after_the_idle_timeout() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let ends = Progress::<Vec<ReceiveError>>::default();
        let notes = ends.clone();
        let (running, address) = start_tls(setup.config, authority.server(), move |mut connection: Connection| {
            let notes = notes.clone();
            async move {
                connection.set_idle_timeout(Some(SHORT));
                let error = loop {
                    match connection.receive().await {
                        Ok(chunk) => assert!(chunk.is_some(), "no end in order"),
                        Err(error) => break error,
                    }
                };
                notes.update(|ends| ends.push(error));
            }
        });
        for version in VERSIONS {
            let mut client = client(address, &Arc::new(authority.client(version)));
            client.write_all(b"hello").unwrap();
            client.flush().unwrap();
            let end = ends.wait("the end", Vec::pop);
            assert_eq!(end, ReceiveError::Closed(CloseCause::IdleTimeout));
            assert!(client.read_to_end(&mut Vec::new()).is_err(), "it is reset");
        }
        finish(running);
    });
}

/// Bytes that arrive slowly do not prolong a handshake.
#[test]
fn a_client_that_trickles_is_reset_after_the_handshake_timeout() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let tls = authority.server().handshake_timeout(Duration::from_millis(100));
        let (running, address) = start_tls(setup.config, tls, async |_| panic!("no handler"));
        let mut client = connect(address);
        // Sets the pace: nothing comes, so each read waits this long.
        client.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        // A record of 16 KiB with the beginning of a ClientHello, which never becomes complete.
        client.write_all(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc").unwrap();
        let is_reset = (0..16_000).any(|_| {
            let written = client.write_all(&[0]);
            let read = client.read(&mut [0]);
            let waits = |kind| matches!(kind, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            written.is_err() || !read.is_err_and(|error| waits(error.kind()))
        });
        assert!(is_reset, "the handshake goes on");
        wait_until("the end", || total(&running).handshake_failures_total == 1);
        assert_eq!(total(&running).handshakes, 0);
        finish(running);
    });
}
