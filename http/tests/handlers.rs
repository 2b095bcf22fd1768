//! Handlers: state that closures capture, replies that borrow, middleware that waits, and errors.
#![cfg(not(miri))]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use tidegate_engine::{EngineKind, HandlerPlacement, Running, Shutdown, block_on};
use tidegate_http::{
    Handler, HandlerError, OnUpgrade, Reply, Request, Response, ResponseBody, Result, Router, Server, sync_handler,
};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

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
    let state = Arc::new(5);
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
fn a_failed_handler_is_answered_with_500_without_its_text() {
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
}

#[test]
fn a_failed_handler_leaves_the_connection_open() {
    let app = Router::new().get("/double/:number", double);
    let two = "GET /double/y HTTP/1.1\r\nHost: a\r\n\r\nGET /double/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let outputs = talk(app, &[two]);
    assert!(outputs[0].starts_with("HTTP/1.1 500 ") && outputs[0].ends_with("\r\n\r\n2"), "{outputs:?}");
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
