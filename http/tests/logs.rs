//! The log: handlers are named by their routes and peers by their addresses, and refusals have their reason.
#![cfg(not(miri))]

use std::io::{Read, Write};
use std::net::{Shutdown as Side, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use tidegate_engine::time::sleep;
use tidegate_engine::{Config, EngineKind, HandlerPlacement, Running, Shutdown};
use tidegate_http::{
    Handler, HandlerError, HttpConfig, Reply, Request, Response, Result, Router, Server, sync_handler,
};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Keeps what is logged.
struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl Log {
    fn start() -> &'static Log {
        // Another test of this process can have set it already.
        let _ = log::set_logger(&LOG);
        log::set_max_level(log::LevelFilter::Debug);
        &LOG
    }

    fn has_begin(&self, begin: &str) -> bool {
        self.0.lock().expect("not poisoned").iter().any(|logged| logged.starts_with(begin))
    }

    fn has(&self, line: &str) -> bool {
        self.0.lock().expect("not poisoned").iter().any(|logged| logged == line)
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().expect("not poisoned").push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

/// Panics in a way that the compiler does not see.
fn panic_with(message: &str) -> Response {
    std::hint::black_box(Err::<Response, _>(message.to_owned())).unwrap_or_else(|message| panic!("{message}"))
}

/// Asks a server for each target, and checks that it logs the line, with the address of the client for `PEER`.
fn assert_logged<H: Handler>(app: fn() -> H, lines: &[(&str, &str)]) {
    let log = Log::start();
    for kind in [EngineKind::Auto, EngineKind::Portable] {
        for placement in [HandlerPlacement::Inline, HandlerPlacement::SameCore, HandlerPlacement::Threads(1)] {
            let builder = Server::builder(app()).bind("127.0.0.1:0").expect("resolves").engine(kind).workers(1);
            let running: Running = builder.placement(placement).start().expect("starts");
            let address = running.local_addr().expect("an address");
            for (target, line) in lines {
                let mut stream = TcpStream::connect(address).expect("connects");
                stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
                let fields = "Host: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                stream.write_all(format!("GET {target} HTTP/1.1\r\n{fields}").as_bytes()).expect("sent");
                let _ = stream.read_to_end(&mut Vec::new()).expect("an end in time");
                let peer = stream.local_addr().expect("connected").to_string();
                let line = format!("ERROR {}", line.replace("PEER", &peer));
                // The connection of an upgraded handler ends while its panic is logged.
                let start = std::time::Instant::now();
                while !log.has(&line) {
                    assert!(start.elapsed() < TEST_TIMEOUT, "{target} on {kind:?}, {placement:?}");
                    std::thread::yield_now();
                }
            }
            running.shutdown(Shutdown::immediate());
        }
    }
}

/// Middleware that calls its handler for some paths only after an await.
struct CallsLate<H>(H);

impl<H: Handler> Handler for CallsLate<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        if request.raw_query() != Some("late") {
            return self.0.handle(request);
        }
        Reply::from_future(async move {
            sleep(Duration::from_millis(1)).await;
            let response = self.0.handle(request).response().await;
            sleep(Duration::from_millis(1)).await;
            response
        })
    }
}

#[test]
fn a_panic_is_logged_with_its_handler_its_peer_and_its_message() {
    let app = || {
        let nested = Router::new()
            .get("/sync/:id", sync_handler(|_| panic_with("sync")))
            .get("/async/{id}", async |request: Request| {
                drop(request);
                sleep(Duration::from_millis(1)).await;
                panic_with("async")
            })
            .fallback(sync_handler(|_| panic_with("below")));
        let stream = sync_handler(|_| {
            Response::stream(|mut writer| async move {
                writer.write("some").await;
                let _ = panic_with("content");
                Ok(())
            })
        });
        let fallback = sync_handler(|_| panic_with("outer"));
        let upgrade = sync_handler(|_| {
            Response::upgrade(HeaderValue::from_static("echo"), |connection| async move {
                connection.sender().send("upgraded").await.expect("sent");
                let _ = panic_with("upgraded");
            })
        });
        let router =
            Router::new().get("/upgrade", upgrade).nest("/panics", nested).get("/stream", stream).fallback(fallback);
        CallsLate(router)
    };
    assert_logged(
        app,
        &[
            ("/panics/sync/1", "the handler of /panics/sync/:id panicked, connection of PEER closed: sync"),
            ("/panics/async/1", "the handler of /panics/async/{id} panicked, connection of PEER closed: async"),
            ("/panics/sync/1?late", "the handler of /panics/sync/:id panicked, connection of PEER closed: sync"),
            ("/panics/async/1?late", "the handler of /panics/async/{id} panicked, connection of PEER closed: async"),
            ("/stream?late", "response content of the handler of /stream panicked, connection of PEER closed: content"),
            ("/panics/x", "the fallback below /panics panicked, connection of PEER closed: below"),
            ("/stream", "response content of the handler of /stream panicked, connection of PEER closed: content"),
            ("/upgrade", "the handler of /upgrade panicked and its connection with PEER is closed: upgraded"),
            ("/x", "the fallback panicked, connection of PEER closed: outer"),
        ],
    );
}

