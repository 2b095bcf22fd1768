//! The byte stream of a handler: order, ends, half-close, closing, addresses; on every engine and placement.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown as Half;
use std::time::Duration;

use socket2::{SockRef, Socket};
use tidegate_engine::{CloseCause, Connection, ReceiveError, SendError};

use crate::support::*;

#[test]
fn echoes_small_and_large() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, echo);
        let mut client = connect(address);
        for len in [1, 64, 4096, 4097, 100_000, 3_000_000] {
            check_echo(&mut client, &pattern(len));
        }
        drop(client);
        finish(running);
    });
}

#[test]
fn many_connections_at_once() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, echo);
        let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
        for round in 0..3 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(100 * round + number + 1)).unwrap();
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let len = 100 * round + number + 1;
                assert_eq!(read_exact(client, len), pattern(len));
            }
        }
        drop(clients);
        finish(running);
    });
}

/// A read stops at the place of urgent data (tcp(7)), also when more follows. The urgent byte itself is not part of the
/// stream.
#[test]
fn bytes_behind_urgent_data_arrive() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, echo);
        let mut client = connect(address);
        for round in 1..=20 {
            let (before, behind) = (pattern(round), pattern(100 * round));
            send_around_urgent_data(&client, &before, &behind);
            assert_eq!(read_exact(&mut client, before.len() + behind.len()), [before, behind].concat());
        }
        drop(client);
        finish(running);
    });
}

/// Half-close: the peer's FIN ends its stream, not ours.
#[test]
fn answers_after_the_peers_fin() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            let mut all = Vec::new();
            while let Ok(Some(chunk)) = connection.receive().await {
                all.extend_from_slice(&chunk);
            }
            connection.sender().send(all).await.unwrap();
        });
        let mut client = connect(address);
        let sent = pattern(200_000);
        client.write_all(&sent).unwrap();
        client.shutdown(Half::Write).unwrap();
        assert!(read_all(&mut client) == sent, "data that came before the FIN was lost");
        finish(running);
    });
}

/// Accepted bytes are delivered even if the handler has ended and the peer continues to send.
#[test]
fn dropping_flushes_and_no_reset_overtakes() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            let _ = connection.receive().await;
            connection.sender().send(pattern(500_000)).await.unwrap();
        });
        let mut client = connect(address);
        client.write_all(b"go").unwrap();
        // Unread input at the server when it closes: a plain close would reset the connection.
        client.write_all(&pattern(10_000)).unwrap();
        assert!(read_all(&mut client) == pattern(500_000), "the end of the data was lost");
        drop(client);
        finish(running);
    });
}

/// The peer has ended its side and is gone when the handler sends: the connection failed, whatever the handler does
/// then.
#[test]
fn a_connection_whose_bytes_could_not_be_sent_has_failed() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, async |mut connection: Connection| {
            while let Ok(Some(_)) = connection.receive().await {}
            while connection.sender().send(vec![0; 1000]).await.is_ok() && connection.sender().flush().await.is_ok() {}
        });
        drop(connect(address));
        let count = || {
            let stats = total(&running);
            (stats.accepted_total, stats.connections, stats.closed_total, stats.failed_total)
        };
        wait_until("the connection to end", || matches!(count(), (1, 0, ..)));
        assert_eq!(count(), (1, 0, 0, 1));
        finish(running);
    });
}

#[test]
fn abort_resets() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            let _ = connection.receive().await;
            connection.abort();
        });
        let mut client = connect(address);
        client.write_all(b"x").unwrap();
        let error = client.read(&mut [0; 1]).expect_err("a reset, not an orderly end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        finish(running);
    });
}

