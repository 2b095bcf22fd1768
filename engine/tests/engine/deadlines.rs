//! Deadlines and sleeps: their effects, and that none fires before its time.

use std::io::Write;
use std::net::{Shutdown as Half, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_engine::{CloseCause, Connection, ReceiveError, Running, SendError, block_on, time};

use crate::support::*;

/// Long enough to be noticed, short enough to repeat.
const SHORT: Duration = Duration::from_millis(40);
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);

/// A value that a handler reports once.
type Report<T> = Progress<Option<T>>;

#[test]
fn a_read_deadline_leaves_the_connection_usable() {
    on_every_engine(|setup| {
        let report = Report::<bool>::default();
        let passed = report.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let passed = passed.clone();
            async move {
                for _ in 0..3 {
                    let deadline = Instant::now() + SHORT;
                    connection.set_read_deadline(Some(deadline));
                    assert_eq!(connection.receive().await.err(), Some(ReceiveError::Deadline));
                    assert!(Instant::now() >= deadline, "fired before its deadline");
                    // It stays expired until another one is set.
                    assert_eq!(connection.receive().await.err(), Some(ReceiveError::Deadline));
                }
                connection.set_read_deadline(None);
                passed.update(|passed| *passed = Some(true));
                echo(connection).await;
            }
        });
        let mut client = connect(address);
        report.wait("the deadlines", |passed| *passed);
        check_echo(&mut client, b"still here");
        drop(client);
        finish(running);
    });
}

/// Bytes that arrived in time are received even after the deadline.
#[test]
fn an_expired_read_deadline_withholds_no_bytes() {
    on_every_engine(|setup| {
        let gate = Inbox::<()>::default();
        let wait = gate.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let wait = wait.clone();
            async move {
                connection.set_read_deadline(Some(Instant::now()));
                wait.next().await;
                let mut bytes = Vec::new();
                let end = loop {
                    match connection.receive().await {
                        Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                        end => break end.map(|_| ()),
                    }
                };
                assert_eq!(end, Err(ReceiveError::Deadline));
                connection.sender().send(bytes).await.unwrap();
            }
        });
        let mut client = connect(address);
        client.write_all(&pattern(10_000)).unwrap();
        wait_until("the bytes to arrive", || total(&running).received_bytes_total == 10_000);
        gate.close();
        assert!(read_all(&mut client) == pattern(10_000));
        drop(client);
        finish(running);
    });
}

/// A heartbeat: each message renews the deadline, and the old one does not fire.
#[test]
fn a_renewed_read_deadline_replaces_the_old_one() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            let timer = connection.timer();
            for _ in 0..3 {
                let deadline = Instant::now() + SHORT;
                connection.set_read_deadline(Some(deadline));
                connection.set_read_deadline(Some(Instant::now() + LONG));
                timer.sleep_until(deadline + SHORT).await;
                // The client sends only now.
                connection.sender().send(&b"?"[..]).await.unwrap();
                assert_eq!(&connection.receive().await.unwrap().unwrap()[..], b"!");
            }
            // Earlier than the armed timer.
            connection.set_read_deadline(Some(Instant::now() + SHORT));
            assert_eq!(connection.receive().await.err(), Some(ReceiveError::Deadline));
            connection.sender().send(&b"done"[..]).await.unwrap();
        });
        let mut client = connect(address);
        for _ in 0..3 {
            assert_eq!(read_exact(&mut client, 1), b"?");
            client.write_all(b"!").unwrap();
        }
        assert_eq!(read_all(&mut client), b"done");
        drop(client);
        finish(running);
    });
}

/// The result of receiving, and the time since the connection began.
type End = (Result<(), ReceiveError>, Duration);

