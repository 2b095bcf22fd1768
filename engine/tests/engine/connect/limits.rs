//! Limits of outbound connections: full workers, very many connections, descriptors.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_engine::{
    Config, ConnectError, Engine, EngineKind, HandlerPlacement, Running, Shutdown, block_on, connect,
};

use super::errors::open_files;
use super::servers::*;
use super::{check_echo_of, client};
use crate::support::*;

#[test]
fn connections_max_counts_outbound_connections() {
    let address = echo_server();
    on_every_engine(|mut setup| {
        setup.config.connections_max = 3;
        let running = client(setup);
        let open = || block_on(running.connect(address).into_future());
        let mut held: Vec<_> = (0..3).map(|_| open().unwrap()).collect();
        for _ in 0..2 {
            let error = open().unwrap_err();
            assert!(matches!(error, ConnectError::LimitReached), "{error}");
        }
        drop(held.pop());
        wait_until("one to end", || total(&running).connections == 2);
        held.push(open().unwrap());
        assert!(open().is_err());
        drop(held);
        wait_until("all to end", || total(&running).connections == 0);
        drop(open().unwrap());
        finish(running);
    });
}

/// Accepted and outbound connections share the room of a worker, and clients that wait are accepted when it is free.
#[test]
fn accepted_and_outbound_connections_share_the_room() {
    let server = echo_server();
    on_every_engine(|mut setup| {
        setup.config.connections_max = 4;
        let (running, address) = start(setup.config, echo);
        let mut held = Vec::new();
        while let Ok(connection) = block_on(running.connect(server).into_future()) {
            held.push(connection);
        }
        // A listener can keep a slot for its next client.
        assert!((3..=4).contains(&held.len()), "{} connections", held.len());
        let mut clients: Vec<_> = (0..3).map(|_| crate::support::connect(address)).collect();
        assert!(total(&running).connections <= 4);
        for client in &mut clients {
            held.pop();
            check_echo(client, b"hello");
            assert!(total(&running).connections <= 4);
        }
        drop((clients, held));
        wait_until("all to end", || total(&running).connections == 0);
        finish(running);
    });
}

/// A failed attempt frees the room that was kept for it: the client that waits for it is accepted.
#[test]
fn an_attempt_that_fails_gives_its_room_to_a_client() {
    let full = FullListener::new();
    on_every_engine(|mut setup| {
        setup.config.connections_max = 2;
        let (running, address) = start(setup.config, echo);
        let begun = Progress::<bool>::default();
        let attempt = {
            let begins = begun.clone();
            let connect = running.connect(full.address).timeout(std::time::Duration::from_millis(200));
            let connect = connect.socket_options(move |_| {
                begins.update(|begun| *begun = true);
                Ok(())
            });
            std::thread::spawn(move || block_on(connect.into_future()).map(drop))
        };
        begun.wait("the attempt to begin", |begun| begun.then_some(()));
        let mut first = crate::support::connect(address);
        check_echo(&mut first, b"hello");
        let mut second = crate::support::connect(address);
        check_echo(&mut second, b"hello");
        assert!(attempt.join().unwrap().is_err());
        drop((first, second));
        finish(running);
    });
}

/// Thousands of connections, one after the other, leave no descriptor, and no slot either: there are only a few.
#[test]
fn thousands_of_connections_in_turn_leave_no_descriptor() {
    const NAME: &str = "connect::limits::thousands_of_connections_in_turn_leave_no_descriptor";
    child::in_child(NAME, || {
        let address = echo_server();
        on_every_engine(|mut setup| {
            setup.config.connections_max = 50;
            let running = client(setup);
            let before = open_files();
            let task = running.spawn(move || async move {
                for number in 0..600 {
                    let mut connection = loop {
                        match connect(address).await {
                            Ok(connection) => break connection,
                            // Connections that end have their slots until their servers have ended too.
                            Err(ConnectError::LimitReached) => worker_round().await,
                            Err(error) => panic!("{error}"),
                        }
                    };
                    check_echo_of(&mut connection, pattern(number % 7 + 1)).await;
                    if number % 3 == 0 {
                        connection.abort();
                    }
                }
            });
            block_on(task).unwrap();
            wait_until("all to end", || total(&running).connections == 0);
            assert!(total(&running).connected_total >= 600);
            wait_until("the descriptors to be closed", || open_files() <= before);
            finish(running);
        });
    });
}

