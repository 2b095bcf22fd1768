//! Handlers that never return, panic or hold their thread.

use std::future::{Future, pending};
use std::io::Write;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use log::Level;
use tidegate_engine::{Connection, Running, Shutdown, time};

use crate::support::*;

/// Counts its drop.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts its drop, and panics.
struct Bomb(#[expect(dead_code, reason = "is dropped")] Counted);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as the test asked for");
    }
}

/// Leaves its waker with somebody who never uses it.
struct Foreign(Arc<Mutex<Vec<Waker>>>);

impl Future for Foreign {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().unwrap().push(cx.waker().clone());
        Poll::Pending
    }
}

/// Waits in the way that the first byte selects.
async fn wait_as_told(mut connection: Connection, dropped: Arc<AtomicUsize>, wakers: Arc<Mutex<Vec<Waker>>>) {
    let way = connection.receive().await.unwrap().unwrap()[0];
    let counted = Counted(dropped);
    connection.sender().send("?").await.unwrap();
    match way {
        b'p' => pending().await,
        b'f' => Foreign(wakers).await,
        b's' => time::sleep(Duration::from_secs(3600)).await,
        b'r' => drop(connection.receive().await),
        b'b' => {
            let bomb = Bomb(counted);
            pending::<()>().await;
            drop(bomb);
        }
        b'c' => {
            drop(connection);
            pending().await
        }
        _ => unreachable!("the test sends other bytes"),
    }
}

/// Connects a client and has its handler wait in the way `way`.
fn client_that(running: &Running, way: u8) -> TcpStream {
    let mut client = connect(running.local_addr().unwrap());
    client.write_all(&[way]).unwrap();
    assert_eq!(read_exact(&mut client, 1), b"?");
    client
}

/// Whatever the handlers wait for, their futures are gone when the shutdown has returned, and nothing that they held is
/// leaked. A waker that is left over does no harm.
#[test]
fn pending_futures_end_with_the_engine() {
    on_every_engine(|Setup { config, .. }| {
        let (dropped, wakers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, left) = (Arc::clone(&dropped), Arc::clone(&wakers));
        let (running, _) =
            start(config, move |connection| wait_as_told(connection, Arc::clone(&count), Arc::clone(&left)));
        let ways = b"pfsrbcpfsrbc";
        let clients: Vec<_> = ways.iter().map(|way| client_that(&running, *way)).collect();
        running.shutdown(Shutdown::immediate());
        assert_eq!(dropped.load(Ordering::SeqCst), ways.len());
        for waker in std::mem::take(&mut *wakers.lock().unwrap()) {
            waker.wake_by_ref();
            waker.wake();
        }
        drop(clients);
    });
}

/// Another thread wakes tasks all the time while their executor ends. Each future is dropped once and on its thread.
#[test]
fn futures_are_dropped_while_others_wake_them() {
    on_every_engine(|Setup { config, .. }| {
        let (dropped, wakers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::<Waker>::new())));
        let (count, left) = (Arc::clone(&dropped), Arc::clone(&wakers));
        let (running, _) =
            start(config, move |connection| wait_as_told(connection, Arc::clone(&count), Arc::clone(&left)));
        let clients: Vec<_> = (0..20).map(|_| client_that(&running, b'f')).collect();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let some: Vec<_> = std::mem::take(&mut *wakers.lock().unwrap());
                    some.iter().for_each(Waker::wake_by_ref);
                    wakers.lock().unwrap().extend(some.into_iter().take(20));
                }
            });
            running.shutdown(Shutdown::immediate());
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(dropped.load(Ordering::SeqCst), clients.len());
    });
}

/// A destructor that panics when the future ends by itself must not end the process.
#[test]
fn a_destructor_that_panics_ends_its_connection_only() {
    struct Exploding(Pin<Box<dyn Future<Output = ()>>>, #[expect(dead_code, reason = "is dropped")] Bomb);
    impl Future for Exploding {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.0.as_mut().poll(cx)
        }
    }
    let log = Lines::collect();
    on_every_engine(|Setup { config, .. }| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let (running, address) =
            start(config, move |connection| Exploding(Box::pin(echo(connection)), Bomb(Counted(Arc::clone(&count)))));
        for _ in 0..2 {
            let mut client = connect(address);
            check_echo(&mut client, b"hello");
        }
        wait_until("both destructors", || dropped.load(Ordering::SeqCst) == 2);
        finish(running);
    });
    assert!(log.with("destructor panicked: as the test asked for").iter().all(|(level, _)| *level == Level::Error));
}

/// The line in the log names the peer and has the message.
#[test]
fn a_panic_is_logged_with_its_peer_and_message() {
    let log = Lines::collect();
    on_every_engine(|Setup { config, .. }| {
        let (running, address) = start(config, async |mut connection: Connection| {
            let chunk = connection.receive().await.unwrap().unwrap();
            panic!("no {}", String::from_utf8_lossy(&chunk));
        });
        let mut client = connect(address);
        client.write_all(b"carrots").unwrap();
        let peer = format!("with {} ", client.local_addr().unwrap());
        read_all(&mut client);
        drop(client);
        wait_until("the line", || !log.with(&peer).is_empty());
        let lines = log.with(&peer);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].0 == Level::Error && lines[0].1.contains("panicked") && lines[0].1.contains(": no carrots"));
        finish(running);
    });
}

/// Holds its thread until the other end of `go` is dropped.
fn hold(go: &Mutex<Receiver<()>>) {
    assert!(go.lock().unwrap().recv().is_err(), "nothing is sent");
}

/// A handler that blocks is named while it still blocks, once.
#[test]
fn a_handler_that_holds_its_thread_is_named() {
    let log = Lines::collect();
    for in_the_call in [false, true] {
        on_every_engine(|Setup { config, .. }| {
            let (let_go, go): (Sender<()>, _) = channel();
            let go = Arc::new(Mutex::new(go));
            let config = config.thread_hold_warning(Duration::from_millis(40));
            let (running, address) = start(config, move |mut connection: Connection| {
                if in_the_call {
                    hold(&go);
                }
                let go = Arc::clone(&go);
                async move {
                    let chunk = connection.receive().await.unwrap().unwrap();
                    if !in_the_call {
                        hold(&go);
                    }
                    let _ = connection.sender().send(chunk.into_vec()).await;
                }
            });
            let mut client = connect(address);
            client.write_all(b"block").unwrap();
            let peer = format!("(peer {})", client.local_addr().unwrap());
            wait_until("the line", || !log.with(&peer).is_empty());
            drop(let_go);
            assert_eq!(read_all(&mut client), b"block");
            drop(client);
            finish(running);
            let lines = log.with(&peer);
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(lines[0].0, Level::Warn);
            assert!(lines[0].1.starts_with("a handler has held ") && lines[0].1.contains(" s (peer"), "{lines:?}");
        });
    }
}
