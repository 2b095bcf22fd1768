//! Outbound connections on every engine and placement.

mod errors;
mod limits;
mod options;
mod servers;

use std::io::{Read, Write};
use std::net::{Shutdown as Half, SocketAddr};
use std::sync::mpsc::channel;

use socket2::SockAddr;
use tidegate_engine::{
    Address, Config, ConnectError, Connection, Engine, FanOut, HandlerPlacement, JoinOptions, MemberId, Publish,
    PublishBudget, Running, block_on, connect, connect_unix, spawn_local,
};

use crate::support::*;
use servers::*;

/// Starts an engine without listeners.
fn client(setup: Setup) -> Running {
    Engine::client(setup.config).unwrap()
}

/// Sends bytes and checks that they come back.
async fn check_echo_of(connection: &mut Connection, bytes: Vec<u8>) {
    let (sender, sent) = (connection.sender().clone(), bytes.clone());
    let sending = spawn_local(async move {
        for piece in sent.chunks(10_000) {
            sender.send(piece.to_vec()).await.unwrap();
        }
    });
    let mut echoed = Vec::new();
    while echoed.len() < bytes.len() {
        let chunk = connection.receive().await.unwrap().expect("the echo has not ended");
        echoed.extend_from_slice(&chunk);
    }
    assert!(echoed == bytes, "the echo differs");
    sending.await.unwrap();
}

/// Runs a future on a handler's thread of an engine without listeners, and shuts that down.
fn run<F>(setup: Setup, make: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F: Future<Output: Send + 'static> + 'static,
{
    let running = client(setup);
    let output = block_on(running.spawn(make)).expect("the task ends with a result");
    finish(running);
    output
}

#[test]
fn the_echo_of_a_server_comes_back() {
    let address = echo_server();
    on_every_engine(|setup| {
        let running = client(setup);
        let task = running.spawn(move || async move {
            let mut connection = connect(address).await.unwrap();
            assert_eq!(connection.peer_addr(), Address::Ip(address));
            assert!(connection.is_outbound());
            for len in [1, 100, 5000, 300_000, 3_000_000] {
                check_echo_of(&mut connection, pattern(len)).await;
            }
            connection.sender().shutdown_write();
            assert!(connection.receive().await.unwrap().is_none(), "the server ends after our FIN");
        });
        block_on(task).unwrap();
        // Counted as closed when its closing begins, and as open until it has ended.
        wait_until("the connection to end", || total(&running).connections == 0);
        let stats = total(&running);
        assert_eq!((stats.connected_total, stats.accepted_total, stats.connect_failures_total), (1, 0, 0));
        assert_eq!((stats.closed_total, stats.failed_total), (1, 0));
        assert!(running.summary().starts_with("client engine="), "{}", running.summary());
        finish(running);
    });
}

#[test]
fn bytes_behind_urgent_data_of_a_server_arrive() {
    const ROUNDS: std::ops::RangeInclusive<usize> = 1..=20;
    let address = serve(|mut stream| {
        for round in ROUNDS {
            send_around_urgent_data(&stream, &pattern(round), &pattern(100 * round));
            stream.read_exact(&mut [0]).unwrap();
        }
    });
    on_every_engine(|setup| {
        run(setup, move || async move {
            let mut connection = connect(address).await.unwrap();
            for round in ROUNDS {
                let expected = [pattern(round), pattern(100 * round)].concat();
                let mut received = Vec::new();
                while received.len() < expected.len() {
                    received.extend_from_slice(&connection.receive().await.unwrap().expect("more follows"));
                }
                assert!(received == expected, "round {round}");
                connection.sender().send("!").await.unwrap();
            }
        });
    });
}

#[test]
fn both_ends_know_the_addresses_of_the_other() {
    let (out, seen) = channel();
    let out = std::sync::Mutex::new(out);
    let address = serve(move |stream| out.lock().unwrap().send(stream.peer_addr().unwrap()).unwrap());
    on_every_engine(|setup| {
        let local = run(setup, move || async move { connect(address).await.unwrap().local_addr() });
        assert_eq!(local, Address::Ip(seen.recv_timeout(PATIENCE).unwrap()));
    });
}

/// A handler's outbound connection belongs to the handler's own worker.
#[test]
fn a_handler_forwards_to_another_server() {
    let address = echo_server();
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        let forward = move |mut client: Connection| async move {
            let mut server = connect(address).await.unwrap();
            while let Ok(Some(chunk)) = client.receive().await {
                let len = chunk.len();
                server.sender().send(chunk.into_vec()).await.unwrap();
                let mut answer = Vec::new();
                while answer.len() < len {
                    answer.extend_from_slice(&server.receive().await.unwrap().unwrap());
                }
                if client.sender().send(answer).await.is_err() {
                    return;
                }
            }
        };
        let (running, address) = start(setup.config, forward);
        let mut clients: Vec<_> = (0..16).map(|_| connect_client(address)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(&pattern(number + 1)).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(read_exact(client, number + 1), pattern(number + 1));
        }
        for worker in running.stats() {
            assert_eq!(worker.accepted_total, worker.connected_total, "on the worker of its client");
        }
        drop(clients);
        wait_until("both to end", || total(&running).connections == 0);
        finish(running);
    });
}

