//! Graceful shutdown, on every engine and placement: what is answered, and what the last response says.
#![cfg(not(miri))]

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_engine::{EngineKind, HandlerPlacement, Running, Shutdown, ShutdownReport};
use tidegate_http::{BodyError, Request, Response, Router, Server, sync_handler};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A server whose handler of `/gate` reports that it has begun, and then waits for the test. The handler of `/echo`
/// reports its first piece of content.
struct Gate {
    running: Running,
    begun: mpsc::Receiver<()>,
    lock: Arc<Mutex<Lock>>,
}

#[derive(Default)]
struct Lock {
    open: bool,
    waiting: Option<Waker>,
}

impl Lock {
    async fn opened(lock: Arc<Mutex<Lock>>) {
        poll_fn(|cx| {
            let mut lock = lock.lock().expect("not poisoned");
            lock.waiting = Some(cx.waker().clone());
            if lock.open { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn open(lock: &Mutex<Lock>) {
        let mut lock = lock.lock().expect("not poisoned");
        lock.open = true;
        if let Some(waker) = lock.waiting.take() {
            waker.wake();
        }
    }
}

impl Gate {
    fn new(kind: EngineKind, placement: HandlerPlacement) -> Gate {
        let (begin, begun) = mpsc::channel();
        let lock = Arc::new(Mutex::new(Lock::default()));
        let (of_gate, of_stream, begins) = (Arc::clone(&lock), Arc::clone(&lock), begin.clone());
        let router = Router::new()
            .get("/ready", sync_handler(|_| "ready"))
            .get("/gate", async move |_request| {
                begins.send(()).expect("the test waits");
                Lock::opened(Arc::clone(&of_gate)).await;
                "in flight"
            })
            .get(
                "/stream",
                sync_handler(move |_| {
                    let lock = Arc::clone(&of_stream);
                    Response::stream(move |mut writer| async move {
                        Lock::opened(lock).await;
                        writer.write("streamed").await;
                        Ok(())
                    })
                }),
            )
            .post("/echo", async move |mut request: Request| -> Result<_, BodyError> {
                let mut content = request.body_mut().chunk().await?.unwrap_or_default().to_vec();
                begin.send(()).expect("the test waits");
                content.extend(request.bytes().await?);
                Ok(Response::bytes(content))
            });
        let builder = Server::builder(router).bind("127.0.0.1:0").expect("resolves").engine(kind).workers(1);
        Gate { running: builder.placement(placement).start().expect("starts"), begun, lock }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.running.local_addr().expect("an address")).expect("connects");
        stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
        stream.set_write_timeout(Some(TEST_TIMEOUT)).expect("set");
        stream
    }

    /// Begins a shutdown, and returns once the connection `idle`, which waits for its next request, was closed for it.
    fn begin_shutdown(self, mut idle: TcpStream) -> (JoinHandle<ShutdownReport>, Arc<Mutex<Lock>>) {
        let ending = std::thread::spawn(move || self.running.shutdown(Shutdown::default()));
        assert_eq!(read_to_end(&mut idle), "");
        (ending, self.lock)
    }
}

const READY: &[u8] = b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n";

fn read_to_end(stream: &mut TcpStream) -> String {
    let mut output = Vec::new();
    stream.read_to_end(&mut output).expect("an orderly end");
    String::from_utf8(output).expect("text")
}

/// Sends a request and reads its response, whose content is `ready`.
fn use_once(mut stream: TcpStream) -> TcpStream {
    stream.write_all(READY).expect("sent");
    let mut output = Vec::new();
    while !output.ends_with(b"ready") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("more"), 1);
        output.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&output);
    assert!(!text.contains("\r\nconnection:"), "the connection persists: {text}");
    stream
}

fn on_each(test: impl Fn(Gate)) {
    for kind in [EngineKind::Auto, EngineKind::Portable] {
        for placement in [HandlerPlacement::SameCore, HandlerPlacement::Inline, HandlerPlacement::Threads(1)] {
            test(Gate::new(kind, placement));
        }
    }
}

fn check_last_response(output: &str, content: &str) {
    assert!(output.starts_with("HTTP/1.1 200 "), "{output:?}");
    assert!(output.contains("\r\nconnection: close\r\n"), "{output:?}");
    assert!(output.ends_with(content), "{output:?}");
    assert_eq!(output.matches("HTTP/1.1 ").count(), 1, "{output:?}");
}

/// The response to a request that a handler is working on is the last one, and says so.
#[test]
fn responses_in_flight_are_finished() {
    on_each(|gate| {
        let (idle, mut busy) = (use_once(gate.connect()), use_once(gate.connect()));
        // The second request was received already; the client learns that it was not answered.
        busy.write_all(b"GET /gate HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        gate.begun.recv_timeout(TEST_TIMEOUT).expect("the handler begins");
        busy.write_all(READY).expect("sent");
        let (ending, lock) = gate.begin_shutdown(idle);
        Lock::open(&lock);
        let mut output = Vec::new();
        // A reset can follow the response, because the second request stays unread.
        let _ = busy.read_to_end(&mut output);
        check_last_response(&String::from_utf8(output).expect("text"), "in flight");
        drop(busy);
        assert_eq!(ending.join().expect("ends").forced, 0);
    });
}

/// A client that has begun to send its next request gets its response, and no other after it.
#[test]
fn a_request_that_was_begun_is_answered_with_the_last_response() {
    on_each(|gate| {
        let idle = use_once(gate.connect());
        let mut sends_head = use_once(gate.connect());
        sends_head.write_all(&READY[..10]).expect("sent");
        let mut first_request = gate.connect();
        first_request.write_all(&READY[..1]).expect("sent");
        let mut sends_content = use_once(gate.connect());
        sends_content.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel").expect("sent");
        gate.begun.recv_timeout(TEST_TIMEOUT).expect("the handler begins");
        let (ending, _lock) = gate.begin_shutdown(idle);
        for (stream, rest, content) in [
            (&mut sends_head, &READY[10..], "ready"),
            (&mut first_request, &READY[1..], "ready"),
            (&mut sends_content, b"lo worl", "hello worl"),
        ] {
            stream.write_all(rest).expect("sent");
            let mut output = Vec::new();
            let _ = stream.read_to_end(&mut output);
            check_last_response(&String::from_utf8(output).expect("text"), content);
        }
        drop((sends_head, first_request, sends_content));
        assert_eq!(ending.join().expect("ends").forced, 0);
    });
}

/// A response whose head was sent before cannot say it. It is complete all the same.
#[test]
fn a_stream_in_flight_is_finished() {
    on_each(|gate| {
        let idle = use_once(gate.connect());
        let mut busy = gate.connect();
        busy.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut head = [0; 17];
        busy.read_exact(&mut head).expect("the head");
        assert_eq!(&head, b"HTTP/1.1 200 OK\r\n");
        let (ending, lock) = gate.begin_shutdown(idle);
        Lock::open(&lock);
        let output = read_to_end(&mut busy);
        assert!(output.ends_with("\r\n8\r\nstreamed\r\n0\r\n\r\n"), "{output:?}");
        drop(busy);
        assert_eq!(ending.join().expect("ends").forced, 0);
    });
}
