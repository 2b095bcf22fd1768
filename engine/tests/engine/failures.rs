//! Workers that fail, and handlers that never return: the engine ends with an error, and the process always can.

use std::future::pending;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread;

use tidegate_engine::{
    Config, Connection, EngineKind, Error, FanOut, HandlerPlacement, JoinOptions, MemberId, Publish, PublishBudget,
    RunningHandle, Shutdown,
};

use crate::shutdown::{FAREWELL, patient, wait_for_signal_handler};
use crate::support::child::Child;
use crate::support::*;

/// Connects clients until two workers have one each. Returns one client of each, in no order.
fn connect_to_both_workers(running: &RunningHandle, address: SocketAddr) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    wait_until("a client on each worker", || {
        let mut client = connect(address);
        check_echo(&mut client, b"hello");
        clients.push(client);
        running.stats().iter().all(|worker| worker.connections > 0)
    });
    clients
}

/// A waker that panics, and with it the worker that wakes it.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("as the test asked for");
    }
}

/// An echo that sets a farewell, and on "die" waits with `waker`.
async fn echo_or_die(mut connection: Connection) {
    connection.set_farewell(FAREWELL);
    while let Ok(Some(chunk)) = connection.receive().await {
        if &chunk[..] == b"die" {
            let waker = Waker::from(Arc::new(Panicking));
            assert!(connection.poll_receive(&mut Context::from_waker(&waker)).is_pending());
            connection.sender().send("now").await.unwrap();
            pending::<()>().await;
        }
        if connection.sender().send(chunk.into_vec()).await.is_err() {
            return;
        }
    }
}

/// The other worker's clients get their farewell, and waiting for the engine ends although no shutdown was asked for.
#[test]
fn a_worker_that_dies_ends_the_engine() {
    on_every_engine(|mut setup| {
        setup.config.workers = 2;
        let room = FanOut::new(PublishBudget::new(1 << 20));
        let members = room.clone();
        let (running, address) = start(setup.config, move |connection: Connection| {
            let membership = members.join(connection.sender(), MemberId::next(), JoinOptions::default());
            async move {
                echo_or_die(connection).await;
                drop(membership);
            }
        });
        let mut clients = connect_to_both_workers(&running.handle(), address);
        let mut last = clients.pop().unwrap();
        last.write_all(b"die").unwrap();
        assert_eq!(read_exact(&mut last, 3), b"now");
        last.write_all(b"!").unwrap();
        let ends = thread::spawn(move || {
            let said_farewell = |client: &mut TcpStream| {
                let mut bytes = Vec::new();
                let _ = client.read_to_end(&mut bytes);
                bytes == FAREWELL
            };
            clients.iter_mut().map(said_farewell).filter(|farewell| *farewell).count()
        });
        let report = running.join();
        assert_eq!(report.failed_workers, 1, "{report:?}");
        assert!(ends.join().unwrap() >= 1, "the clients of the other worker are told");
        assert!(TcpStream::connect(address).is_err(), "nothing accepts any more");
        // The first message finds that the workers have ended.
        room.publish(Publish::new("to nobody")).unwrap();
        wait_until("the memberships to end", || room.is_empty());
    });
}

/// A ring that the kernel refuses from some moment on: `run_until_signal` returns the reason, whether the refusal comes
/// when the ring waits or when its queue is full.
#[test]
fn a_ring_that_fails_is_an_error() {
    child::in_child("failures::a_ring_that_fails_is_an_error", || {
        for entries in [1024, 2] {
            let mut config = Config::default().engine(EngineKind::Uring).workers(2).pin(false);
            config.uring.submission_entries = entries;
            let (running, address) = start(config, |mut connection: Connection| async move {
                connection.set_farewell(FAREWELL);
                while let Ok(Some(chunk)) = connection.receive().await {
                    if &chunk[..] == b"die" {
                        let forbid = |_: socket2::SockRef<'_>| {
                            seccomp::forbid(libc::SYS_io_uring_enter, libc::EPERM);
                            Ok(())
                        };
                        connection.with_socket(forbid).await.unwrap();
                    }
                    let _ = connection.sender().try_send(chunk.into_vec());
                }
            });
            let handle = running.handle();
            let client = thread::spawn(move || {
                let mut clients = connect_to_both_workers(&handle, address);
                clients[0].write_all(b"die").unwrap();
                for client in &mut clients {
                    let _ = client.write_all(b"to fill the queue");
                }
                for client in &mut clients {
                    let _ = client.read_to_end(&mut Vec::new());
                }
            });
            let error = running.run_until_signal(Shutdown::default()).unwrap_err();
            assert!(matches!(&error, Error::WorkerFailed { reason, .. } if reason.contains("os error 1")), "{error}");
            client.join().unwrap();
        }
    });
}

/// Signals end a server whose handler never gives the worker's thread back. The second makes waiting for it end with an
/// error, and then the signals do again what they did before.
#[test]
fn signals_end_a_server_whose_handler_holds_the_worker() {
    const NAME: &str = "failures::signals_end_a_server_whose_handler_holds_the_worker";
    if child::is_child(NAME) {
        let config = Config::default().workers(1).pin(false).placement(HandlerPlacement::Inline);
        let (running, address) = start(config, |mut connection: Connection| async move {
            let _ = connection.receive().await;
            child::answer("held");
            loop {
                thread::park();
            }
        });
        let _client = thread::spawn(move || connect(address).write_all(b"hold")).join();
        thread::spawn(|| {
            wait_for_signal_handler();
            child::answer("caught");
        });
        let error = running.run_until_signal(patient()).unwrap_err();
        child::answer(error);
        // Ended by the third signal.
        loop {
            thread::park();
        }
    }
    let mut child = Child::start(NAME, None);
    let mut ready = [child.answer(), child.answer()];
    ready.sort();
    assert_eq!(ready, ["caught", "held"]);
    // Of two equal signals one can be lost.
    child.signal(signal_hook::consts::SIGTERM);
    child.signal(signal_hook::consts::SIGINT);
    let error = child.answer();
    assert!(error.contains("a handler blocked its thread"), "{error}");
    child.signal(signal_hook::consts::SIGTERM);
    let status = child.end();
    assert_eq!(status.signal(), Some(signal_hook::consts::SIGTERM), "{status}");
}
