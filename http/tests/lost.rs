//! What happens to handlers and content when the peer or the request goes away.
#![cfg(not(miri))]

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use tidegate_engine::{EngineKind, Running, Shutdown};
use tidegate_http::{Body, BodyError, Handler, HttpConfig, Request, Response, Router, Server, ready};

/// No answer takes this long on any machine; a test that reaches it fails.
const PATIENCE: Duration = Duration::from_secs(20);

const KINDS: [EngineKind; 2] = [EngineKind::Auto, EngineKind::Std];

fn start(kind: EngineKind, app: impl Handler) -> (Running, TcpStream) {
    start_with(kind, app, HttpConfig::default())
}

fn start_with(kind: EngineKind, app: impl Handler, config: HttpConfig) -> (Running, TcpStream) {
    let builder = Server::builder(app).http(config).bind("127.0.0.1:0").expect("resolves");
    let running = builder.engine(kind).workers(1).start().expect("starts");
    let address = running.local_addr().expect("an address");
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    (running, stream)
}

/// Tells when it is dropped.
struct Guard(mpsc::Sender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Waits until something has arrived and leaves it unread, so that closing sends a reset.
fn wait_unread(stream: &TcpStream) {
    assert!(stream.peek(&mut [0]).expect("something arrives") > 0);
}

#[test]
fn a_waiting_handler_ends_with_its_connection() {
    for kind in KINDS {
        let (tell, told) = mpsc::channel();
        let waits = move |_req: Request| {
            let guard = Guard(tell.clone());
            async move {
                guard.0.send("begun").expect("the test waits");
                std::future::pending::<Response>().await
            }
        };
        let app = Router::new().get("/waits", waits).get("/ready", ready(|_| "ready"));
        let (running, mut stream) = start(kind, app);
        stream
            .write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\nGET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        assert_eq!(told.recv_timeout(PATIENCE), Ok("begun"));
        wait_unread(&stream);
        drop(stream);
        assert_eq!(told.recv_timeout(PATIENCE), Ok("dropped"));
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn a_producer_waits_for_a_peer_that_does_not_read() {
    const PIECES: usize = 10_000;
    for kind in KINDS {
        let (tell, told) = mpsc::channel();
        let produced = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&produced);
        let app = Router::new().get(
            "/",
            ready(move |_| {
                let (guard, count) = (Guard(tell.clone()), Arc::clone(&count));
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
        assert_eq!(told.recv_timeout(PATIENCE), Ok("dropped"));
        assert!(produced.load(Ordering::SeqCst) < PIECES);
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    for kind in KINDS {
        let (tell, told) = mpsc::channel();
        let app = Router::new().get(
            "/",
            ready(move |_| {
                let guard = Guard(tell.clone());
                Response::stream(move |mut writer| async move {
                    let _guard = guard;
                    loop {
                        writer.write(vec![b'x'; 64 * 1024]).await;
                    }
                })
            }),
        );
        let config = HttpConfig { write_timeout: Duration::from_millis(50), ..HttpConfig::default() };
        let (running, mut stream) = start_with(kind, app, config);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(told.recv_timeout(PATIENCE), Ok("dropped"));
        drop(stream);
        running.shutdown(Shutdown::immediate());
    }
}

/// The whole response is in the connection's queue at once: nobody waits for space in it.
#[test]
fn a_peer_that_does_not_take_a_whole_response_is_given_up() {
    /// More than the kernel takes for a peer that does not read.
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
        let (tell, told) = mpsc::channel();
        let watched = move |_| Response::bytes(Bytes::from_owner(Watched { _guard: Guard(tell.clone()) }));
        let config = HttpConfig { write_timeout: Duration::from_millis(50), ..HttpConfig::default() };
        let (running, mut stream) = start_with(kind, Router::new().get("/", ready(watched)), config);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(told.recv_timeout(PATIENCE), Ok("dropped"));
        drop(stream);
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn a_body_kept_beyond_its_request_reads_nothing_of_the_next() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Body>> = const { std::cell::RefCell::new(None) };
    }
    for kind in KINDS {
        let (tell, told) = mpsc::channel();
        let app = Router::new()
            .post(
                "/keep",
                ready(|req: Request| {
                    KEPT.set(Some(req.into_parts().1));
                }),
            )
            .post("/use", move |mut req: Request| {
                let tell = tell.clone();
                async move {
                    let mut kept = KEPT.take().expect("kept before");
                    tell.send(kept.chunk().await).expect("the test waits");
                    Ok::<_, BodyError>(Response::bytes(req.bytes().await?))
                }
            });
        let (running, mut stream) = start(kind, app);
        let post = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        stream.write_all((post("/keep") + &post("/use")).as_bytes()).expect("sent");
        assert_eq!(told.recv_timeout(PATIENCE), Ok(Err(BodyError::Finished)));
        running.shutdown(Shutdown::immediate());
    }
}
