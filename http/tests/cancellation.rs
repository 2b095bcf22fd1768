//! Cancellation: handlers and content end when their peer disconnects or their request is over.
#![cfg(not(miri))]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::{Shutdown as Side, TcpStream};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tidegate_engine::time::sleep;
use tidegate_engine::{CloseCause, EngineKind, Running, Shutdown};
use tidegate_http::protocol::RequestError;
use tidegate_http::{
    Body, BodyError, ContentWriter, Handler, HttpConfig, Request, Response, Router, Server, StreamError, sync_handler,
};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

const KINDS: [EngineKind; 2] = [EngineKind::Auto, EngineKind::Portable];

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

/// What a client can leave unread behind the head of its request: nothing, the stray line end of some clients, another
/// request, content in the handler's buffer, and content that fills it, so that receiving is paused.
fn leftovers() -> [(&'static str, Vec<u8>); 5] {
    [
        ("", Vec::new()),
        ("", b"\r\n".to_vec()),
        ("", b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("Content-Length: 1000000\r\n", b"body".to_vec()),
        ("Content-Length: 1000000\r\n", vec![b'x'; 100_000]),
    ]
}

/// Serves `/ready`, and `/waits`, whose handler waits for ever and reports its begin, its drop and `client_gone()`.
fn waiting_app(events: mpsc::Sender<&'static str>) -> Router {
    let waits = move |req: Request| {
        let guard = Guard(events.clone());
        let (closed, report) = (req.client_gone(), events.clone());
        std::thread::spawn(move || {
            tidegate_engine::block_on(closed);
            let _ = report.send("closed");
        });
        async move {
            let _unread = req;
            guard.0.send("begun").expect("the test waits");
            std::future::pending::<Response>().await
        }
    };
    Router::new().any("/waits", waits).get("/ready", sync_handler(|_| "ready"))
}

/// Waits for the two events, in any order.
fn expect_both(received: &mpsc::Receiver<&'static str>, about: &str) {
    let mut both = [(); 2].map(|()| received.recv_timeout(TEST_TIMEOUT).expect(about));
    both.sort_unstable();
    assert_eq!(both, ["closed", "dropped"], "{about}");
}

#[test]
fn a_waiting_handler_ends_with_its_client_whatever_is_unread() {
    for kind in KINDS {
        for (fields, unread) in leftovers() {
            for resets in [false, true] {
                let about = format!("{kind:?}, {fields:?}, {} bytes unread, reset: {resets}", unread.len());
                let (events, received) = mpsc::channel();
                let (running, mut stream) = start(kind, waiting_app(events));
                let request = "GET /ready HTTP/1.1\r\nHost: a\r\n\r\nPOST /waits HTTP/1.1\r\nHost: a\r\n";
                stream.write_all(format!("{request}{fields}\r\n").as_bytes()).expect("sent");
                stream.write_all(&unread).expect("sent");
                assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("begun"), "{about}");
                if resets {
                    wait_unread(&stream);
                    drop(stream);
                } else {
                    stream.shutdown(Side::Write).expect("half closed");
                }
                expect_both(&received, &about);
                running.shutdown(Shutdown::immediate());
            }
        }
    }
}

/// With `half_close` a FIN only completes `closed()`. A reset after it ends the handler all the same.
#[test]
fn a_half_closed_client_is_waited_for_if_configured() {
    for kind in KINDS {
        for (fields, unread) in leftovers() {
            let about = format!("{kind:?}, {fields:?}, {} bytes unread", unread.len());
            let (events, received) = mpsc::channel();
            let (answer, gate) = mpsc::channel::<()>();
            let gate = std::sync::Mutex::new(Some(gate));
            let answers = move |req: Request| {
                let (closed, gate) = (req.client_gone(), gate.lock().expect("not poisoned").take());
                async move {
                    let _unread = req;
                    closed.await;
                    while gate.as_ref().is_some_and(|gate| gate.try_recv() == Err(mpsc::TryRecvError::Empty)) {
                        sleep(Duration::from_millis(1)).await;
                    }
                    "answered"
                }
            };
            let app = waiting_app(events).any("/answers", answers);
            let (running, mut stream) = start_with(kind, app, HttpConfig::default().half_close(true));
            stream.write_all(b"GET /answers HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
            stream.shutdown(Side::Write).expect("half closed");
            answer.send(()).expect("the handler waits");
            let mut answered = String::new();
            stream.read_to_string(&mut answered).expect("the end");
            assert!(answered.ends_with("answered"), "{about}: {answered:?}");

            let mut stream = TcpStream::connect(running.local_addr().expect("an address")).expect("connects");
            let request = "GET /ready HTTP/1.1\r\nHost: a\r\n\r\nPOST /waits HTTP/1.1\r\nHost: a\r\n";
            stream.write_all(format!("{request}{fields}\r\n").as_bytes()).expect("sent");
            stream.write_all(&unread).expect("sent");
            assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("begun"), "{about}");
            stream.shutdown(Side::Write).expect("half closed");
            assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("closed"), "{about}");
            wait_unread(&stream);
            drop(stream);
            assert_eq!(received.recv_timeout(TEST_TIMEOUT), Ok("dropped"), "{about}");
            running.shutdown(Shutdown::immediate());
        }
    }
}

/// Answers `/` with content that this function produces. The guard reports when its future ends.
fn streaming<F>(
    events: mpsc::Sender<&'static str>,
    produce: impl Fn(ContentWriter, Guard) -> F + Clone + Send + Sync + 'static,
) -> Router
where
    F: Future<Output = Result<(), StreamError>> + 'static,
{
    Router::new().get(
        "/",
        sync_handler(move |_| {
            let (guard, produce) = (Guard(events.clone()), produce.clone());
            Response::stream(move |writer| produce(writer, guard))
        }),
    )
}

/// The content of a response that waits for its next piece, such as a silent event stream, ends with its client.
#[test]
fn a_silent_stream_ends_with_its_client() {
    for kind in KINDS {
        let (events, received) = mpsc::channel();
        let app = streaming(events, async |mut writer, _guard| {
            writer.write("hello").await;
            std::future::pending().await
        });
        let (running, mut stream) = start(kind, app);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        wait_unread(&stream);
        stream.shutdown(Side::Write).expect("half closed");
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
        let app = streaming(events, move |mut writer, guard| {
            let count = Arc::clone(&count);
            async move {
                for _ in 0..PIECES {
                    writer.write(vec![b'x'; 64 * 1024]).await;
                    count.fetch_add(1, Ordering::SeqCst);
                }
                drop(guard);
                Ok(())
            }
        });
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
        let app = streaming(events, async |mut writer, _guard| {
            loop {
                writer.write(vec![b'x'; 64 * 1024]).await;
            }
        });
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
