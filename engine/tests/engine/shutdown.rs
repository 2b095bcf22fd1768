//! Graceful shutdown: every connection is notified, work in progress is finished, the rest is reset and counted.

use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_engine::{
    CloseCause, Config, Connection, ReceiveError, Running, RunningHandle, SendError, Shutdown, block_on,
};

use crate::support::*;

pub const FAREWELL: &[u8] = b"going away";

/// Returns a shutdown with this drain timeout.
fn draining_for(drain_timeout: Duration) -> Shutdown {
    Shutdown::default().drain_timeout(drain_timeout)
}

/// Returns a shutdown that waits for its connections longer than a test lasts.
pub fn patient() -> Shutdown {
    draining_for(Duration::from_secs(3600))
}

/// Connects `count` clients and waits until the engine has accepted all.
fn connect_all(running: &Running, address: SocketAddr, count: u64) -> Vec<TcpStream> {
    let clients = (0..count).map(|_| connect(address)).collect();
    wait_until("the connections", || total(running).connections == count);
    clients
}

/// Asserts that the connection was reset, after reading its remaining bytes.
fn assert_reset(client: &mut TcpStream) {
    let error = client.read_to_end(&mut Vec::new()).expect_err("a reset, not an orderly end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn handlers_that_never_end_are_notified_then_reset() {
    on_every_engine(|setup| {
        let ready = Progress::<u32>::default();
        let count = ready.clone();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let count = count.clone();
            async move {
                connection.set_farewell(FAREWELL);
                count.update(|count| *count += 1);
                pending::<()>().await;
                drop(connection);
            }
        });
        let mut clients = connect_all(&running, address, 8);
        ready.wait("the farewells", |count| (*count == 8).then_some(()));
        let shutdown = draining_for(Duration::from_millis(200));
        let end = thread::spawn(move || running.shutdown(shutdown));
        for client in &mut clients {
            assert_eq!(read_exact(client, FAREWELL.len()), FAREWELL);
        }
        for client in &mut clients {
            assert_reset(client);
        }
        let report = end.join().unwrap();
        assert_eq!((report.drained, report.forced), (0, 8));
    });
}

/// A handler that checks for the shutdown finishes its work in progress.
#[test]
fn work_in_progress_is_finished() {
    on_every_engine(|setup| {
        let ready = Progress::<u32>::default();
        let count = ready.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            assert!(!connection.is_draining());
            count.update(|count| *count += 1);
            async move {
                std::future::poll_fn(|cx| connection.poll_draining(cx)).await;
                assert!(connection.is_draining());
                // The rest of the request is still in transit.
                assert_eq!(&connection.receive().await.unwrap().unwrap()[..], b"rest");
                connection.sender().send(pattern(300_000)).await.unwrap();
            }
        });
        let mut clients = connect_all(&running, address, 8);
        ready.wait("the handlers", |count| (*count == 8).then_some(()));
        let handle = running.handle();
        handle.begin_shutdown(patient());
        for client in &mut clients {
            client.write_all(b"rest").unwrap();
            assert!(read_all(client) == pattern(300_000));
        }
        drop(clients);
        let report = running.join();
        assert_eq!((report.drained, report.forced), (8, 0));
    });
}

/// The shutdown wakes a handler that waits for bytes, and sends after the farewell are refused.
#[test]
fn nothing_follows_the_farewell() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            connection.set_farewell(FAREWELL);
            connection.sender().send(&b"before, "[..]).await.unwrap();
            std::future::poll_fn(|cx| connection.poll_draining(cx)).await;
            assert_eq!(connection.sender().try_send(&b"after"[..]), Err(SendError::Finished));
        });
        let mut clients = connect_all(&running, address, 4);
        for client in &mut clients {
            assert_eq!(read_exact(client, 8), b"before, ");
        }
        running.handle().begin_shutdown(patient());
        for client in &mut clients {
            assert_eq!(read_all(client), FAREWELL);
        }
        drop(clients);
        assert_eq!(running.join().drained, 4);
    });
}

/// While old connections drain, new ones are refused at once instead of left waiting.
#[test]
fn new_connections_are_refused() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, echo);
        let mut client = connect_all(&running, address, 1).remove(0);
        running.handle().begin_shutdown(patient());
        wait_until("the listener to close", || match TcpStream::connect(address) {
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        });
        check_echo(&mut client, b"still served");
        drop(client);
        running.join();
    });
}

#[test]
fn a_spread_notifies_connections_one_after_the_other() {
    const SPREAD: Duration = Duration::from_millis(200);
    on_every_engine(|setup| {
        let notified = Progress::<Vec<Duration>>::default();
        let (note, began) = (notified.clone(), Progress::<Option<Instant>>::default());
        let begin = began.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (note, begin) = (note.clone(), begin.clone());
            async move {
                std::future::poll_fn(|cx| connection.poll_draining(cx)).await;
                let began = begin.wait("the begin", |began| *began);
                note.update(|notified| notified.push(began.elapsed()));
            }
        });
        let mut clients = connect_all(&running, address, 10);
        began.update(|began| *began = Some(Instant::now()));
        running.handle().begin_shutdown(patient().spread(SPREAD));
        let mut times =
            notified.wait("all to be notified", |notified| (notified.len() == 10).then(|| notified.clone()));
        times.sort();
        // The n-th of ten is notified when n tenths of the spread have passed, and not before.
        for (number, at) in (1..).zip(&times) {
            assert!(*at + SPREAD / 10 >= SPREAD * number / 10, "{number} of 10 at {at:?}");
        }
        clients.iter_mut().for_each(|client| assert_eq!(read_all(client), b""));
        drop(clients);
        assert_eq!(running.join().drained, 10);
    });
}