/// Starts an engine whose handler receives to the end and reports that with the lifetime of the connection.
fn start_and_report(
    setup: Setup,
    prepare: impl Fn(&Connection) + Send + Sync + 'static,
) -> (Running, SocketAddr, Report<End>) {
    let report = Report::default();
    let end = report.clone();
    let (running, address) = start(setup.config, move |mut connection: Connection| {
        let (end, began) = (end.clone(), Instant::now());
        prepare(&connection);
        async move {
            let result = loop {
                match connection.receive().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            if let Err(ReceiveError::Closed(cause)) = result {
                assert_eq!(connection.sender().try_send(&b"x"[..]), Err(SendError::Closed(cause)));
            }
            end.update(|end| *end = Some((result, began.elapsed())));
        }
    });
    (running, address, report)
}

#[test]
fn an_idle_connection_ends_at_its_timeout() {
    on_every_engine(|mut setup| {
        setup.config.idle_timeout = Some(SHORT);
        let (running, address, report) = start_and_report(setup, |_| {});
        let mut client = connect(address);
        let (result, _) = report.wait("the end", |end| *end);
        assert_eq!(result, Err(ReceiveError::Closed(CloseCause::IdleTimeout)));
        let error = std::io::Read::read(&mut client, &mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        wait_until("the close", || total(&running).connections == 0);
        assert_eq!(total(&running).failed_total, 1);
        finish(running);
    });
}

/// An idle timeout set by the handler overrides the configured one in both directions, and counts from the last bytes.
#[test]
fn an_idle_timeout_is_the_connections_own() {
    on_every_engine_at_once(|mut setup| {
        // Longer than a busy machine keeps a handler from its first poll.
        setup.config.idle_timeout = Some(Duration::from_secs(3));
        let connections = AtomicUsize::new(0);
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if !is_first {
                    let _ = connection.receive().await;
                    return;
                }
                connection.set_idle_timeout(None);
                connection.sender().send(&b"no timeout"[..]).await.unwrap();
                let received = connection.receive().await.unwrap();
                assert!(received.is_some());
                let began = Instant::now();
                connection.set_idle_timeout(Some(2 * SHORT));
                assert_eq!(connection.receive().await.err(), Some(ReceiveError::Closed(CloseCause::IdleTimeout)));
                // The bytes arrived before they were received, and the worker's clock can lag by a tick.
                assert!(began.elapsed() + 2 * time::GRANULARITY >= 2 * SHORT - SHORT / 2, "fired long before its time");
            }
        });
        let mut client = connect(address);
        assert_eq!(read_exact(&mut client, 10), b"no timeout");
        // The configured timeout passes for a later connection.
        let other = connect(address);
        wait_until("the end of the other", || total(&running).failed_total == 1);
        client.write_all(b"x").unwrap();
        wait_until("the end", || total(&running).failed_total == 2);
        drop((client, other));
        finish(running);
    });
}

/// Starts an engine that serves the first connection with `serve`. Later ones are silent and have an idle timeout of
/// [`SHORT`].
fn start_with_idle_others<F: Future<Output = ()> + 'static>(
    setup: Setup,
    serve: impl Fn(Connection) -> F + Send + Sync + 'static,
) -> (Running, SocketAddr) {
    let (connections, serve) = (AtomicUsize::new(0), Arc::new(serve));
    start(setup.config, move |mut connection: Connection| {
        let is_first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        let serve = Arc::clone(&serve);
        async move {
            if is_first {
                return serve(connection).await;
            }
            connection.set_idle_timeout(Some(SHORT));
            assert_eq!(connection.receive().await.err(), Some(ReceiveError::Closed(CloseCause::IdleTimeout)));
        }
    })
}

/// Returns once an idle timeout that is set now has passed, and so one of the same worker that was set before.
fn let_an_idle_timeout_pass(running: &Running, address: SocketAddr) {
    let other = connect(address);
    wait_until("the end of another connection", || total(running).failed_total == 1);
    drop(other);
}

/// Time during which receiving is paused for backpressure does not count as idle.
#[test]
fn a_paused_connection_is_not_idle() {
    on_every_engine(|mut setup| {
        setup.config.inbound.bytes_high = 1000;
        setup.config.inbound.bytes_low = 100;
        let (paused, passed) = (Report::<()>::default(), Inbox::<()>::default());
        let (report, gate) = (paused.clone(), passed.clone());
        let (running, address) = start_with_idle_others(setup, move |mut connection| {
            let (report, gate) = (report.clone(), gate.clone());
            async move {
                while !connection.is_paused() {
                    worker_round().await;
                }
                connection.set_idle_timeout(Some(SHORT));
                report.update(|paused| *paused = Some(()));
                gate.next().await;
                connection.set_idle_timeout(None);
                let mut bytes = 0;
                while let Some(chunk) = connection.receive().await.unwrap() {
                    bytes += chunk.len();
                }
                assert_eq!(bytes, 20_000);
            }
        });
        let mut client = connect(address);
        client.write_all(&pattern(20_000)).unwrap();
        client.shutdown(Half::Write).unwrap();
        paused.wait("the pause", |paused| *paused);
        let_an_idle_timeout_pass(&running, address);
        passed.close();
        assert_eq!(read_all(&mut client), b"");
        drop(client);
        wait_until("the end", || total(&running).connections == 0);
        assert_eq!((total(&running).closed_total, total(&running).failed_total), (1, 1));
        finish(running);
    });
}

