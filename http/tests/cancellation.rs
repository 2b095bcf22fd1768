//! Cancellation: handlers and content end when their peer disconnects or their request is over.
#![cfg(not(miri))]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tidegate_engine::time::sleep;
use tidegate_engine::{CloseCause, EngineKind, Running, Shutdown};
use tidegate_http::protocol::RequestError;
use tidegate_http::{Body, BodyError, Handler, HttpConfig, Request, Response, Router, Server, sync_handler};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

const KINDS: [EngineKind; 2] = [EngineKind::Auto, EngineKind::Std];

fn start(kind: EngineKind, app: impl Handler) -> (Running, TcpStream) {
    start_with(kind, app, HttpConfig::default())
}

fn start_with(kind: EngineKind, app: impl Handler, config: HttpConfig) -> (Running, TcpStream) {
    let builder = Server::builder(app).http(config).bind("127.0.0.1:0").expect("resolves");
    let running = builder.engine(kind).workers(1).start().expect("starts");
    let address = running.local_addr().expect("an address");
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
    (running, stream)
}

/// Sends a message when it is dropped.
struct Guard(mpsc::Sender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Waits for bytes to arrive and leaves them unread, so that closing sends a reset.
fn wait_unread(stream: &TcpStream) {
    assert!(stream.peek(&mut [0]).expect("something arrives") > 0);
}

#[test]
fn a_waiting_handler_ends_with_its_connection() {
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let waits = move |_req: Request| {
            let guard = Guard(events.clone());
            async move {
                guard.0.send("begun").expect("the test waits");
                std::future::pending::<Response>().await
            }
        };
        let app = Router::new().get("/waits", waits).get("/ready", sync_handler(|_| "ready"));
        let (running, mut stream) = start(kind, app);
        stream
            .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\nGET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("begun"));
        wait_unread(&stream);
        drop(stream);
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("dropped"));
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn a_reader_of_content_sees_why_the_connection_ended() {
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let app = Router::new().post("/", move |mut req: Request| {
            let events = events.clone();
            async move { events.send(req.body_mut().chunk().await).expect("the test waits") }
        });
        let (running, mut stream) = start(kind, app);
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .expect("sent");
        wait_unread(&stream);
        drop(stream);
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok(Err(BodyError::Connection(CloseCause::Reset))));
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn a_producer_waits_for_a_peer_that_does_not_read() {
    const PIECES: usize = 10_000;
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let produced = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&produced);
        let app = Router::new().get(
            "/",
            sync_handler(move |_| {
                let (guard, count) = (Guard(events.clone()), Arc::clone(&count));
                Response::stream(move |mut writer| async move {
                    let guard = guard;
                    for _ in 0..PIECES {
                        writer.write(vec![b'x'; 64 * 1024]).await;
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    drop(guard);
                    Ok(())
                })
            }),
        );
        let (running, mut stream) = start(kind, app);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        wait_unread(&stream);
        drop(stream);
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("dropped"));
        assert!(produced.load(Ordering::SeqCst) < PIECES);
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn a_peer_that_reads_nothing_is_disconnected() {
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let app = Router::new().get(
            "/",
            sync_handler(move |_| {
                let guard = Guard(events.clone());
                Response::stream(move |mut writer| async move {
                    let _guard = guard;
                    loop {
                        writer.write(vec![b'x'; 64 * 1024]).await;
                    }
                })
            }),
        );
        let config = HttpConfig::default().write_timeout(Duration::from_millis(50));
        let (running, mut stream) = start_with(kind, app, config);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("dropped"));
        drop(stream);
        running.shutdown(Shutdown::immediate());
    }
}

