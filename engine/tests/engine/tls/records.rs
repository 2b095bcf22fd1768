//! The bytes of established sessions: in any pieces, of any size, under any keys.

use std::io::{self, Read, Write};
use std::sync::Arc;

use tidegate_engine::{Connection, FilePart, HandlerPlacement};

use super::peer::*;
use crate::support::*;

#[test]
fn echoes_small_and_large() {
    with_clients_of_an_echo(
        |_| (),
        |client| {
            for len in [1, 64, 4096, 16_384, 16_385, 100_000, 1_000_000] {
                check_tls_echo(client, &pattern(len));
            }
        },
    );
}

/// A part of a file cannot be sent without a copy: it is read and encrypted.
#[test]
fn parts_of_files_are_encrypted() {
    let authority = Authority::new();
    let path = std::env::temp_dir().join(format!("tidegate-tls-file-{}", std::process::id()));
    std::fs::write(&path, pattern(3_000_000)).unwrap();
    let file = Arc::new(std::fs::File::open(&path).unwrap());
    on_every_engine(|setup| {
        let file = Arc::clone(&file);
        let (running, address) = start_tls(setup.config, authority.server(), move |connection: Connection| {
            let file = Arc::clone(&file);
            async move {
                let sender = connection.sender();
                assert!(!sender.sends_files());
                sender.append(|out| out.push(b'<')).unwrap();
                sender.append_file(FilePart::new(file, 7, 2_000_000)).unwrap();
                sender.append(|out| out.push(b'>')).unwrap();
            }
        });
        let mut client = client(address, &Arc::new(authority.client(VERSIONS[0])));
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        let expected = [b"<", &pattern(3_000_000)[7..2_000_007], b">"].concat();
        assert!(received == expected, "{} bytes", received.len());
        drop(client);
        finish(running);
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn many_connections_at_once() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), echo);
        let mut clients: Vec<_> = (0..50).map(|_| client(address, &config)).collect();
        for round in 0..3 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(100 * round + number + 1)).unwrap();
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let mut back = vec![0; 100 * round + number + 1];
                client.read_exact(&mut back).unwrap();
                assert_eq!(back, pattern(back.len()));
            }
        }
        clients.iter_mut().for_each(|client| drop(close(client).unwrap()));
        finish(running);
    });
}

/// A stream that sends each byte by itself.
struct Crumbs<'a>(&'a mut std::net::TcpStream);

impl Write for Crumbs<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn records_arrive_byte_by_byte() {
    with_clients_of_an_echo(
        |_| (),
        |client| {
            while client.conn.is_handshaking() {
                while client.conn.wants_write() {
                    client.conn.write_tls(&mut Crumbs(&mut client.sock)).unwrap();
                }
                if client.conn.is_handshaking() {
                    client.conn.read_tls(&mut client.sock).unwrap();
                    client.conn.process_new_packets().unwrap();
                }
            }
            client.conn.writer().write_all(&pattern(1000)).unwrap();
            while client.conn.wants_write() {
                client.conn.write_tls(&mut Crumbs(&mut client.sock)).unwrap();
            }
            let mut back = vec![0; 1000];
            client.read_exact(&mut back).unwrap();
            assert_eq!(back, pattern(1000));
        },
    );
}

#[test]
fn small_records_are_as_good_as_large_ones() {
    with_clients_of_an_echo(
        |config| config.max_fragment_size = Some(32),
        |client| check_tls_echo(client, &pattern(10_000)),
    );
}

/// The head and the payload of a message are encrypted together, in as few records as their bytes need.
#[test]
fn a_head_shares_a_record_with_its_payload() {
    // With TLS 1.2 every record of this type is data. AES-GCM adds a nonce and a tag to the plaintext.
    const DATA: u8 = 23;
    const ADDED_BYTES: usize = 8 + 16;
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[1]));
    on_every_engine(|setup| {
        for (head, payload, records) in
            [(4, 100, 1), (100, 8000, 1), (4, 16_384, 2), (300, 20_000, 2), (16_384, 5000, 2)]
        {
            let (running, address) =
                start_tls(setup.config.clone(), authority.server(), move |mut connection: Connection| async move {
                    let all = pattern(head + payload);
                    let (head, payload) = all.split_at(head);
                    connection.receive().await.unwrap();
                    connection.sender().append_with(head, payload.to_vec().into()).unwrap();
                    let _ = connection.receive().await;
                });
            let mut client = client(address, &config);
            client.write_all(b"go").unwrap();
            let (mut raw, mut lens) = (Vec::new(), Vec::new());
            while lens.iter().sum::<usize>() < head + payload {
                let start = raw.len();
                raw.resize(start + 5, 0);
                client.sock.read_exact(&mut raw[start..]).unwrap();
                assert_eq!(raw[start], DATA);
                let len = usize::from(u16::from_be_bytes([raw[start + 3], raw[start + 4]]));
                raw.resize(start + 5 + len, 0);
                client.sock.read_exact(&mut raw[start + 5..]).unwrap();
                lens.push(len - ADDED_BYTES);
            }
            assert_eq!(lens.len(), records, "{head} and {payload} bytes in records of {lens:?}");
            let mut plain = Vec::new();
            while !raw.is_empty() {
                let used = client.conn.read_tls(&mut &raw[..]).unwrap();
                raw.drain(..used);
                let state = client.conn.process_new_packets().unwrap();
                let mut piece = vec![0; state.plaintext_bytes_to_read()];
                client.conn.reader().read_exact(&mut piece).unwrap();
                plain.extend(piece);
            }
            assert!(plain == pattern(head + payload), "the bytes differ");
            close(&mut client).unwrap();
            finish(running);
        }
    });
}