/// A peer that has finished sending is not idle: it waits for the answer.
#[test]
fn a_peer_that_waits_for_its_answer_is_not_idle() {
    on_every_engine(|setup| {
        let (waiting, passed) = (Report::<()>::default(), Inbox::<()>::default());
        let (report, gate) = (waiting.clone(), passed.clone());
        let (running, address) = start_with_idle_others(setup, move |mut connection| {
            let (report, gate) = (report.clone(), gate.clone());
            async move {
                while connection.receive().await.unwrap().is_some() {}
                // Only now, because on a busy machine the client can take long to finish.
                connection.set_idle_timeout(Some(SHORT));
                report.update(|waiting| *waiting = Some(()));
                gate.next().await;
                connection.sender().send(&b"the answer"[..]).await.unwrap();
            }
        });
        let mut client = connect(address);
        client.shutdown(Half::Write).unwrap();
        waiting.wait("the end of the client's stream", |waiting| *waiting);
        let_an_idle_timeout_pass(&running, address);
        passed.close();
        assert_eq!(read_all(&mut client), b"the answer");
        drop(client);
        finish(running);
    });
}

#[test]
fn a_lifetime_ends_however_active_the_connection_is() {
    on_every_engine(|setup| {
        let (running, address, report) =
            start_and_report(setup, |connection| connection.set_lifetime_deadline(Some(Instant::now() + SHORT)));
        let mut client = connect(address);
        while client.write_all(b"busy").is_ok() {}
        let (result, lived) = report.wait("the end", |end| *end);
        assert_eq!(result, Err(ReceiveError::Closed(CloseCause::LifetimeDeadline)));
        assert!(lived >= SHORT, "ended after {lived:?}");
        finish(running);
    });
}

/// Deadlines fire while the handler waits for something else, and wake every waiting sender.
#[test]
fn a_deadline_needs_no_handler() {
    on_every_engine(|setup| {
        let gate = Inbox::<()>::default();
        let wait = gate.clone();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let wait = wait.clone();
            async move {
                connection.set_lifetime_deadline(Some(Instant::now() + SHORT));
                wait.next().await;
                assert_eq!(connection.sender().flush().await, Err(SendError::Closed(CloseCause::LifetimeDeadline)));
            }
        });
        let client = connect(address);
        wait_until("the end", || total(&running).failed_total == 1);
        wait_until("the close", || total(&running).connections == 0);
        gate.close();
        drop(client);
        finish(running);
    });
}

#[test]
fn sleeps_end_in_order_and_never_early() {
    on_every_engine(|setup| {
        let (running, address) = start(setup.config, |mut connection: Connection| async move {
            let began = Instant::now();
            let mut late = std::pin::pin!(time::sleep(3 * SHORT));
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(late.as_mut().poll(cx).is_pending()));
            assert!(polled.await, "the sleep is not over at once");
            time::sleep_until(began + SHORT).await;
            assert!(began.elapsed() >= SHORT);
            late.await;
            assert!(began.elapsed() >= 3 * SHORT);
            time::sleep(Duration::ZERO).await;
            // Most sleeps are timeouts that are dropped early.
            for _ in 0..1000 {
                let mut unneeded = std::pin::pin!(time::sleep(LONG));
                std::future::poll_fn(|cx| {
                    assert!(unneeded.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
            }
            connection.sender().send(&b"slept"[..]).await.unwrap();
            let _ = connection.receive().await;
        });
        let mut client = connect(address);
        assert_eq!(read_exact(&mut client, 5), b"slept");
        drop(client);
        finish(running);
    });
}

/// A timer works on threads outside the engine; the free functions do not.
#[test]
fn a_timer_works_on_any_thread() {
    on_every_engine(|setup| {
        let timers = Report::<time::Timer>::default();
        let give = timers.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            give.update(|timer| *timer = Some(connection.timer()));
            assert!(time::Timer::current().is_some(), "handlers run on the engine's threads");
            async move {
                let _ = connection.receive().await;
            }
        });
        let client = connect(address);
        let timer = timers.wait("the timer", Option::take);
        let began = Instant::now();
        block_on(timer.sleep(SHORT));
        assert!(began.elapsed() >= SHORT);
        assert!(time::Timer::current().is_none(), "this thread is outside the engine");
        drop(client);
        finish(running);
    });
}

#[test]
#[should_panic(expected = "called outside the engine's threads")]
fn a_sleep_outside_the_engine_names_the_alternative() {
    drop(time::sleep(SHORT));
}