#[test]
fn a_peers_reset_is_reported_after_its_data() {
    on_every_engine(|setup| {
        let seen = Progress::<Option<(usize, ReceiveError)>>::default();
        let report = seen.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let report = report.clone();
            async move {
                let mut bytes = 0;
                let error = loop {
                    match connection.receive().await {
                        Ok(Some(chunk)) => bytes += chunk.len(),
                        Ok(None) => panic!("a reset must not look like an orderly end"),
                        Err(error) => break error,
                    }
                };
                assert!(connection.sender().try_send(&b"late"[..]).is_err());
                report.update(|seen| *seen = Some((bytes, error)));
            }
        });
        let mut client = connect(address);
        client.write_all(b"12345").unwrap();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        wait_until("the bytes to arrive", || running.stats()[0].received_bytes_total == 5);
        drop(client);
        assert_eq!(seen.wait("the reset", |seen| *seen), (5, ReceiveError::Closed(CloseCause::Reset)));
        finish(running);
    });
}

#[test]
fn shutdown_write_ends_sending_only() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            connection.sender().send(&b"all I say"[..]).await.unwrap();
            connection.sender().shutdown_write();
            assert_eq!(connection.sender().try_send(&b"x"[..]), Err(SendError::Finished));
            let mut heard = 0;
            while let Ok(Some(chunk)) = connection.receive().await {
                heard += chunk.len();
            }
            assert_eq!(heard, 100_000);
        });
        let mut client = connect(address);
        assert_eq!(read_all(&mut client), b"all I say");
        client.write_all(&pattern(100_000)).unwrap();
        drop(client);
        finish(running);
    });
}

#[test]
fn unread_bytes_come_first_and_in_order() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            let first = connection.receive().await.unwrap().unwrap();
            let text = first.to_vec();
            connection.unread(first);
            connection.unread(b"b".to_vec().into());
            connection.unread(b"a".to_vec().into());
            let again = connection.receive().await.unwrap().unwrap();
            assert_eq!(&again[..], [b"ab", &text[..]].concat());
            echo(connection).await;
        });
        let mut client = connect(address);
        client.write_all(b"hello").unwrap();
        client.shutdown(Half::Write).unwrap();
        read_all(&mut client);
        finish(running);
    });
}

#[test]
fn addresses_are_known_to_the_end() {
    on_every_engine(|setup| {
        let running = tidegate_engine::Engine::new(setup.config)
            .bind("127.0.0.1:0")
            .unwrap()
            .bind("0.0.0.0:0")
            .unwrap()
            .start(|mut connection: Connection| async move {
                while let Ok(Some(_)) = connection.receive().await {}
                let line = format!("{} {}", connection.peer_addr(), connection.local_addr());
                connection.sender().send(line).await.unwrap();
            })
            .unwrap();
        for listener in running.local_addrs() {
            let port = listener.ip().unwrap().port();
            let mut client = connect(([127, 0, 0, 1], port).into());
            client.shutdown(Half::Write).unwrap();
            let expected = format!("{} 127.0.0.1:{port}", client.local_addr().unwrap());
            assert_eq!(String::from_utf8(read_all(&mut client)).unwrap(), expected);
        }
        finish(running);
    });
}

#[test]
fn socket_options_and_tcp_state_are_reachable() {
    on_every_engine(|mut setup| {
        (setup.config.socket_receive_buffer_bytes, setup.config.socket_send_buffer_bytes) =
            (Some(20_000), Some(30_000));
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            let nodelay = connection.with_socket(|socket| socket.tcp_nodelay()).await.unwrap();
            assert!(nodelay, "inherited from the listener");
            connection.with_socket(|socket| socket.set_tcp_nodelay(false)).await.unwrap();
            assert!(!connection.with_socket(|socket| socket.tcp_nodelay()).await.unwrap());
            let sizes = |socket: SockRef<'_>| Ok((socket.recv_buffer_size()?, socket.send_buffer_size()?));
            let (receive, send) = connection.with_socket(sizes).await.unwrap();
            // Linux doubles the requested size for its bookkeeping.
            let around = |bytes: usize| bytes..=2 * bytes;
            assert!(around(20_000).contains(&receive) && around(30_000).contains(&send), "{receive}, {send}");
            let _ = connection.receive().await;
            let info = connection.tcp_info().await;
            if cfg!(target_os = "linux") {
                let info = info.unwrap();
                assert!(info.congestion_window_segments > 0 && info.segment_bytes > 0, "{info:?}");
                assert!(info.round_trip > Duration::ZERO && info.retransmission_timeout > info.round_trip, "{info:?}");
            } else {
                assert_eq!(info.unwrap_err().kind(), ErrorKind::Unsupported);
            }
            connection.sender().send(&b"done"[..]).await.unwrap();
        });
        let mut client = connect(address);
        client.write_all(b"x").unwrap();
        assert_eq!(read_all(&mut client), b"done");
        drop(client);
        finish(running);
    });
}