fn connect_client(address: SocketAddr) -> std::net::TcpStream {
    crate::support::connect(address)
}

#[test]
fn a_thread_of_the_application_uses_a_connection() {
    let address = echo_server();
    on_every_engine(|setup| {
        let running = client(setup);
        let mut connection = block_on(running.connect(address).into_future()).unwrap();
        block_on(connection.sender().send(pattern(1000))).unwrap();
        let mut echoed = Vec::new();
        while echoed.len() < 1000 {
            echoed.extend_from_slice(&block_on(connection.receive()).unwrap().unwrap());
        }
        assert_eq!(echoed, pattern(1000));
        drop(connection);
        finish(running);
    });
}

#[test]
fn many_connections_are_served_by_handlers() {
    const COUNT: usize = 300;
    let address = echo_server();
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        let running = client(setup);
        let done = Progress::<usize>::default();
        for number in 0..COUNT {
            let done = done.clone();
            running.connect(address).start(move |connected| async move {
                let mut connection = connected.unwrap();
                check_echo_of(&mut connection, pattern(number + 1)).await;
                done.update(|done| *done += 1);
            });
        }
        done.wait("all handlers to end", |done| (*done == COUNT).then_some(()));
        wait_until("all connections to end", || total(&running).connections == 0);
        assert!(running.stats().iter().all(|worker| worker.connected_total == COUNT as u64 / 2), "workers take turns");
        finish(running);
    });
}

/// The handler of an outbound connection ends as that of an accepted one: a panic ends its connection only.
#[test]
fn a_panic_of_a_handler_ends_its_connection() {
    let address = echo_server();
    on_every_engine(|setup| {
        let running = client(setup);
        running.connect(address).start(|connected| async move {
            let _connection = connected.unwrap();
            panic!("as the test asked for");
        });
        wait_until("the connection to end", || total(&running).closed_total == 1);
        let missing = block_on(running.spawn(|| async { panic!("as the test asked for") }));
        assert_eq!(missing, None::<()>);
        assert_eq!(block_on(running.spawn(|| async { 7 })), Some(7));
        finish(running);
    });
}

#[test]
fn a_slow_server_bounds_the_queue_and_loses_nothing() {
    let (go, wait) = channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (out, read) = channel();
    let out = std::sync::Mutex::new(out);
    let address = serve(move |mut stream| {
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        out.lock().unwrap().send(bytes).unwrap();
    });
    on_every_engine(|setup| {
        let running = client(setup);
        let filled = block_on(running.spawn(move || async move {
            let connection = connect(address).await.unwrap();
            let mut accepted = 0;
            // The kernel's buffers first, then the queue.
            while connection.sender().try_send(vec![accepted as u8; 64 * 1024]).is_ok() {
                accepted += 1;
                worker_round().await;
            }
            assert!(connection.sender().queued_bytes() <= 1024 * 1024 + 64 * 1024);
            accepted
        }));
        go.send(()).unwrap();
        let bytes = read.recv_timeout(PATIENCE).unwrap();
        assert_eq!(bytes.len(), filled.unwrap() * 64 * 1024);
        assert!(bytes.chunks(64 * 1024).enumerate().all(|(number, piece)| piece.iter().all(|b| *b == number as u8)));
        finish(running);
    });
}

#[test]
fn a_handler_that_does_not_read_stops_its_server() {
    const LEN: usize = 8 << 20;
    let address = serve(|mut stream| {
        stream.write_all(&numbered(LEN)).unwrap();
        stream.shutdown(Half::Write).unwrap();
        let _ = stream.read(&mut [0]);
    });
    on_every_engine(|setup| {
        let most = setup.inbound_bytes_max();
        let received = run(setup, move || async move {
            let mut connection = connect(address).await.unwrap();
            while !connection.is_paused() {
                worker_round().await;
            }
            assert!(connection.inbound_bytes() <= most, "{} bytes", connection.inbound_bytes());
            let mut received = Vec::new();
            while let Some(chunk) = connection.receive().await.unwrap() {
                received.extend_from_slice(&chunk);
            }
            received
        });
        assert!(received == numbered(LEN));
    });
}