/// The whole response is in the connection's queue at once, so that no task waits for space in it.
#[test]
fn a_peer_that_does_not_read_a_whole_response_is_disconnected() {
    /// More than the kernel buffers for a peer that does not read.
    static LARGE: [u8; 64 << 20] = [b'x'; 64 << 20];
    struct Watched {
        _guard: Guard,
    }
    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &LARGE
        }
    }
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let watched = move |_| Response::bytes(Bytes::from_owner(Watched { _guard: Guard(events.clone()) }));
        let config = HttpConfig::default().write_timeout(Duration::from_millis(50));
        let (running, mut stream) = start_with(kind, Router::new().get("/", sync_handler(watched)), config);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("dropped"));
        drop(stream);
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn a_body_kept_beyond_its_request_reads_nothing_of_the_next() {
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let app = Router::new()
            .post(
                "/keep",
                sync_handler(|req: Request| {
                    KEPT.set(Some(req.into_parts().1));
                }),
            )
            .post("/use", move |mut req: Request| {
                let events = events.clone();
                async move {
                    let mut kept = KEPT.take().expect("kept before");
                    events.send(kept.chunk().await).expect("the test waits");
                    Ok::<_, BodyError>(Response::bytes(req.bytes().await?))
                }
            });
        let (running, mut stream) = start(kind, app);
        let post = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        stream.write_all((post("/keep") + &post("/use")).as_bytes()).expect("sent");
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok(Err(BodyError::Finished)));
        running.shutdown(Shutdown::immediate());
    }
}

thread_local! {
    static KEPT: RefCell<Option<Body>> = const { RefCell::new(None) };
    static LET_GO: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Keeps the content of its request, and answers once the reader of that content waits.
async fn keep(req: Request) {
    KEPT.set(Some(req.into_parts().1));
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        LET_GO.set(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

#[test]
fn a_body_that_is_read_elsewhere_ends_with_its_request() {
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let (kept, is_kept) = mpsc::channel();
        let app = Router::new()
            .post("/keep", move |req: Request| {
                kept.send(()).expect("the test waits");
                keep(req)
            })
            .get("/read", move |_req: Request| {
                let events = events.clone();
                async move {
                    let mut body = KEPT.take().expect("kept before");
                    poll_fn(|cx| {
                        let polled = body.poll_chunk(cx);
                        if let (Poll::Pending, Some(waker)) = (&polled, LET_GO.take()) {
                            waker.wake();
                        }
                        polled.map(|piece| events.send(piece).expect("the test waits"))
                    })
                    .await;
                    // The rest of the content is being discarded now.
                    events.send(body.chunk().await).expect("the test waits");
                }
            });
        let (running, mut keeping) = start(kind, app);
        keeping.write_all(b"POST /keep HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n").expect("sent");
        is_kept.recv_timeout(TEST_TIMEOUT).expect("kept");
        let mut reading = TcpStream::connect(running.local_addr().expect("an address")).expect("connects");
        reading.write_all(b"GET /read HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok(Err(BodyError::Finished)));
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok(Err(BodyError::Finished)));
        running.shutdown(Shutdown::immediate());
    }
}

/// A handler that stops waiting for content, and later waits again, has the whole timeout again.
#[test]
fn a_cancelled_wait_for_content_leaves_no_deadline() {
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let config = HttpConfig::default().content_timeout(Duration::from_millis(20));
        let app = Router::new().post("/", move |mut req: Request| {
            let events = events.clone();
            async move {
                let mut is_pending = async || {
                    let mut chunk = pin!(req.body_mut().chunk());
                    poll_fn(|cx| Poll::Ready(chunk.as_mut().poll(cx).is_pending())).await
                };
                assert!(is_pending().await);
                sleep(Duration::from_millis(60)).await;
                events.send(is_pending().await).expect("the test waits");
                let late = req.body_mut().chunk().await;
                events.send(late == Err(RequestError::Timeout.into())).expect("the test waits");
            }
        });
        let (running, mut stream) = start_with(kind, app, config);
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n").expect("sent");
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok(true), "the deadline of the first wait");
        assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok(true), "no deadline for the second");
        running.shutdown(Shutdown::immediate());
    }
}