/// The process stands still (SIGSTOP) for longer than the idle timeout of peers whose bytes had arrived.
#[test]
fn a_process_that_stood_still_closes_no_peer_whose_bytes_had_arrived() {
    const NAME: &str = "deadlines::a_process_that_stood_still_closes_no_peer_whose_bytes_had_arrived";
    const IDLE: Duration = Duration::from_secs(3);
    if child::is_child(NAME) {
        let (setups, mut running) = (setups(), Vec::new());
        return child::serve(|line| {
            let config = setups[line.parse::<usize>().unwrap()].config.clone();
            let (engine, address) = start(config.idle_timeout(IDLE), echo);
            running.push(engine);
            address.to_string()
        });
    }
    let mut child = child::Child::start(NAME, None);
    let setups = setups();
    let addresses: Vec<SocketAddr> =
        (0..setups.len()).map(|number| child.ask(&number.to_string()).parse().unwrap()).collect();
    let mut clients: Vec<_> = addresses.into_iter().map(connect).collect();
    // On a busy machine the first client can be nearly timed out when the last one has its echo: then once more.
    loop {
        let begun = Instant::now();
        clients.iter_mut().for_each(|client| check_echo(client, b"before"));
        if begun.elapsed() < IDLE / 3 {
            break;
        }
    }
    child.stop();
    for client in &mut clients {
        client.write_all(b"meanwhile").unwrap();
    }
    clients[0].set_read_timeout(Some(IDLE + IDLE / 2)).unwrap();
    assert!(clients[0].peek(&mut [0]).is_err(), "a stopped process does not answer");
    clients[0].set_read_timeout(Some(PATIENCE)).unwrap();
    child.signal("CONT");
    for (client, setup) in clients.iter_mut().zip(&setups) {
        println!("on {}", setup.name);
        assert_eq!(read_exact(client, 9), b"meanwhile");
    }
    drop(clients);
    child.finish();
}

/// Receiving paused for the number of chunks, and the handler took all of them: the peer's silence counts again.
#[test]
fn an_idle_timeout_comes_back_after_a_pause_for_chunks() {
    on_every_engine(|setup| {
        let mut config = setup.config;
        config.inbound.chunks_max = 4;
        config.inbound.bytes_high = 1 << 24;
        let report = Report::<Option<ReceiveError>>::default();
        let ended = report.clone();
        let (running, address) = start(config, move |mut connection: Connection| {
            let ended = ended.clone();
            async move {
                while !connection.is_paused() {
                    worker_round().await;
                }
                // Only now, because a busy machine takes long to connect and to write.
                connection.set_idle_timeout(Some(SHORT));
                connection.timer().sleep(3 * SHORT).await;
                let end = loop {
                    match connection.receive().await {
                        Ok(Some(_)) => {}
                        end => break end.err(),
                    }
                };
                ended.update(|report| *report = Some(end));
            }
        });
        let mut client = connect(address);
        client.write_all(&pattern(100_000)).unwrap();
        let end = report.wait("the idle timeout", |end| *end);
        assert_eq!(end, Some(ReceiveError::Closed(CloseCause::IdleTimeout)));
        drop(client);
        finish(running);
    });
}

/// A peer that takes a batch in many timeouts, but never stops, is slow and not dead. Acknowledged bytes count on every
/// engine.
#[test]
fn a_slow_reader_is_not_a_dead_one() {
    /// Far more than a busy machine keeps a reader from reading, or the kernel waits before it sends a segment again.
    const TIMEOUT: Duration = Duration::from_secs(6);
    /// One batch, which is handed over to the kernel as a whole.
    const BYTES: usize = 400 * 1024;
    std::thread::scope(|scope| {
        for setup in setups() {
            let thread = std::thread::Builder::new().name(setup.name.to_string());
            let serve = move || {
                let ticks = Progress::<usize>::default();
                let ticking = ticks.clone();
                let mut config = setup.config.socket_send_buffer_bytes(Some(16 * 1024));
                config.outbound.bytes_high = BYTES;
                let (running, address) = start(config, move |mut connection: Connection| {
                    let ticking = ticking.clone();
                    async move {
                        connection.set_write_timeout(Some(TIMEOUT));
                        connection.sender().send(numbered(BYTES)).await.unwrap();
                        for _ in 0..60 {
                            time::sleep(TIMEOUT / 20).await;
                            ticking.update(|ticks| *ticks += 1);
                        }
                        assert!(connection.receive().await.is_ok(), "closed by its peer");
                    }
                });
                let mut client = connect(address);
                socket2::SockRef::from(&client).set_recv_buffer_size(32 * 1024).unwrap();
                let mut received = Vec::new();
                for tick in 1..=60 {
                    ticks.wait("the next read", |ticks| (*ticks >= tick).then_some(()));
                    received.extend(read_exact(&mut client, 4096));
                }
                let rest = BYTES - received.len();
                received.extend(read_exact(&mut client, rest));
                assert!(received == numbered(BYTES), "{}: bytes were lost", setup.name);
                drop(client);
                finish(running);
            };
            thread.spawn_scoped(scope, serve).unwrap();
        }
    });
}