/// Holds its thread until the log has a line that begins so.
fn hold_until_logged(begin: &str) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !LOG.has_begin(begin) {
        assert!(Instant::now() < deadline, "not logged: {begin}");
        std::thread::yield_now();
    }
}

/// Waits until another handler has run.
async fn other(visits: Arc<AtomicU64>) {
    while visits.swap(0, Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

/// The engine names a handler that holds its thread: in a call, after an await, in content, and after an upgrade. The
/// handler of another connection runs before.
#[test]
fn a_handler_that_holds_its_thread_is_named() {
    let log = Log::start();
    let app = |run: &str| {
        let visits = Arc::new(AtomicU64::new(0));
        let [by_late, by_content, by_upgrade] = [(); 3].map(|()| Arc::clone(&visits));
        let held = |path: &str| format!("WARN the handler of {path} has held ");
        let path = |name: &str| format!("/{run}/{name}");
        let (sync, late, content, upgrade) = (path("sync"), path("late"), path("content"), path("upgrade"));
        let lines = [held(&sync), held(&late), held(&content), held(&upgrade)];
        let [in_sync, in_late, in_content, in_upgrade] = lines;
        Router::new()
            .get("/other", sync_handler(move |_| visits.store(1, Ordering::Relaxed)))
            .get(&sync, sync_handler(move |_| hold_until_logged(&in_sync)))
            .get(&late, async move |_request| {
                other(Arc::clone(&by_late)).await;
                hold_until_logged(&in_late);
            })
            .get(
                &content,
                sync_handler(move |_| {
                    let (in_content, visits) = (in_content.clone(), Arc::clone(&by_content));
                    Response::stream(move |mut writer| async move {
                        writer.write("some").await;
                        other(visits).await;
                        hold_until_logged(&in_content);
                        Ok(())
                    })
                }),
            )
            .get(
                &upgrade,
                sync_handler(move |_| {
                    let (in_upgrade, visits) = (in_upgrade.clone(), Arc::clone(&by_upgrade));
                    Response::upgrade(HeaderValue::from_static("echo"), move |connection| async move {
                        other(visits).await;
                        hold_until_logged(&in_upgrade);
                        drop(connection);
                    })
                }),
            )
    };
    for kind in [EngineKind::Auto, EngineKind::Portable] {
        for placement in [HandlerPlacement::Inline, HandlerPlacement::SameCore, HandlerPlacement::Threads(1)] {
            let run = format!("{kind}-{placement}").replace(':', "");
            let builder = Server::builder(app(&run)).bind("127.0.0.1:0").expect("resolves").engine(kind).workers(1);
            let config = Config::default().thread_hold_warning(Duration::from_millis(20));
            let builder = builder.placement(placement).config(config).http(HttpConfig::default().half_close(true));
            let running: Running = builder.start().expect("starts");
            let address = running.local_addr().expect("an address");
            for name in ["sync", "late", "content", "upgrade"] {
                let fields = "Host: a\r\nConnection: upgrade, close\r\nUpgrade: echo\r\n\r\n";
                let mut stream = send(address, &format!("GET /{run}/{name} HTTP/1.1\r\n{fields}"));
                if matches!(name, "content" | "upgrade") {
                    stream.read_exact(&mut [0]).expect("the handler has begun");
                }
                if name != "sync" {
                    send_and_end(address, "GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                }
                let _ = stream.read_to_end(&mut Vec::new()).expect("an end in time");
                assert!(log.has_begin(&format!("WARN the handler of /{run}/{name} has held ")), "{run} {name}");
            }
            running.shutdown(Shutdown::immediate());
        }
    }
}

/// Sends a request, and nothing after it.
fn send(address: SocketAddr, input: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
    stream.write_all(input.as_bytes()).expect("sent");
    stream.shutdown(Side::Write).expect("half closed");
    stream
}

/// Sends a request, and returns the address that it was sent from, once the server has closed the connection.
fn send_and_end(address: SocketAddr, input: &str) -> String {
    let mut stream = send(address, input);
    let _ = stream.read_to_end(&mut Vec::new()).expect("an end in time");
    stream.local_addr().expect("connected").to_string()
}

#[test]
fn a_refusal_is_logged_with_its_reason_and_its_peer() {
    let log = Log::start();
    let reads = async |mut request: Request| -> Result { Ok(Response::bytes(request.bytes().await?)) };
    let upgrade = sync_handler(|_| Response::upgrade(HeaderValue::from_static("echo"), async |_connection| ()));
    let app = || Router::new().post("/reads", reads).get("/upgrade", upgrade);
    for kind in [EngineKind::Auto, EngineKind::Portable] {
        let builder = Server::builder(app()).bind("127.0.0.1:0").expect("resolves").engine(kind).workers(1);
        let running: Running = builder.http(HttpConfig::default().half_close(true)).start().expect("starts");
        let address = running.local_addr().expect("an address");
        for (input, line) in [
            (
                "GET /\r\n\r\n",
                "request of PEER refused with 400 Bad Request: malformed request line: must be `method SP \
                 request-target SP HTTP-version`",
            ),
            (
                "POST /reads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
                "content of a request of PEER refused with 400 Bad Request: invalid chunk size: must be 1 to 16 hexadecimal \
                 digits",
            ),
            (
                "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                "upgrade of PEER by the handler of /upgrade refused with 426 Upgrade Required: the request does not ask \
                 for it",
            ),
        ] {
            let peer = send_and_end(address, input);
            assert!(log.has(&format!("DEBUG {}", line.replace("PEER", &peer))), "{input:?} on {kind:?}");
        }
        running.shutdown(Shutdown::immediate());
    }
}

/// Serves one request on the portable engine, and returns everything that came back.
fn answer(app: Router, input: &str) -> String {
    let builder = Server::builder(app).bind("127.0.0.1:0").expect("resolves").engine(EngineKind::Portable).workers(1);
    let running: Running = builder.http(HttpConfig::default().half_close(true)).start().expect("starts");
    let mut output = String::new();
    let mut stream = send(running.local_addr().expect("an address"), input);
    stream.read_to_string(&mut output).expect("an end in time");
    running.shutdown(Shutdown::immediate());
    output
}

#[test]
fn the_text_of_a_failed_handler_is_logged_with_its_route() {
    let log = Log::start();
    let fails = async |request: Request| -> Result<String> {
        sleep(Duration::from_millis(1)).await;
        Ok(request.param("number").ok_or_else(|| HandlerError::new("no number"))?.parse::<u64>()?.to_string())
    };
    for (path, line) in [
        ("/double/x", "ERROR the handler of /double/:number failed: invalid digit found in string"),
        ("/none", "ERROR the handler of /none failed: no number"),
    ] {
        let app = Router::new().get("/double/:number", fails).get("/none", fails);
        let output = answer(app, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert!(output.starts_with("HTTP/1.1 500 "), "{output}");
        assert!(log.has(line), "{line}");
    }
}

#[test]
fn an_upgrade_with_another_status_is_a_failure_of_the_server() {
    let log = Log::start();
    let changed = sync_handler(|_| {
        let upgrade = Response::upgrade(HeaderValue::from_static("echo"), async |_connection| ());
        upgrade.with_status(StatusCode::OK)
    });
    let fields = "Host: a\r\nConnection: upgrade, close\r\nUpgrade: echo\r\n\r\n";
    let output = answer(Router::new().get("/changed", changed), &format!("GET /changed HTTP/1.1\r\n{fields}"));
    assert!(output.starts_with("HTTP/1.1 500 "), "{output}");
    let line =
        "the handler of /changed returned an upgrade with the status 200 OK: replace its content too, or leave 101";
    assert!(log.has(&format!("ERROR {line}")));
}
