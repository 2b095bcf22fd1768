//! The clock of a test: it stands still, and everything that is due happens when it is moved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tidegate::engine::testing::{PeerEnd, Stuck, TestConfig};
use tidegate::engine::{block_on, time};
use tidegate::prelude::*;
use tidegate::web::testing::{TestError, TestServer};
use tidegate::web::{AccessLog, RouteConfig};

const SECOND: Duration = Duration::from_secs(1);

/// A step of the clock and the one that a timeout counts from.
const SLACK: Duration = Duration::from_millis(16);

/// Answers after the seconds in the query.
async fn sleep(request: Request) -> String {
    let seconds: u32 = request.query("s").and_then(|s| s.parse().ok()).unwrap_or(1);
    let began = time::now();
    time::sleep(SECOND * seconds).await;
    format!("{}", time::now().duration_since(began).as_secs())
}

#[test]
fn sleeps_end_when_the_clock_is_moved() {
    let server = TestServer::new(sleep);
    let began = Instant::now();
    let mut hour = server.get("/?s=3600").start();
    server.advance(SECOND * 3600 - SLACK);
    assert!(!hour.is_answered(), "never early");
    server.advance(SLACK);
    assert_eq!(hour.response().text(), "3600");
    assert!(began.elapsed() < SECOND * 3600);
}

/// One move of the clock passes every time in between.
#[test]
fn everything_happens_in_order_and_at_its_time() {
    let seen: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
    let log = Arc::clone(&seen);
    let app = async move |request: Request| {
        let number: u64 = request.query("n").and_then(|n| n.parse().ok()).unwrap_or_default();
        let began = time::now();
        for _ in 0..2 {
            time::sleep(SECOND * number as u32).await;
            log.lock().unwrap().push((number, time::now().duration_since(began).as_secs()));
        }
    };
    let server = TestServer::new(app);
    let exchanges = [3, 1, 2].map(|number| server.get(&format!("/?n={number}")).start());
    server.advance(SECOND * 10);
    for exchange in exchanges {
        exchange.response().assert_status(204);
    }
    let mut seen = seen.lock().unwrap().clone();
    assert!(seen.is_sorted_by_key(|(_, at)| *at), "{seen:?}");
    seen.sort();
    assert_eq!(seen, [(1, 1), (1, 2), (2, 2), (2, 4), (3, 3), (3, 6)]);
}

/// Applications compute deadlines with the system's clock, whatever the test's shows.
#[test]
fn deadlines_by_the_systems_clock_are_understood() {
    let server = TestServer::new(async |_request: Request| {
        time::sleep_until(Instant::now() + SECOND * 60).await;
    });
    server.advance(SECOND * 86_400);
    let mut exchange = server.get("/").start();
    server.advance(SECOND * 50);
    assert!(!exchange.is_answered());
    server.advance(SECOND * 10);
    exchange.response().assert_status(204);
}

#[test]
fn routes_have_their_timeouts() {
    let quick = RouteConfig::default().handler_timeout(SECOND * 2);
    let upload = RouteConfig::default().content_timeout(SECOND * 5);
    let app = Router::new().get("/slow", quick.wrap(sleep)).post(
        "/upload",
        upload.wrap(async |mut request: Request| request.bytes().await.map(|bytes| bytes.len().to_string())),
    );
    let server = TestServer::new(app);

    let slow = server.get("/slow?s=3").start();
    server.advance(SECOND * 2);
    assert_eq!(slow.response().assert_status(503).text(), "the handler took too long\n");
    let slow = server.get("/slow?s=1").start();
    server.advance(SECOND);
    slow.response().assert_status(200);

    let mut upload = server.post("/upload").streamed().start();
    for _ in 0..3 {
        server.advance(SECOND * 4);
        upload.write("piece");
    }
    assert!(!upload.is_answered());
    server.advance(SECOND * 5);
    upload.response().assert_status(408);
}

#[test]
fn connections_have_their_timeouts() {
    let http = HttpConfig::default().keep_alive_timeout(SECOND * 75).header_timeout(SECOND * 10);
    let server = TestServer::start(Server::builder(sync_handler(|_request| "Hello")).http(http)).unwrap();
    let mut client = server.client();
    client.get("/").send().assert_status(200);
    server.advance(SECOND * 75 - SLACK);
    assert!(client.is_connected());
    server.advance(SLACK);
    assert!(!client.is_connected());

    let mut half = server.connect();
    half.write(b"GET / HT");
    server.advance(SECOND * 10);
    assert!(half.read().starts_with(b"HTTP/1.1 408 "));
    assert_eq!(half.ended(), Some(PeerEnd::Finished));

    // The time for the first head begins with the connection, not with its first bytes.
    let (mut silent, mut late) = (server.connect(), server.connect());
    server.advance(SECOND * 6);
    late.write(b"GET / HT");
    server.advance(SECOND * 4 - SLACK);
    assert_eq!((silent.ended(), late.ended()), (None, None));
    server.advance(SLACK);
    assert_eq!((silent.read(), silent.ended()), (Vec::new(), Some(PeerEnd::Finished)));
    assert!(late.read().starts_with(b"HTTP/1.1 408 "));
}

