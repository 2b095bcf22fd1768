//! Connections that cannot be made, and those that are given up.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tidegate_engine::{Address, ConnectError, ConnectTarget, Shutdown, block_on, connect, connect_unix};

use super::servers::*;
use super::{check_echo_of, client, run};
use crate::support::*;

const SHORT: Duration = Duration::from_millis(100);

/// Connects to a target in vain. Returns the error.
fn fail(setup: Setup, target: impl Into<ConnectTarget>) -> ConnectError {
    let target = target.into();
    run(setup, move || async move { connect(target).timeout(SHORT).await.map(drop).unwrap_err() })
}

#[test]
fn a_refused_connection_is_an_error() {
    on_every_engine(|setup| {
        let error = fail(setup, dead_address());
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        assert_eq!(error.to_string(), "127.0.0.1:1 refused the connection: nothing listens there");
    });
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let full = FullListener::new();
    on_every_engine(|setup| {
        let before = Instant::now();
        let error = fail(setup, full.address);
        assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
        assert!(before.elapsed() >= SHORT);
    });
}

#[test]
fn names_that_do_not_resolve_are_errors() {
    on_every_engine(|setup| {
        // Each is refused before anything is asked over the network.
        for target in ["no port", "", "localhost:http", &format!("{}:80", "x".repeat(300))] {
            let error = fail(setup.clone(), target);
            assert!(matches!(error, ConnectError::Resolve { .. }), "{target}: {error}");
        }
        let error = fail(setup, Vec::<SocketAddr>::new());
        assert!(matches!(error, ConnectError::Resolve { .. }), "{error}");
    });
}

/// A dead address costs nothing if it refuses, and a quarter of a second if it does not answer.
#[test]
fn another_address_is_tried() {
    let (full, live) = (FullListener::new(), echo_server());
    on_every_engine(|setup| {
        for dead in [dead_address(), full.address] {
            run(setup.clone(), move || async move {
                let mut connection = connect(vec![dead, live]).await.unwrap();
                assert_eq!(connection.peer_addr(), Address::Ip(live));
                check_echo_of(&mut connection, pattern(100)).await;
            });
        }
        let error = fail(setup, vec![dead_address(), dead_address()]);
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
    });
}

#[test]
fn a_unix_socket_that_nobody_serves_is_an_error() {
    let (missing, stale) = (SocketPath::new("missing"), SocketPath::new("stale"));
    drop(std::os::unix::net::UnixListener::bind(&*stale).unwrap());
    on_every_engine(|setup| {
        let fail = |path: &std::path::Path| {
            let path = path.to_owned();
            run(setup.clone(), move || async move { connect_unix(path).await.map(drop).unwrap_err() })
        };
        let ConnectError::Io { error, .. } = fail(&missing) else { panic!("a socket that does not exist") };
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = fail(&stale);
        assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
        let long = fail(&std::path::PathBuf::from("x".repeat(200)));
        assert!(matches!(long, ConnectError::Resolve { .. }), "{long}");
    });
}

/// Where the queue of a Unix-domain socket is full, the client waits for room.
#[test]
fn a_full_unix_socket_is_waited_for() {
    on_every_engine(|setup| {
        let path = SocketPath::new("full");
        let full = FullUnixListener::new(&path);
        let running = client(setup);
        let target = path.to_path_buf();
        let late = running.spawn(move || async move { connect_unix(target).timeout(SHORT).await.map(drop) });
        let error = block_on(late).unwrap().unwrap_err();
        assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
        let target = path.to_path_buf();
        let waiting = running.spawn(move || async move { connect_unix(target).await.map(drop) });
        full.drain();
        block_on(waiting).unwrap().unwrap();
        finish(running);
    });
}

/// Polls a future this many times, or to its end, and drops it.
async fn poll_and_drop<F: Future + Unpin>(mut future: F, polls: usize) {
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 || Pin::new(&mut future).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// However far it has come, a connection that is given up ends on both sides.
#[test]
fn a_dropped_future_leaves_nothing_behind() {
    const NAME: &str = "connect::errors::a_dropped_future_leaves_nothing_behind";
    child::in_child(NAME, || {
        let (full, live) = (FullListener::new(), echo_server());
        on_every_engine(|setup| {
            let running = client(setup);
            let files = open_files();
            let task = running.spawn(move || async move {
                for polls in 0..6 {
                    for _ in 0..20 {
                        poll_and_drop(connect(live).into_future(), polls).await;
                    }
                    poll_and_drop(connect(full.address).into_future(), polls.min(1)).await;
                    poll_and_drop(connect(vec![full.address, live]).into_future(), polls.min(2)).await;
                    poll_and_drop(connect(("localhost", live.port())).into_future(), polls.min(3)).await;
                }
                // Whatever was begun has ended when a later one has.
                connect(live).await.map(drop).unwrap();
            });
            block_on(task).unwrap();
            wait_until("all connections to end", || total(&running).connections == 0);
            wait_until("the descriptors to be closed", || open_files() <= files);
            finish(running);
        });
    });
}

/// Returns the number of descriptors of this process, without those of the servers' threads that come and go.
pub fn open_files() -> usize {
    let is_counted = |file: &std::fs::DirEntry| {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        !target.to_string_lossy().starts_with("/proc")
    };
    std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter(is_counted).count()
}

#[test]
fn an_engine_that_shuts_down_connects_no_more() {
    let (full, live) = (FullListener::new(), echo_server());
    on_every_engine(|setup| {
        let running = client(setup);
        let handle = running.handle();
        let address = full.address;
        let waiting = running.spawn(move || async move { connect(address).await.map(drop) });
        let from_outside = std::thread::spawn({
            let connect = running.connect(address);
            move || block_on(connect.into_future()).map(drop)
        });
        // Holds the worker until the attempts were answered.
        let held = block_on(running.connect(live).into_future()).unwrap();
        handle.begin_shutdown(Shutdown::default());
        let error = block_on(waiting).unwrap().unwrap_err();
        assert!(matches!(error, ConnectError::Draining), "{error}");
        let error = from_outside.join().unwrap().unwrap_err();
        assert!(matches!(error, ConnectError::Draining | ConnectError::EngineEnded), "{error}");
        let error = block_on(running.connect(live).into_future()).unwrap_err();
        assert!(matches!(error, ConnectError::Draining), "{error}");
        let mut allowed = block_on(running.connect(live).while_draining(true).into_future()).unwrap();
        assert!(allowed.is_draining());
        block_on(allowed.sender().send("bye")).unwrap();
        assert_eq!(&block_on(allowed.receive()).unwrap().unwrap()[..], b"bye");
        drop((allowed, held));
        let report = running.join();
        assert_eq!((report.drained, report.forced), (2, 0));
        let error = block_on(handle.connect(live).into_future()).unwrap_err();
        assert!(matches!(error, ConnectError::EngineEnded), "{error}");
        assert_eq!(block_on(handle.spawn(|| async {})), None);
    });
}

/// An address that is not of this host cannot be used.
#[test]
fn a_foreign_local_address_is_an_error() {
    let live = echo_server();
    on_every_engine(|setup| {
        run(setup, move || async move {
            let foreign = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
            let error = connect(live).local_address(foreign).await.map(drop).unwrap_err();
            let ConnectError::Io { error, .. } = error else { panic!("{error}") };
            assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
            let other_family = "[::1]:0".parse().unwrap();
            let error = connect(live).local_address(other_family).await.map(drop).unwrap_err();
            assert!(matches!(error, ConnectError::Io { .. }), "{error}");
        });
    });
}