#[test]
fn a_second_call_shortens_the_deadline_and_a_third_counts_no_connection_twice() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            while let Ok(Some(_)) = connection.receive().await {}
        });
        let mut clients = connect_all(&running, address, 8);
        let handle = running.handle();
        handle.begin_shutdown(patient());
        for _ in 0..3 {
            handle.begin_shutdown(Shutdown::immediate());
        }
        // A later request for more time has no effect.
        handle.begin_shutdown(patient());
        clients.iter_mut().for_each(assert_reset);
        let report = running.join();
        assert_eq!((report.drained, report.forced), (0, 8));
    });
}

#[test]
fn a_forced_connection_learns_why() {
    on_every_engine(|setup| {
        let ends = Progress::<Option<ReceiveError>>::default();
        let end = ends.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let end = end.clone();
            async move {
                let error = connection.receive().await.expect_err("the shutdown");
                end.update(|end| *end = Some(error));
            }
        });
        let clients = connect_all(&running, address, 1);
        assert_eq!(running.shutdown(Shutdown::immediate()).forced, 1);
        assert_eq!(ends.wait("the end", |end| *end), ReceiveError::Closed(CloseCause::Shutdown));
        drop(clients);
    });
}

/// Connections accepted during an immediate shutdown are ended too.
#[test]
fn an_immediate_shutdown_ends_although_clients_keep_coming() {
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        for _ in 0..5 {
            let (running, address) = start(setup.config.clone(), echo);
            thread::scope(|scope| {
                let mut kept = vec![connect(address)];
                let coming = scope.spawn(move || {
                    while let Ok(client) = TcpStream::connect(address) {
                        kept.push(client);
                        if kept.len() == 1000 {
                            break;
                        }
                    }
                    kept
                });
                wait_until("some connections", || total(&running).accepted_total >= 20);
                running.shutdown(Shutdown::immediate());
                drop(coming.join().unwrap());
            });
        }
    });
}

/// A handler can shut down the engine it runs on.
#[test]
fn a_handler_can_begin_the_shutdown() {
    on_every_engine(|setup| {
        let handle = Progress::<Option<RunningHandle>>::default();
        let ours = handle.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let handle = ours.clone();
            async move {
                let _ = connection.receive().await;
                handle.wait("the handle", Option::take).begin_shutdown(patient());
                std::future::poll_fn(|cx| connection.poll_draining(cx)).await;
                connection.sender().send(&b"bye"[..]).await.unwrap();
            }
        });
        handle.update(|handle| *handle = Some(running.handle()));
        let mut client = connect(address);
        client.write_all(b"quit").unwrap();
        assert_eq!(read_all(&mut client), b"bye");
        drop(client);
        let report = running.join();
        assert_eq!((report.drained, report.forced), (1, 0));
    });
}

/// Waits until SIGTERM is caught: the fifteenth of the bits of caught signals.
pub fn wait_for_signal_handler() {
    wait_until("the signal handler", || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (signal_hook::consts::SIGTERM - 1)) != 0
    });
}

#[test]
fn sigterm_says_farewell_and_a_second_one_resets() {
    child::in_child("shutdown::sigterm_says_farewell_and_a_second_one_resets", || {
        let config = Config::default().workers(2);
        let (running, address) = start(config, |mut connection: Connection| async move {
            connection.set_farewell(FAREWELL);
            while let Ok(Some(chunk)) = connection.receive().await {
                let _ = connection.sender().try_send(chunk.into_vec());
            }
        });
        let clients = thread::spawn(move || {
            let (mut leaving, mut staying) = (connect(address), connect(address));
            check_echo(&mut leaving, b"before");
            check_echo(&mut staying, b"before");
            wait_for_signal_handler();
            signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
            assert_eq!(read_exact(&mut leaving, FAREWELL.len()), FAREWELL);
            assert_eq!(read_exact(&mut staying, FAREWELL.len()), FAREWELL);
            drop(leaving);
            signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
            assert_reset(&mut staying);
        });
        let report = running.run_until_signal(Shutdown::default()).unwrap();
        clients.join().unwrap();
        assert_eq!(report.drained + report.forced, 2);
        assert!(report.forced >= 1, "{report:?}");
    });
}

/// A farewell set during the shutdown ends the queue, so a task that waits for space in it learns so at once and not at
/// the drain deadline.
#[test]
fn a_farewell_set_during_the_shutdown_wakes_waiting_senders() {
    on_every_engine(|mut setup| {
        setup.config.outbound.bytes_high = 64 * 1024;
        setup.config.outbound.bytes_low = 16 * 1024;
        let ends = Progress::<Option<SendError>>::default();
        let end = ends.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let end = end.clone();
            async move {
                let sender = connection.sender().clone();
                let waiting = thread::spawn(move || {
                    let error = loop {
                        if let Err(error) = block_on(sender.send(pattern(10_000))) {
                            break error;
                        }
                    };
                    end.update(|end| *end = Some(error));
                });
                std::future::poll_fn(|cx| connection.poll_draining(cx)).await;
                connection.set_farewell(FAREWELL);
                pending::<()>().await;
                drop((connection, waiting));
            }
        });
        let client = connect(address);
        wait_until("a full queue", || is_stuck(&running));
        running.handle().begin_shutdown(patient());
        assert_eq!(ends.wait("the sender", |end| *end), SendError::Finished);
        running.handle().begin_shutdown(Shutdown::immediate());
        drop(client);
        running.join();
    });
}

/// Returns whether what was handed to the kernel stays the same for a while: the peer does not read.
fn is_stuck(running: &Running) -> bool {
    let before = total(running);
    for _ in 0..1000 {
        thread::yield_now();
    }
    let after = total(running);
    after.sent_bytes_total > 0
        && (before.sent_bytes_total, before.sends_total) == (after.sent_bytes_total, after.sends_total)
}
