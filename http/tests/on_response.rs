//! The function that sees every response, those of the server itself included.
#![cfg(not(miri))]

use std::io::{Read, Write};
use std::net::{Shutdown as Side, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use tidegate_engine::{EngineKind, HandlerPlacement, Shutdown};
use tidegate_http::{HttpConfig, Limits, Request, RequestInfo, Response, RouteConfig, Router, Server};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

fn app() -> Router {
    let hasty = RouteConfig::default().handler_timeout(Duration::from_millis(20));
    Router::new()
        .get("/", async |_request: Request| "hello")
        .get("/waits", async |_request: Request| {
            tidegate_engine::time::sleep(Duration::from_millis(1)).await;
            "waited"
        })
        .get("/panics", async |_request: Request| -> &'static str { panic!("as the test asked for") })
        .get("/forever", hasty.wrap(async |_request: Request| std::future::pending::<&'static str>().await))
        .get("/informational", async |_request: Request| StatusCode::PROCESSING)
        .get("/upgrade", async |_request: Request| {
            Response::upgrade(HeaderValue::from_static("other"), async |_connection| ())
        })
}

/// Each answer has the field of the function, which knows the request's id unless it was refused.
#[test]
fn every_response_is_seen() {
    let placements = [HandlerPlacement::SameCore, HandlerPlacement::Inline];
    for (kind, placement) in
        placements.map(|it| (EngineKind::Uring, it)).into_iter().chain([(EngineKind::Portable, placements[0])])
    {
        println!("on {kind:?}/{placement:?}");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        let observe = move |request: &RequestInfo, response: &mut Response| {
            let id = request.head().and_then(|head| head.header("x-id")).unwrap_or("none").to_owned();
            assert!(request.peer_addr().and_then(|peer| peer.ip()).is_some_and(|peer| peer.ip().is_loopback()));
            let field = HeaderValue::from_str(&id).expect("a field value");
            response.set_header(HeaderName::from_static("x-seen"), field);
            let refusal = request.refusal().map(|error| error.status().as_u16());
            list.lock().expect("not poisoned").push((id, response.status().as_u16(), refusal));
        };
        let config = HttpConfig::default()
            // Longer than a busy machine keeps a client from its request.
            .header_timeout(Duration::from_secs(2))
            .limits(Limits::default().head_bytes_max(1000).target_bytes_max(500).body_bytes_max(10));
        let builder = Server::builder(app()).on_response(observe).http(config).engine(kind).placement(placement);
        let running = builder.workers(1).bind("127.0.0.1:0").expect("loopback").start().expect("a server");
        let ask = |request: &str| {
            let mut stream = TcpStream::connect(running.local_addr().expect("TCP")).expect("connects");
            stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("a timeout");
            stream.write_all(request.as_bytes()).expect("written");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            answer
        };
        let get = |path: &str, id: &str| {
            ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nx-id: {id}\r\nconnection: close\r\n\r\n"))
        };
        let long = "x".repeat(2000);
        for (answer, status, id) in [
            (get("/", "1"), 200, "1"),
            (get("/waits", "2"), 200, "2"),
            (get("/missing", "3"), 404, "3"),
            (get("/panics", "4"), 500, "4"),
            (get("/forever", "5"), 503, "5"),
            (get("/informational", "6"), 500, "6"),
            (get("/upgrade", "7"), 426, "7"),
            (ask("GET / HTTP/1.1\r\n\r\n"), 400, "none"),
            (ask(&format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {long}\r\n\r\n")), 431, "none"),
            (ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n"), 413, "none"),
            (ask("GET / HTTP/1.1\r\nhost"), 408, "none"),
        ] {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert!(answer.contains(&format!("\r\nx-seen: {id}\r\n")), "{answer}");
        }
        let seen = seen.lock().expect("not poisoned");
        let refusals: Vec<_> = seen.iter().filter_map(|(_, _, refusal)| *refusal).collect();
        assert_eq!(refusals, [400, 431, 413, 408]);
        running.shutdown(Shutdown::immediate());
    }
}

/// A panic of the function is contained, and pipelined responses keep their order.
#[test]
fn a_function_that_panics_changes_nothing() {
    let builder = Server::builder(app()).on_response(|_, _| panic!("as the test asked for")).workers(1);
    let running = builder.bind("127.0.0.1:0").expect("loopback").start().expect("a server");
    let mut stream = TcpStream::connect(running.local_addr().expect("TCP")).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("a timeout");
    let requests = "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /waits HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).expect("written");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("answers");
    let _ = stream.shutdown(Side::Both);
    assert!(answers.contains("\r\n\r\nhelloHTTP/1.1 200 OK") && answers.ends_with("\r\n\r\nwaited"), "{answers}");
    running.shutdown(Shutdown::immediate());
}