#[test]
fn a_panicking_handler_closes_its_connection_and_no_other() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            while let Ok(Some(chunk)) = connection.receive().await {
                assert_ne!(&chunk[..], b"panic", "as the test asked for");
                connection.sender().send(chunk.into_vec()).await.unwrap();
            }
        });
        let (mut good, mut bad) = (connect(address), connect(address));
        check_echo(&mut good, b"before");
        bad.write_all(b"panic").unwrap();
        assert_eq!(read_all(&mut bad), b"");
        check_echo(&mut good, b"after");
        drop((good, bad));
        finish(running);
    });
}

/// The linger timeout ends the wait for the peer's FIN, not the delivery of bytes that the kernel has taken.
/// A duplicate of a connection's descriptor keeps its socket open after the end of the connection. What happens to it
/// does not reach the next connection, which has the same place in the worker.
#[test]
fn a_duplicated_descriptor_does_not_disturb_the_next_connection() {
    on_every_engine(|mut setup| {
        setup.config.connections_max = 1;
        setup.config.linger_timeout = Duration::from_millis(20);
        let kept = Progress::<Option<Socket>>::default();
        let keep = kept.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let keep = keep.clone();
            async move {
                match connection.receive().await {
                    Ok(Some(first)) if &first[..] == b"duplicate" => {
                        let duplicate = connection.with_socket(|socket| socket.try_clone()).await.unwrap();
                        keep.update(|kept| *kept = Some(duplicate));
                    }
                    Ok(Some(first)) => {
                        connection.unread(first);
                        echo(connection).await;
                    }
                    _ => {}
                }
            }
        });
        let mut first = connect(address);
        first.write_all(b"duplicate").unwrap();
        let duplicate = kept.wait("the duplicate", Option::take);
        assert_eq!(read_all(&mut first), b"", "the handler has returned");
        let mut next = connect(address);
        check_echo(&mut next, b"mine");
        for round in 0..20 {
            first.write_all(b"not for the next one").unwrap();
            check_echo(&mut next, &pattern(100 + round));
        }
        // A reset: the duplicate has unread bytes.
        drop(duplicate);
        let reset = first.read(&mut [0]);
        assert!(reset.is_err() || matches!(reset, Ok(0)), "{reset:?}");
        check_echo(&mut next, &pattern(100_000));
        drop(next);
        finish(running);
    });
}

#[test]
fn a_slow_reader_gets_everything_after_the_linger_timeout() {
    on_every_engine(|mut setup| {
        setup.config.linger_timeout = Duration::from_millis(20);
        let (running, address) = start(setup.config, |connection: Connection| async move {
            connection.with_socket(|socket| socket.set_send_buffer_size(1 << 20)).await.unwrap();
            connection.sender().send(pattern(300_000)).await.unwrap();
            connection.sender().flush().await.unwrap();
        });
        let mut client = connect(address);
        wait_until("the server to close it", || {
            running.stats().iter().any(|stats| stats.closed_total + stats.failed_total == 1)
        });
        assert!(read_all(&mut client) == pattern(300_000), "the end of the data was lost");
        drop(client);
        finish(running);
    });
}
