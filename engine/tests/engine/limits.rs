//! Limits: more connections than open files, full tables, descriptors that run out. No connection is dropped, and all
//! recover.

use std::fs::File;
use std::io::Write;
use std::net::{Shutdown as Half, SocketAddr, TcpStream};
use std::thread;

use tidegate_engine::{Config, Connection, EngineKind, HandlerPlacement, Running};

use crate::support::*;

/// Runs an echo server in a child that prints its summary and address, and its counters on request.
fn serve_in_child(config: Config) {
    let (running, address) = start(config, echo);
    answer_from_child(running, address);
}

/// In a child: says where the engine listens, and answers the parent with its counters.
fn answer_from_child(running: Running, address: SocketAddr) {
    child::answer(running.summary());
    child::answer(address);
    child::serve(|_| {
        let stats = total(&running);
        let counters = [stats.connections, stats.accepted_total, stats.accept_pauses_total, stats.ticks_total];
        counters.map(|counter| counter.to_string()).join(" ")
    });
    // The parent has dropped its clients.
    finish(running);
}

/// Returns a child's numbers of connections, accepted connections, accept pauses and ticks.
fn ask_stats(child: &mut child::Child) -> [u64; 4] {
    let numbers: Vec<u64> = child.ask("stats").split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Checks each client with a different message.
fn check_each(clients: &mut [TcpStream]) {
    let bytes = |number: usize| format!("client {number}").into_bytes();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&bytes(number)).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(read_exact(client, bytes(number).len()), bytes(number));
    }
}

/// The open-file limit bounds direct descriptors per ring, not per process.
#[test]
fn three_rings_hold_more_connections_than_the_process_may_open_files() {
    const NAME: &str = "limits::three_rings_hold_more_connections_than_the_process_may_open_files";
    const OPEN_FILES_MAX: usize = 2000;
    if child::is_child(NAME) {
        let config = Config::default().engine(EngineKind::Uring).workers(3).pin(false);
        return serve_in_child(config);
    }
    let mut child = child::Child::start(NAME, Some(OPEN_FILES_MAX));
    let summary = child.answer();
    let address: SocketAddr = child.answer().parse().unwrap();
    if summary.contains("direct-descriptors") {
        assert!(summary.contains("connections_max=6000"), "{summary}");
        let mut clients: Vec<_> = (0..2400).map(|_| connect(address)).collect();
        wait_until("more connections than files", || ask_stats(&mut child)[0] == clients.len() as u64);
        assert!(clients.len() > OPEN_FILES_MAX);
        check_each(&mut clients);
    } else {
        println!("not tested: this kernel has no direct descriptors");
    }
    child.finish();
}

/// Opens `count` clients, of which few can be served at once, and checks that all are served in turn.
fn check_full_table(setup: Setup, count: usize) {
    let connections_max = setup.config.connections_max;
    let (running, address) = start(setup.config, echo);
    let mut clients: Vec<_> = (0..count).map(|_| connect(address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(number + 1)).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(read_exact(client, number + 1), pattern(number + 1), "client {number} of {count}");
        assert!(total(&running).connections <= connections_max as u64);
        client.shutdown(Half::Write).unwrap();
        assert_eq!(read_all(client), b"");
    }
    drop(clients);
    let stats = total(&running);
    assert_eq!((stats.accepted_total, stats.failed_total), (count as u64, 0));
    assert!(stats.accept_pauses_total > 0);
    finish(running);
}

#[test]
fn clients_beyond_a_full_table_wait_their_turn() {
    on_every_engine(|mut setup| {
        setup.config.connections_max = 8;
        check_full_table(setup, 50);
    });
}

/// With a short queue of completed connections multishot accepts fill the table first.
#[test]
fn a_multishot_accept_stops_in_time() {
    on_every_engine(|mut setup| {
        setup.config.connections_max = 64;
        setup.config.backlog = 32;
        check_full_table(setup, 90);
    });
}