#[test]
fn a_silent_event_stream_sends_comments() {
    let app = async |_request: Request| {
        Response::sse(async move |events| {
            events.draining().await;
            Ok(())
        })
    };
    let server = TestServer::new(app);
    let mut events = server.get("/").start();
    assert_eq!(events.received(), "");
    for _ in 0..3 {
        server.advance(SECOND * 15);
        assert_eq!(events.content().unwrap(), ": keep-alive\n\n");
    }
    server.begin_shutdown(Shutdown::default());
    assert_eq!(events.content(), None);
}

#[test]
fn an_access_log_has_durations_by_the_tests_clock() {
    let (out, lines) = channel();
    let log = AccessLog::new(move |record| {
        let _ = out.send(record.duration);
    });
    let server = TestServer::start(Server::builder(sleep).access_log(log)).unwrap();
    let exchange = server.get("/?s=7").start();
    server.advance(SECOND * 7);
    exchange.response().assert_status(200);
    let duration = lines.recv().unwrap();
    assert!((SECOND * 7..=SECOND * 7 + SLACK).contains(&duration), "{duration:?}");
}

#[test]
fn a_shutdown_resets_what_does_not_end() {
    let server = TestServer::new(sleep);
    let (quick, slow) = (server.get("/?s=5").start(), server.get("/?s=100").start());
    server.begin_shutdown(Shutdown::default().drain_timeout(SECOND * 30));
    server.advance(SECOND * 5);
    quick.response().assert_status(200);
    let report = server.shutdown(Shutdown::default().drain_timeout(SECOND * 30));
    assert_eq!((report.drained, report.forced, report.failed_workers), (1, 1, 0));
    let error = slow.try_response().unwrap_err();
    assert!(matches!(error, TestError::Closed { end: PeerEnd::Reset, .. }), "{error}");
    let error = server.get("/").try_send().unwrap_err();
    assert!(matches!(error, TestError::Closed { end: PeerEnd::Reset, .. }), "{error}");
}

/// A wait for something that only the clock brings fails, with an error that says so.
#[test]
fn a_request_that_nothing_answers_is_an_error() {
    let impatient = TestConfig::default().patience(Duration::from_millis(20));
    let server = TestServer::start_with(Server::builder(sleep), impatient).unwrap();
    let error = server.get("/report").try_send().unwrap_err();
    assert_eq!(error, TestError::NoResponse { request: "GET /report".to_owned(), reason: Stuck::Idle });
    let text = "no response to GET /report: the handlers wait; advance the clock, or send what they wait for";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_handler_that_blocks_is_an_error() {
    let (free, freed) = channel::<()>();
    let freed = Mutex::new(freed);
    let app = async move |request: Request| {
        if request.path() == "/block" {
            let _ = freed.lock().unwrap().recv();
        }
    };
    let impatient = TestConfig::default().hold_timeout(Duration::from_millis(20));
    let server = TestServer::start_with(Server::builder(app), impatient).unwrap();
    let mut peer = server.connect();
    peer.offer(b"GET /block HTTP/1.1\r\nHost: a\r\n\r\n");
    let error = server.get("/").try_send();
    drop(free);
    assert_eq!(error.unwrap_err(), TestError::NoResponse { request: "GET /".to_owned(), reason: Stuck::Busy });
}

/// The hooks of the handlers' threads run, and what they start follows the clock.
#[test]
fn tasks_of_the_thread_follow_the_clock() {
    let minutes: Arc<AtomicU64> = Arc::default();
    let count = Arc::clone(&minutes);
    let app = async move |_request: Request| count.load(Ordering::Relaxed).to_string();
    let builder = Server::builder(app).on_handler_thread_start(move || {
        let minutes = Arc::clone(&minutes);
        tidegate::spawn_local(async move {
            loop {
                time::sleep(SECOND * 60).await;
                minutes.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    let server = TestServer::start(builder).unwrap();
    assert_eq!(server.get("/").send().text(), "0");
    server.advance(SECOND * 60 * 5);
    assert_eq!(server.get("/").send().text(), "5");
}

/// What another thread does is waited for, without the clock.
#[test]
fn other_threads_are_waited_for() {
    let app = async |_request: Request| {
        Response::sse(async move |events| {
            let sender = events.sender()?;
            let thread = std::thread::spawn(move || block_on(sender.send(web::Event::data("from elsewhere"))));
            events.draining().await;
            let _ = thread.join();
            Ok(())
        })
    };
    let server = TestServer::new(app);
    let mut events = server.get("/").start();
    assert_eq!(events.content().unwrap(), "data: from elsewhere\n\n");
}