/// Each byte is a record, and many of them arrive together.
#[test]
fn records_of_one_byte() {
    with_clients_of_an_echo(
        |_| (),
        |client| {
            shake_hands(client).unwrap();
            let records: Vec<u8> = pattern(2000).iter().flat_map(|byte| records_of(client, &[*byte])).collect();
            client.sock.write_all(&records).unwrap();
            let mut back = vec![0; 2000];
            client.read_exact(&mut back).unwrap();
            assert!(back == pattern(2000), "the echo differs");
        },
    );
}

/// Records of 16 KiB with marks just below, at and above a record.
#[test]
fn large_records_at_the_water_marks() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        for high in [16_383, 16_384, 16_406, 16_407, 20_000] {
            let mut settings = setup.config.clone();
            (settings.inbound.bytes_high, settings.inbound.bytes_low) = (high, 1000);
            (settings.outbound.bytes_high, settings.outbound.bytes_low) = (high as usize, 1000);
            let (running, address) = start_tls(settings, authority.server(), echo);
            let mut client = client(address, &config);
            check_tls_echo(&mut client, &pattern(200_000));
            close(&mut client).unwrap();
            finish(running);
        }
    });
}

/// A handler that does not read stops the client, and nothing is lost.
#[test]
fn a_handler_that_does_not_read_bounds_the_buffer_and_loses_nothing() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        let (gate, seen) = (Inbox::<()>::default(), Progress::<usize>::default());
        let (waits, counts) = (gate.clone(), seen.clone());
        let bound = setup.inbound_bytes_max();
        let (running, address) = start_tls(setup.config, authority.server(), move |mut connection: Connection| {
            let (waits, counts) = (waits.clone(), counts.clone());
            async move {
                waits.next().await;
                counts.update(|most| *most = connection.inbound_bytes());
                let mut all = Vec::new();
                while let Ok(Some(chunk)) = connection.receive().await {
                    all.extend_from_slice(&chunk);
                }
                assert!(all == numbered(8_000_000), "bytes were lost");
                connection.sender().send(&b"all"[..]).await.unwrap();
            }
        });
        let mut client = client(address, &config);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                client.write_all(&numbered(8_000_000)).unwrap();
                assert_eq!(close(&mut client).unwrap(), b"all");
            });
            wait_until("receiving to pause", || total(&running).paused == 1);
            gate.close();
        });
        let most = seen.wait("the first look", |most| (*most > 0).then_some(*most));
        assert!(most <= bound, "{most} bytes in a buffer for {bound}");
        finish(running);
    });
}

#[test]
fn a_peer_that_does_not_read_loses_nothing() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), |mut connection: Connection| async move {
            let _ = connection.receive().await;
            for piece in numbered(8_000_000).chunks(100_000) {
                connection.sender().send(piece.to_vec()).await.unwrap();
            }
        });
        for version in VERSIONS {
            let mut client = client(address, &Arc::new(authority.client(version)));
            client.write_all(b"go").unwrap();
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            assert!(all == numbered(8_000_000), "bytes were lost");
        }
        finish(running);
    });
}

/// Bytes that the client sends together with the end of its handshake.
#[test]
fn bytes_right_behind_the_handshake_are_received() {
    let authority = Authority::new();
    on_every_engine(|setup| {
        let (running, address) = start_tls(setup.config, authority.server(), echo);
        for version in VERSIONS {
            let mut client = client(address, &Arc::new(authority.client(version)));
            // Kept by the client until its handshake is complete.
            client.conn.writer().write_all(&pattern(30_000)).unwrap();
            let mut back = vec![0; 30_000];
            client.read_exact(&mut back).unwrap();
            assert!(back == pattern(30_000), "the echo differs");
            close(&mut client).unwrap();
        }
        finish(running);
    });
}

#[test]
fn thousands_of_key_updates() {
    let authority = Authority::new();
    let config = Arc::new(authority.client(VERSIONS[0]));
    on_every_engine(|setup| {
        if !matches!(setup.config.placement, HandlerPlacement::Inline) {
            return;
        }
        let (running, address) = start_tls(setup.config, authority.server(), echo);
        let mut client = client(address, &config);
        shake_hands(&mut client).unwrap();
        for round in 0..2000_u32 {
            client.conn.refresh_traffic_keys().unwrap();
            client.write_all(&round.to_le_bytes()).unwrap();
            let mut back = [0; 4];
            client.read_exact(&mut back).unwrap();
            assert_eq!(back, round.to_le_bytes());
        }
        close(&mut client).unwrap();
        finish(running);
    });
}
