//! The engine in memory, as its clients see it.
#![cfg(all(feature = "testing", not(miri)))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_engine::testing::{PeerEnd, Step, Stuck, TestConfig, TestEngine};
use tidegate_engine::{
    BlockingConnection, CloseCause, Config, Connection, ReceiveError, Shutdown, blocking, connect, time,
};

const SECOND: Duration = Duration::from_secs(1);

async fn echo(mut connection: Connection) {
    while let Ok(Some(chunk)) = connection.receive().await {
        if connection.sender().send(chunk.into_vec()).await.is_err() {
            break;
        }
    }
}

fn start<F: Future<Output = ()> + 'static>(handler: impl Fn(Connection) -> F + Send + Sync + 'static) -> TestEngine {
    TestEngine::start(Config::default(), TestConfig::default(), handler).unwrap()
}

#[test]
fn bytes_are_echoed_and_the_ends_are_seen() {
    let engine = start(echo);
    let mut client = engine.connect();
    assert_eq!(client.write(b"hello"), 5);
    assert_eq!(client.read(), b"hello");
    assert_eq!(client.ended(), None);
    client.finish();
    assert_eq!(client.write(b"more"), 0);
    assert_eq!(client.read(), b"");
    assert_eq!(client.ended(), Some(PeerEnd::Finished));
    drop(client);
    engine.run_until_idle();
    let stats = engine.stats();
    assert_eq!((stats.accepted_total, stats.closed_total, stats.connections), (1, 1, 0));
}

#[test]
fn more_than_a_window_passes_while_the_client_reads() {
    let engine = start(echo);
    let mut client = engine.connect();
    let sent: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let (mut written, mut received) = (0, Vec::new());
    let done = engine.drive(|| {
        let count = client.offer(&sent[written..]);
        written += count;
        match client.take(&mut received) {
            _ if received.len() == sent.len() => Step::Done(()),
            0 if count == 0 => Step::Waiting,
            _ => Step::Again,
        }
    });
    assert_eq!(done, Ok(()));
    assert!(received == sent);
}

/// The handler hears of the reset as it would from a kernel.
#[test]
fn a_reset_is_reported_on_both_sides() {
    let (out, ends) = std::sync::mpsc::channel();
    let engine = start(move |mut connection: Connection| {
        let out = out.clone();
        async move {
            let end = loop {
                match connection.receive().await {
                    Ok(Some(chunk)) if chunk[..] == *b"abort" => return connection.abort(),
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(error) => break error,
                }
            };
            let _ = out.send(end);
        }
    });
    let client = engine.connect();
    engine.run_until_idle();
    client.reset();
    engine.run_until_idle();
    assert_eq!(ends.try_recv(), Ok(ReceiveError::Closed(CloseCause::Reset)));
    let mut client = engine.connect();
    client.write(b"abort");
    assert_eq!(client.ended(), Some(PeerEnd::Reset));
}

#[test]
fn clients_wait_while_there_is_no_place() {
    let engine = TestEngine::start(Config::default().connections_max(2), TestConfig::default(), echo).unwrap();
    let mut clients = [(); 3].map(|()| engine.connect());
    clients.iter_mut().for_each(|client| assert_eq!(client.write(b"x"), 1));
    assert_eq!(clients.each_mut().map(|client| client.read().len()), [1, 1, 0]);
    let [first, _second, mut third] = clients;
    drop(first);
    assert_eq!(third.read(), b"x");
}

/// Their threads are not those of the engine, so a client waits for them in real time.
#[test]
fn blocking_handlers_are_waited_for() {
    let engine = start(blocking(|mut connection: BlockingConnection| {
        while let Ok(Some(chunk)) = connection.receive() {
            if connection.send(chunk.into_vec()).is_err() {
                break;
            }
        }
    }));
    let mut client = engine.connect();
    client.write(b"hello");
    let mut received = Vec::new();
    let done = engine.drive(|| match client.take(&mut received) {
        _ if received == b"hello" => Step::Done(()),
        0 => Step::Waiting,
        _ => Step::Again,
    });
    assert_eq!(done, Ok(()));
}

#[test]
fn the_clock_moves_by_whole_steps() {
    let passed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&passed);
    let engine = start(move |connection: Connection| {
        let passed = Arc::clone(&count);
        async move {
            let _connection = connection;
            for _ in 0..100 {
                time::sleep(Duration::from_millis(100)).await;
                passed.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let _client = engine.connect();
    for expected in 1..=10 {
        engine.advance(Duration::from_millis(100));
        assert_eq!(passed.load(Ordering::Relaxed), expected);
        // Rounded up, and one step for the timeouts of connections.
        assert_eq!(engine.elapsed(), Duration::from_millis(112) * expected as u32);
    }
    engine.advance(SECOND * 60);
    assert_eq!(passed.load(Ordering::Relaxed), 100);
}

/// Sends what it receives to another server, and its answers back.
async fn forward(mut client: Connection) {
    let mut backend = match connect("192.0.2.1:7000").await {
        Ok(backend) => backend,
        Err(error) => {
            let _ = client.sender().send(error.to_string()).await;
            return;
        }
    };
    while let Ok(Some(chunk)) = client.receive().await {
        let _ = backend.sender().send(chunk.into_vec()).await;
        let Ok(Some(answer)) = backend.receive().await else { return };
        let _ = client.sender().send(answer.into_vec()).await;
    }
}

#[test]
fn the_test_plays_the_servers_of_handlers() {
    let config = TestConfig::default().outgoing(true);
    let engine = TestEngine::start(Config::default(), config, forward).unwrap();
    assert!(engine.next_outgoing().is_none());
    let mut client = engine.connect();
    let (target, mut backend) = engine.next_outgoing().expect("the handler connects");
    assert_eq!(target.to_string(), "192.0.2.1:7000");
    client.write(b"question");
    assert_eq!(backend.read(), b"question");
    backend.write(b"answer");
    assert_eq!(client.read(), b"answer");
    client.write(b"another");
    backend.reset();
    assert_eq!(client.read(), b"");
    assert!(client.ended().is_some());
    assert_eq!(engine.stats().connected_total, 1);
    assert_eq!(engine.shutdown(Shutdown::default()).forced, 0);
}

#[test]
fn handlers_reach_no_servers_otherwise() {
    let engine = start(forward);
    let mut client = engine.connect();
    let error = String::from_utf8(client.read()).unwrap();
    assert!(error.contains("192.0.2.1:7000"), "{error}");
    assert!(engine.next_outgoing().is_none());
}

#[test]
fn a_shutdown_refuses_clients_and_ends() {
    let engine = start(|connection: Connection| async move {
        let _connection = connection;
        std::future::pending().await
    });
    let held = engine.connect();
    engine.run_until_idle();
    engine.begin_shutdown(Shutdown::default().drain_timeout(SECOND * 10));
    assert_eq!(engine.connect().ended(), Some(PeerEnd::Reset));
    assert_eq!(held.ended(), None);
    let report = engine.shutdown(Shutdown::default().drain_timeout(SECOND * 10));
    assert_eq!((report.drained, report.forced), (0, 1));
    assert_eq!(held.ended(), Some(PeerEnd::Reset));
    assert_eq!(engine.drive(|| Step::<()>::Waiting), Err(Stuck::Ended));
    engine.advance(SECOND);
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let error = TestEngine::start(Config::default().connections_max(0), TestConfig::default(), echo).unwrap_err();
    assert!(error.to_string().contains("connections_max"), "{error}");
}
