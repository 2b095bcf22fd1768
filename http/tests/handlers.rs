//! Handlers: state that closures capture, replies that borrow, middleware that waits, and errors.
#![cfg(not(miri))]

use std::io::{Read, Write};
use std::net::{Shutdown as Side, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use tidegate_engine::{EngineKind, HandlerPlacement, Running, Shutdown, block_on};
use tidegate_http::{
    Handler, HandlerError, HttpConfig, OnUpgrade, Reply, Request, Response, ResponseBody, Result, Router, Server,
    sync_handler,
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

fn request(target: &str) -> Request {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    Request::parse(head.as_bytes(), "").expect("a valid request")
}

/// Asks a handler, and returns the status and the text of its response.
fn ask(handler: &impl Handler, target: &str) -> (u16, String) {
    let response = block_on(handler.handle(request(target)).response());
    let status = response.status().as_u16();
    match response.body() {
        ResponseBody::Bytes(bytes) => (status, String::from_utf8(bytes.to_vec()).expect("text")),
        _ => (status, String::new()),
    }
}

/// Waits for one turn.
async fn pause() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        match std::mem::replace(&mut waited, true) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

/// Serves a handler, sends each input on a connection of its own, and returns what came back until its end.
fn talk(app: impl Handler, inputs: &[&str]) -> Vec<String> {
    let builder = Server::builder(app).bind("127.0.0.1:0").expect("resolves").engine(EngineKind::Portable).workers(1);
    let running: Running = builder.placement(HandlerPlacement::Inline).start().expect("starts");
    let address = running.local_addr().expect("an address");
    let outputs = inputs.iter().map(|input| {
        let mut stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
        stream.write_all(input.as_bytes()).expect("sent");
        let mut output = String::new();
        stream.read_to_string(&mut output).expect("received");
        output
    });
    let outputs = outputs.collect();
    running.shutdown(Shutdown::immediate());
    outputs
}

#[test]
fn async_closures_capture_state_that_cannot_be_cloned() {
    let (visits, name) = (AtomicU64::new(0), String::from("Ada"));
    let app = Router::new().get("/", async move |_request: Request| {
        let visit = visits.fetch_add(1, Ordering::Relaxed);
        pause().await;
        format!("{name} {visit}")
    });
    assert_eq!(ask(&app, "/"), (200, "Ada 0".into()));
    assert_eq!(ask(&app, "/"), (200, "Ada 1".into()));
}

#[test]
fn every_form_of_a_handler_is_accepted() {
    async fn function(request: Request) -> String {
        pause().await;
        request.path().to_owned()
    }
    let state = std::sync::Arc::new(5);
    let boxed: Box<dyn Handler> = Box::new(function);
    let app = Router::new()
        .get("/function", function)
        .get("/boxed", boxed)
        .get("/closure", |_request| async { "closure" })
        .get("/async_closure", async |_request| "async closure")
        .get("/cloned", move |_request| {
            let state = state.clone();
            async move { state.to_string() }
        })
        .get("/sync", sync_handler(|_request| StatusCode::NO_CONTENT));
    assert_eq!(ask(&app, "/function").1, "/function");
    assert_eq!(ask(&app, "/boxed").1, "/boxed");
    assert_eq!(ask(&app, "/closure").1, "closure");
    assert_eq!(ask(&app, "/async_closure").1, "async closure");
    assert_eq!(ask(&app, "/cloned").1, "5");
    assert_eq!(ask(&app, "/sync").0, 204);
}

/// Adds to the text of each response, and counts it once it is complete.
struct Counted<H> {
    inner: H,
    suffix: String,
    answered: AtomicU64,
}

impl<H: Handler> Handler for Counted<H> {
    fn handle(&self, request: Request) -> Reply<'_> {
        Reply::from_future(async move {
            let response = self.inner.handle(request).response().await;
            pause().await;
            let number = self.answered.fetch_add(1, Ordering::Relaxed);
            response.with_header(header::ETAG, HeaderValue::from(number))
        })
        .map(|response| {
            let suffix = &self.suffix;
            match response.body() {
                ResponseBody::Bytes(bytes) => {
                    let text = String::from_utf8_lossy(bytes);
                    Response::text(format!("{text}{suffix}")).with_status(response.status())
                }
                _ => response,
            }
        })
    }
}

#[test]
fn middleware_uses_itself_after_an_await() {
    let inner = Router::new().get("/", async |_request| "Hello");
    let counted = Counted { inner, suffix: "!".to_owned(), answered: AtomicU64::new(0) };
    assert_eq!(ask(&counted, "/"), (200, "Hello!".into()));
    assert_eq!(ask(&counted, "/none"), (404, "not found\n!".into()));
    assert_eq!(counted.answered.load(Ordering::Relaxed), 2);
}

#[test]
fn middleware_serves_whole_connections() {
    let inner = async |request: Request| request.path().to_owned();
    let app = Counted { inner, suffix: "!".to_owned(), answered: AtomicU64::new(0) };
    let two = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let outputs = talk(app, &[two]);
    assert!(outputs[0].contains("\r\n\r\n/a!HTTP/1.1 200 "), "{outputs:?}");
    assert!(outputs[0].ends_with("\r\n\r\n/b!"), "{outputs:?}");
}

fn parse(request: &Request) -> Result<u64> {
    Ok(request.param("number").ok_or_else(|| HandlerError::new("no number"))?.parse()?)
}

async fn double(request: Request) -> Result<String> {
    let number = parse(&request)?;
    pause().await;
    let doubled = number.checked_mul(2);
    let doubled = doubled.ok_or_else(|| HandlerError::response((StatusCode::BAD_REQUEST, "too large")))?;
    Ok(doubled.to_string())
}

#[test]
fn a_failed_handler_is_answered_with_500_and_its_text_is_only_logged() {
    let log = Log::start();
    let app = Router::new().get("/double/:number", double).get("/closure", async |request: Request| -> Result {
        parse(&request)?;
        Ok(Response::text("parsed"))
    });
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let outputs = talk(app, &[&get("/double/x"), &get("/double/21"), &get("/closure")]);
    assert!(outputs[0].starts_with("HTTP/1.1 500 "), "{outputs:?}");
    assert!(outputs[0].ends_with("\r\n\r\ninternal server error\n"), "{outputs:?}");
    assert!(outputs[1].ends_with("\r\n\r\n42"), "{outputs:?}");
    assert!(outputs[2].ends_with("\r\n\r\ninternal server error\n"), "{outputs:?}");
    assert!(log.has("ERROR the handler of /double/:number failed: invalid digit found in string"));
    assert!(log.has("ERROR the handler of /closure failed: no number"));
}

#[test]
fn a_failed_handler_leaves_the_connection_open() {
    Log::start();
    let app = Router::new().get("/double/:number", double);
    let two = "GET /double/y HTTP/1.1\r\nHost: a\r\n\r\nGET /double/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let outputs = talk(app, &[two]);
    assert!(outputs[0].starts_with("HTTP/1.1 500 ") && outputs[0].ends_with("\r\n\r\n2"), "{outputs:?}");
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
                // The line is logged before the connection ends.
                let _ = stream.read_to_end(&mut Vec::new()).expect("an end in time");
                let peer = stream.local_addr().expect("connected").to_string();
                assert!(
                    log.has(&format!("ERROR {}", line.replace("PEER", &peer))),
                    "{target} on {kind:?}, {placement:?}"
                );
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
            pause().await;
            let response = self.0.handle(request).response().await;
            pause().await;
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
                pause().await;
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

/// Sends a request, and returns the address that it was sent from, once the server has closed the connection.
fn send_and_end(address: SocketAddr, input: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
    stream.write_all(input.as_bytes()).expect("sent");
    stream.shutdown(Side::Write).expect("half closed");
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

#[test]
fn an_upgrade_with_another_status_is_a_failure_of_the_server() {
    let log = Log::start();
    let changed = sync_handler(|_| {
        let upgrade = Response::upgrade(HeaderValue::from_static("echo"), async |_connection| ());
        upgrade.with_status(StatusCode::OK)
    });
    let fields = "Host: a\r\nConnection: upgrade, close\r\nUpgrade: echo\r\n\r\n";
    let outputs = talk(Router::new().get("/changed", changed), &[&format!("GET /changed HTTP/1.1\r\n{fields}")]);
    assert!(outputs[0].starts_with("HTTP/1.1 500 "), "{outputs:?}");
    let line =
        "the handler of /changed returned an upgrade with the status 200 OK: replace its content too, or leave 101";
    assert!(log.has(&format!("ERROR {line}")));
}

#[test]
fn a_response_is_an_error_that_is_sent_as_it_is() {
    let app = Router::new().get("/double/:number", double);
    assert_eq!(ask(&app, "/double/9223372036854775808"), (400, "too large".into()));
}

#[test]
fn body_errors_keep_their_status() {
    let app = Router::new().post("/", async |mut request: Request| -> Result {
        let content = request.bytes_up_to(3).await?;
        Ok(Response::bytes(content))
    });
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody";
    let outputs = talk(app, &[post]);
    assert!(outputs[0].starts_with("HTTP/1.1 413 "), "{outputs:?}");
    assert!(outputs[0].ends_with("content too large: at most 3 bytes are allowed"), "{outputs:?}");
}

#[test]
fn upgrades_can_box_their_future_themselves() {
    let app = sync_handler(|_request| {
        let upgrade = OnUpgrade::from_boxed(|connection| {
            Box::pin(async move {
                connection.sender().send("upgraded").await.expect("sent");
            })
        });
        Response::new(StatusCode::SWITCHING_PROTOCOLS)
            .with_header(header::UPGRADE, HeaderValue::from_static("greeting"))
            .with_body(ResponseBody::Upgrade(upgrade))
    });
    let input = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: greeting\r\n\r\n";
    let outputs = talk(app, &[input]);
    assert!(outputs[0].starts_with("HTTP/1.1 101 ") && outputs[0].ends_with("\r\n\r\nupgraded"), "{outputs:?}");
}
