//! Event streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use http::StatusCode;
use tidegate_engine::{Shutdown, block_on};
use tidegate_http::{Event, EventStream, Request, Response, Router, Server, ServerBuilder, StreamError};

use crate::support::{Answer, TEST_TIMEOUT, connect, exchange, on_each, on_each_running};

/// Sends events 0 to `n`, from the one after Last-Event-ID on.
async fn count(request: Request) -> Response {
    let n: u64 = request.query("n").and_then(|n| n.parse().ok()).unwrap_or(0);
    let first = request.last_event_id().and_then(|id| id.parse().ok()).map_or(0, |id: u64| id + 1);
    Response::sse(move |mut events| async move {
        for number in first..n {
            events.send(Event::data(format!("event\n{number}")).id(number.to_string())).await?;
        }
        Ok(())
    })
}

fn app() -> Router {
    Router::new().get("/events", count)
}

fn server() -> ServerBuilder<Router> {
    Server::builder(app())
}

/// Reads the chunks of a response whose head is read next, until `chunks` have arrived or the last one has.
struct Chunks {
    reader: BufReader<TcpStream>,
}

impl Chunks {
    fn open(address: SocketAddr, target: &str) -> Chunks {
        let mut stream = connect(address);
        write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert_ne!(reader.read_line(&mut line).expect("a head"), 0);
        }
        Chunks { reader }
    }

    /// The next chunk; `None` for the last, after which the connection must end if `is_last`.
    fn next(&mut self) -> Option<String> {
        let mut size = String::new();
        self.reader.read_line(&mut size).expect("a chunk");
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap_or_else(|_| panic!("not a size: {size:?}"));
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("a chunk");
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        Some(String::from_utf8(chunk).expect("text")).filter(|_| size > 0)
    }

    fn assert_closed(mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("closed in order");
        assert_eq!(rest, b"");
    }
}