/// Several queues of completed connections can fill the table before the worker reacts.
#[test]
fn several_listeners_do_not_overfill_the_table() {
    on_every_engine(|mut setup| {
        if setup.config.placement != HandlerPlacement::Inline {
            // Only an inline handler can delay the worker until all clients have connected.
            return;
        }
        setup.config.connections_max = 64;
        setup.config.backlog = 32;
        let (held, let_go) = (Progress::<bool>::default(), Progress::<bool>::default());
        let (holds, wait) = (held.clone(), let_go.clone());
        let handler = move |mut connection: Connection| {
            let (holds, wait) = (holds.clone(), wait.clone());
            async move {
                let Ok(Some(first)) = connection.receive().await else { return };
                if &first[..] == b"hold" {
                    holds.update(|held| *held = true);
                    wait.wait("all the clients", |let_go| let_go.then_some(()));
                }
                connection.sender().send(first.into_vec()).await.unwrap();
                echo(connection).await;
            }
        };
        let engine = tidegate_engine::Engine::new(setup.config).bind("127.0.0.1:0").unwrap();
        let running = engine.bind("127.0.0.1:0").unwrap().start(handler).unwrap();
        let addresses: Vec<_> = running.local_addrs().iter().map(|address| address.ip().unwrap()).collect();
        let mut first = connect(addresses[0]);
        first.write_all(b"hold").unwrap();
        held.wait("the worker to be held up", |held| held.then_some(()));
        // With the first client as many as there are slots, minus the one reserved for the other listener.
        let mut clients: Vec<_> = (0..62).map(|number| connect(addresses[number % 2])).collect();
        for client in &mut clients {
            client.write_all(b"hello").unwrap();
        }
        let_go.update(|let_go| *let_go = true);
        assert_eq!(read_exact(&mut first, 4), b"hold");
        drop(first);
        for client in &mut clients {
            assert_eq!(read_exact(client, 5), b"hello");
        }
        drop(clients);
        finish(running);
    });
}

/// Checks that accepting pauses when the process's descriptors run out, and recovers.
fn check_descriptors_run_out(name: &str, change: fn(&mut Config)) {
    if child::is_child(name) {
        let mut config = Config::default().workers(1).pin(false);
        change(&mut config);
        // The engine counts on descriptors that the application then takes.
        let (running, address) = start(config, echo);
        let _taken: Vec<_> = (0..20).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        return answer_from_child(running, address);
    }
    let mut child = child::Child::start(name, Some(64));
    let _summary = child.answer();
    let address: SocketAddr = child.answer().parse().unwrap();
    let mut clients: Vec<_> = (0..60).map(|_| connect(address)).collect();
    wait_until("accepting to pause", || ask_stats(&mut child)[2] > 0);
    let [connections, accepted, ..] = ask_stats(&mut child);
    assert!(connections < 64 && connections > 0);
    // Open connections continue.
    check_echo(&mut clients[0], b"still served");
    // The served clients leave, and all waiting clients are served.
    let mut waiting = clients.split_off(accepted as usize);
    drop(clients);
    let mut also_waiting = waiting.split_off(waiting.len().saturating_sub(1));
    check_each(&mut waiting);
    drop(waiting);
    check_each(&mut also_waiting);
    drop(also_waiting);
    wait_until("all to be served", || ask_stats(&mut child)[..2] == [0, 60]);
    child.finish();
}

#[test]
fn the_portable_engine_recovers_from_a_lack_of_descriptors() {
    check_descriptors_run_out("limits::the_portable_engine_recovers_from_a_lack_of_descriptors", |config| {
        config.engine = EngineKind::Portable;
    });
}