/// Opens connections from several local addresses and returns those that are held, once all are open.
fn hold(running: &Running, server: SocketAddr, count: usize) -> Arc<AtomicUsize> {
    let echoed = Arc::new(AtomicUsize::new(0));
    for number in 0..count {
        let local = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + (number % 10) as u8), 0));
        let echoed = Arc::clone(&echoed);
        running.connect(server).local_address(local).start(move |connected| async move {
            let mut connection = connected.unwrap();
            check_echo_of(&mut connection, pattern(number % 50 + 1)).await;
            echoed.fetch_add(1, Ordering::Relaxed);
            let _ = connection.receive().await;
        });
    }
    echoed
}

/// The open-file limit bounds direct descriptors per ring, not per process: of clients too.
#[test]
fn one_process_holds_more_connections_than_it_may_open_files() {
    const NAME: &str = "connect::limits::one_process_holds_more_connections_than_it_may_open_files";
    const OPEN_FILES_MAX: usize = 500;
    const COUNT: usize = 1200;
    if !child::is_child(NAME) {
        let mut child = child::Child::start(NAME, Some(OPEN_FILES_MAX));
        println!("{}", child.answer());
        return child.finish();
    }
    for placement in [HandlerPlacement::SameCore, HandlerPlacement::Inline] {
        let config = Config::default().engine(EngineKind::Uring).workers(3).pin(false).placement(placement);
        let running = Engine::client(config.clone()).unwrap();
        if !running.summary().contains("direct-descriptors") {
            child::answer("not tested: this kernel has no direct descriptors");
            return;
        }
        let (server, address) = start(config, echo);
        let echoed = hold(&running, address, COUNT);
        wait_until("every echo", || echoed.load(Ordering::Relaxed) == COUNT);
        assert_eq!((total(&running).connections, total(&server).connections), (COUNT as u64, COUNT as u64));
        assert!(open_files() < OPEN_FILES_MAX / 4, "{} open files", open_files());
        server.shutdown(Shutdown::immediate());
        wait_until("the clients to see their servers end", || total(&running).connections == 0);
        finish(running);
    }
    child::answer("tested");
}

/// Without a free descriptor, direct descriptors go on, and regular ones fail until there is one again.
#[test]
fn descriptors_that_run_out_are_a_limit() {
    const NAME: &str = "connect::limits::descriptors_that_run_out_are_a_limit";
    if !child::is_child(NAME) {
        return child::Child::start(NAME, Some(300)).finish();
    }
    // Its queue takes the connections; accepting them would need descriptors.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    on_every_engine(|setup| {
        let running = client(setup);
        let direct = running.summary().contains("direct-descriptors");
        let open = || block_on(running.connect(address).into_future());
        // Whatever opens a file on first use has done so.
        open().unwrap().abort();
        wait_until("it to end", || total(&running).connections == 0);
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        let local = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
        let connected = [open(), block_on(running.connect(address).local_address(local).into_future())];
        for connected in connected {
            match connected {
                Ok(connection) => {
                    assert!(direct);
                    let unknown = connection.local_addr().ip().unwrap();
                    assert!(unknown.ip().is_unspecified() && unknown.port() == 0, "{unknown}");
                    connection.abort();
                }
                Err(error) => assert!(!direct && matches!(error, ConnectError::LimitReached), "{error}"),
            }
        }
        files.clear();
        let again = open().unwrap();
        assert!(again.local_addr().ip().unwrap().port() > 0);
        again.abort();
        finish(running);
    });
}