#[test]
fn a_client_resumes_after_its_last_event() {
    on_each(server, |address| {
        let request = "GET /events?n=3 HTTP/1.1\r\nHost: a\r\n\r\n\
                       GET /events?n=3 HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 1\r\nConnection: close\r\n\r\n";
        let both = exchange(address, request.as_bytes());
        let (first, second) = both.rsplit_once("HTTP/1.1 200").expect("two responses on one connection");
        let first = Answer::parse(first);
        assert_eq!(first.field("content-type"), Some("text/event-stream"));
        assert_eq!(first.field("cache-control"), Some("no-cache"));
        let event = |n| format!("1b\r\ndata: event\ndata: {n}\nid: {n}\n\n\r\n");
        assert_eq!(first.content, format!("{}{}{}0\r\n\r\n", event(0), event(1), event(2)));
        let (_, second) = second.split_once("\r\n\r\n").expect("a head");
        assert_eq!(second, format!("{}0\r\n\r\n", event(2)));
        let old = exchange(address, b"GET /events?n=1 HTTP/1.0\r\n\r\n");
        assert!(old.ends_with("\r\n\r\ndata: event\ndata: 0\nid: 0\n\n"), "{old}");
        let head = exchange(address, b"HEAD /events?n=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn a_silent_stream_sends_comments() {
    let server = || {
        let quiet = async |_request: Request| {
            Response::sse(|mut events| async move {
                events.set_keep_alive(Some(Duration::from_millis(10)));
                events.send(Event::data("first")).await?;
                std::future::pending().await
            })
        };
        Server::builder(Router::new().get("/", quiet))
    };
    on_each(server, |address| {
        let mut chunks = Chunks::open(address, "/");
        assert_eq!(chunks.next().as_deref(), Some("data: first\n\n"));
        for _ in 0..3 {
            assert_eq!(chunks.next().as_deref(), Some(": keep-alive\n\n"));
        }
    });
}

/// Reports that it was dropped.
struct Dropped(mpsc::Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // The test can have ended.
        let _ = self.0.send(());
    }
}

#[test]
fn the_function_ends_with_its_client_and_with_the_server() {
    let (dropped, drops) = mpsc::channel();
    let dropped = std::sync::Mutex::new(dropped);
    let server = || {
        let dropped = dropped.lock().expect("not poisoned").clone();
        let dropped = std::sync::Mutex::new(dropped);
        let waits = async move |_request: Request| {
            let guard = Dropped(dropped.lock().expect("not poisoned").clone());
            Response::sse(move |mut events| async move {
                let _guard = guard;
                events.send(Event::data("first")).await?;
                std::future::pending().await
            })
        };
        Server::builder(Router::new().get("/", waits))
    };
    on_each_running(server, |running| {
        let address = running.local_addr().expect("an address");
        let mut gone = Chunks::open(address, "/");
        assert!(gone.next().is_some());
        drop(gone);
        drops.recv_timeout(TEST_TIMEOUT).expect("dropped with its client");
        let mut drained = Chunks::open(address, "/");
        assert!(drained.next().is_some());
        running.handle().begin_shutdown(Shutdown::default());
        drops.recv_timeout(TEST_TIMEOUT).expect("dropped by the drain");
        assert_eq!(drained.next(), None);
        drained.assert_closed();
        assert_eq!(running.join().forced, 0);
    });
}

#[test]
fn a_function_that_watches_the_drain_says_goodbye() {
    let server = || {
        let polite = async |_request: Request| {
            Response::sse(|mut events| async move {
                events.send(Event::data("first")).await?;
                events.draining().await;
                events.send(Event::data("last")).await?;
                Ok(())
            })
        };
        Server::builder(Router::new().get("/", polite))
    };
    on_each_running(server, |running| {
        let mut chunks = Chunks::open(running.local_addr().expect("an address"), "/");
        assert_eq!(chunks.next().as_deref(), Some("data: first\n\n"));
        running.handle().begin_shutdown(Shutdown::default());
        assert_eq!(chunks.next().as_deref(), Some("data: last\n\n"));
        assert_eq!(chunks.next(), None);
        chunks.assert_closed();
        assert_eq!(running.join().forced, 0);
    });
}

/// Sends from four threads and from the function itself, then ends.
async fn shared(mut events: EventStream) -> Result<(), StreamError> {
    let sent = Arc::new(AtomicUsize::new(0));
    for thread in 0..4 {
        let (sender, sent) = (events.sender()?, Arc::clone(&sent));
        thread::spawn(move || {
            for number in 0..50 {
                // Below and above the size from which pieces are queued by reference.
                let filler = "x".repeat(if number % 10 == 0 { 10_000 } else { 10 });
                let event = Event::data(format!("{thread} {number} {filler}"));
                block_on(sender.send(event)).expect("the stream is open");
            }
            sent.fetch_add(1, Ordering::Release);
            // The stream has ended by now or ends soon; sending must fail then, and never follow the last chunk.
            while block_on(sender.send(Event::comment("late"))).is_ok() {
                thread::yield_now();
            }
        });
    }
    for number in 0..50 {
        events.send(Event::data(format!("4 {number} {}", "y".repeat(5_000)))).await?;
    }
    while sent.load(Ordering::Acquire) < 4 {
        events.send(Event::comment("waiting")).await?;
    }
    Ok(())
}

#[test]
fn events_of_several_threads_are_whole_and_end_with_the_stream() {
    on_each(
        || Server::builder(Router::new().get("/", async |_request: Request| Response::sse(shared))),
        |address| {
            let mut chunks = Chunks::open(address, "/");
            let mut next = [0; 5];
            while let Some(chunk) = chunks.next() {
                let Some(event) = chunk.strip_prefix("data: ") else {
                    assert!(chunk == ": late\n\n" || chunk == ": waiting\n\n", "{chunk:?}");
                    continue;
                };
                let mut words = event.strip_suffix("\n\n").expect("whole").split(' ');
                let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
                let (thread, number): (usize, usize) = (number(), number());
                assert_eq!(number, next[thread], "of {thread}");
                next[thread] += 1;
            }
            assert_eq!(next, [50; 5]);
            chunks.assert_closed();
        },
    );
}

#[test]
fn an_invalid_event_ends_the_stream_without_its_end() {
    let server = || {
        let injected = async |_request: Request| {
            Response::sse(|mut events| async move { Ok(events.send(Event::data("a").id("1\ndata: b")).await?) })
        };
        Server::builder(Router::new().get("/", injected))
    };
    on_each(server, |address| {
        let answer = exchange(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\n") && !answer.ends_with("0\r\n\r\n"), "{answer}");
    });
}

#[test]
fn a_stream_that_middleware_has_wrapped_cannot_be_shared() {
    let server = || {
        let wrapped = async |_request: Request| {
            let mut response = Response::sse(|events| async move {
                let refused = events.sender().expect_err("wrapped").to_string();
                assert!(refused.contains("middleware has wrapped"), "{refused}");
                Ok(())
            });
            let tidegate_http::ResponseBody::Stream(mut inner) = response.take_body() else { panic!("a stream") };
            Response::stream(|mut writer| async move {
                while let Some(piece) = std::future::poll_fn(|cx| inner.poll_next(cx)).await {
                    writer.write(piece?).await;
                }
                Ok(())
            })
            .with_status(StatusCode::OK)
        };
        Server::builder(Router::new().get("/", wrapped))
    };
    on_each(server, |address| {
        assert!(exchange(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ends_with("0\r\n\r\n"));
    });
}