/// Checks that of 200 clients as many are served as there are descriptors, that the others wait at no cost, and that
/// all are served as clients leave.
fn check_two_hundred_clients(name: &str, taken: usize) {
    if child::is_child(name) {
        let config = Config::default().engine(EngineKind::Portable).workers(1).pin(false);
        let (running, address) = start(config, echo);
        let _taken: Vec<_> = (0..taken).map(|_| File::open("/dev/null").unwrap()).collect();
        return answer_from_child(running, address);
    }
    let mut child = child::Child::start(name, Some(64));
    let _summary = child.answer();
    let address: SocketAddr = child.answer().parse().unwrap();
    let mut clients: Vec<_> = (0..200).map(|_| connect(address)).collect();
    wait_until("accepting to pause", || ask_stats(&mut child)[2] > 0);
    let [connections, accepted, _, ticks] = ask_stats(&mut child);
    assert!((20..60).contains(&connections) && accepted == connections, "{connections} of {accepted}");
    // A worker that tried again and again would tick as often as this thread asks, or more.
    for _ in 0..1000 {
        assert_eq!(ask_stats(&mut child)[..2], [connections, accepted]);
    }
    let idle = ask_stats(&mut child)[3] - ticks;
    assert!(idle <= 100, "{idle} ticks while nothing can happen");
    while !clients.is_empty() {
        let mut served: Vec<_> = clients.drain(..clients.len().min(10)).collect();
        check_each(&mut served);
    }
    wait_until("all to be served", || ask_stats(&mut child)[..2] == [0, 200]);
    child.finish();
}

#[test]
fn two_hundred_clients_take_turns_with_64_descriptors() {
    check_two_hundred_clients("limits::two_hundred_clients_take_turns_with_64_descriptors", 0);
}

#[test]
fn two_hundred_clients_take_turns_with_descriptors_that_the_application_took() {
    let name = "limits::two_hundred_clients_take_turns_with_descriptors_that_the_application_took";
    check_two_hundred_clients(name, 20);
}

#[test]
fn a_ring_with_regular_descriptors_recovers_from_a_lack_of_them() {
    check_descriptors_run_out("limits::a_ring_with_regular_descriptors_recovers_from_a_lack_of_them", |config| {
        config.engine = EngineKind::Uring;
        config.uring.direct_descriptors = false;
    });
}

/// A ring with direct descriptors uses no descriptors of the process: it accepts, answers and closes in order without
/// any.
#[test]
fn direct_descriptors_need_no_regular_ones() {
    const NAME: &str = "limits::direct_descriptors_need_no_regular_ones";
    if !child::is_child(NAME) {
        let mut child = child::Child::start(NAME, Some(64));
        for address in [child.answer(), child.answer()] {
            let address: SocketAddr = address.parse().unwrap();
            let mut clients: Vec<_> = (0..20).map(|_| connect(address)).collect();
            for client in &mut clients {
                let sent = format!("from {}", client.local_addr().unwrap());
                client.write_all(sent.as_bytes()).unwrap();
                assert_eq!(String::from_utf8(read_all(client)), Ok(sent));
            }
        }
        return child.finish();
    }
    let config = Config::default().engine(EngineKind::Uring).workers(1).pin(false);
    let engine = tidegate_engine::Engine::new(config).bind("127.0.0.1:0").unwrap();
    let running = engine.bind("0.0.0.0:0").unwrap().start(say_peer_then_close).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    for address in running.local_addrs() {
        child::answer(format!("127.0.0.1:{}", address.ip().unwrap().port()));
    }
    child::serve(|_| String::new());
    drop(files);
    finish(running);
}

/// Answers with the peer's address once the peer has sent something, and closes. The peer waits for that.
async fn say_peer_then_close(mut connection: Connection) {
    let _ = connection.receive().await;
    let peer = connection.peer_addr();
    connection.sender().send(format!("from {peer}")).await.unwrap();
}

/// Clients that come and go quickly while the table is nearly full are all served.
#[test]
fn a_nearly_full_table_serves_a_rush() {
    on_every_engine(|mut setup| {
        setup.config.connections_max = 40;
        setup.config.backlog = 16;
        let (running, address): (Running, _) = start(setup.config, echo);
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for round in 0..20 {
                        check_echo(&mut connect(address), &pattern(100 + round));
                    }
                });
            }
        });
        wait_until("all to be closed", || total(&running).connections == 0);
        assert_eq!(total(&running).accepted_total, 320);
        finish(running);
    });
}