#[test]
fn unix_sockets_by_path_and_by_name() {
    let path = SocketPath::new("echo");
    unix_echo_server(&SockAddr::unix(&*path).unwrap());
    let name = format!("tidegate-connect-{}", std::process::id());
    unix_echo_server(&SockAddr::unix(format!("\0{name}")).unwrap());
    on_every_engine(|setup| {
        for target in [path.to_str().unwrap().to_owned(), format!("@{name}")] {
            run(setup.clone(), move || async move {
                let mut connection = connect_unix(target).await.unwrap();
                assert_eq!((connection.peer_addr(), connection.local_addr()), (Address::Unix, Address::Unix));
                check_echo_of(&mut connection, pattern(100_000)).await;
            });
        }
    });
}

/// `localhost` can have two addresses, of which one has no server.
#[test]
fn a_name_is_resolved() {
    let address = echo_server();
    on_every_engine(|setup| {
        run(setup, move || async move {
            for target in [format!("localhost:{}", address.port()), address.to_string()] {
                let mut connection = connect(target).await.unwrap();
                assert_eq!(connection.peer_addr(), Address::Ip(address));
                check_echo_of(&mut connection, pattern(10)).await;
            }
            connect(("localhost", address.port())).await.unwrap();
        });
    });
}

#[test]
fn an_outbound_connection_is_a_member_of_a_fan_out() {
    let (out, read) = channel();
    let out = std::sync::Mutex::new(out);
    let address = serve(move |mut stream| {
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        out.lock().unwrap().send(bytes).unwrap();
    });
    on_every_engine(|setup| {
        let running = client(setup);
        let fan_out = FanOut::new(PublishBudget::new(1 << 20));
        let connection = block_on(running.connect(address).into_future()).unwrap();
        let membership = fan_out.join(connection.sender(), MemberId::next(), JoinOptions::default());
        fan_out.publish(Publish::new("hello")).unwrap();
        assert_eq!(read.recv_timeout(PATIENCE).unwrap(), *b"hello");
        drop((membership, connection));
        finish(running);
    });
}

/// A connection that is dropped sends what is queued, then FIN.
#[test]
fn a_dropped_connection_closes_in_order() {
    let (out, read) = channel();
    let out = std::sync::Mutex::new(out);
    let address = serve(move |mut stream| {
        // Input that its handler never reads.
        stream.write_all(&pattern(1000)).unwrap();
        let mut bytes = Vec::new();
        let outcome = stream.read_to_end(&mut bytes);
        out.lock().unwrap().send(outcome.map(|_| bytes)).unwrap();
    });
    on_every_engine(|setup| {
        run(setup, move || async move {
            let connection = connect(address).await.unwrap();
            connection.sender().append(|queue| queue.extend(pattern(500_000))).unwrap();
        });
        assert!(read.recv_timeout(PATIENCE).unwrap().unwrap() == pattern(500_000));
    });
}

#[test]
fn the_future_fails_outside_of_the_engine() {
    let error = block_on(connect(dead_address()).into_future()).unwrap_err();
    assert!(matches!(error, ConnectError::NotOnHandlerThread), "{error}");
}

/// A connection names the worker to use where the thread has none.
#[test]
fn a_blocking_handler_connects_on_the_worker_of_its_client() {
    let address = echo_server();
    on_every_engine(|setup| {
        let config: Config = setup.config;
        let forward = tidegate_engine::blocking(move |mut client| {
            let connect = connect(address).on_worker_of(client.connection());
            let mut server = block_on(connect.into_future()).unwrap();
            let mut bytes = [0; 5];
            client.read_exact(&mut bytes).unwrap();
            block_on(server.sender().send(bytes.to_vec())).unwrap();
            let echoed = block_on(server.receive()).unwrap().unwrap();
            client.send(echoed.into_vec()).unwrap();
        });
        let (running, address) = start(config, forward);
        let mut client = connect_client(address);
        client.write_all(b"hello").unwrap();
        assert_eq!(read_all(&mut client), b"hello");
        drop(client);
        finish(running);
    });
}

/// With shared handler threads the handler's worker is known too, however many workers there are.
#[test]
fn shared_threads_spread_connections_over_the_workers() {
    let address = echo_server();
    on_every_engine(|mut setup| {
        if !matches!(setup.config.placement, HandlerPlacement::Threads(_)) {
            return;
        }
        setup.config.workers = 2;
        let running = client(setup);
        let tasks: Vec<_> =
            (0..8).map(|_| running.spawn(move || async move { connect(address).await.map(drop).unwrap() })).collect();
        for task in tasks {
            block_on(task).unwrap();
        }
        assert!(running.stats().iter().all(|worker| worker.connected_total == 4));
        finish(running);
    });
}
