//! Timeouts and limits by route.

use std::io::{Read, Write};
use std::time::Duration;

use tidegate_http::{BodyError, HttpConfig, Limits, Request, Response, RouteConfig, Router, Server, ServerBuilder};

use crate::support::{Answer, ask, connect, exchange, on_each, read_to_end};

/// Long enough for everything but a wait that the test intends.
const SOON: Duration = Duration::from_millis(50);

async fn never(_request: Request) -> Response {
    std::future::pending().await
}

async fn size(mut request: Request) -> Result<String, BodyError> {
    Ok(request.bytes().await?.len().to_string())
}

async fn waits(_request: Request) -> &'static str {
    tidegate_engine::time::sleep(3 * SOON).await;
    "done"
}

fn server() -> ServerBuilder<Router> {
    let config = RouteConfig::default;
    let app = Router::new()
        .get("/never", config().handler_timeout(SOON).wrap(never))
        .get("/patient", config().handler_timeout(Duration::MAX).wrap(waits))
        .post("/prompt", config().content_timeout(SOON).wrap(size))
        .post("/small", config().body_bytes_max(10).wrap(size))
        .post("/large", config().body_bytes_max(1 << 40).wrap(size))
        .post("/size", size)
        .get("/", async |_request: Request| "index");
    Server::builder(app).http(HttpConfig::default().limits(Limits::default().body_bytes_max(1000)))
}

#[test]
fn a_route_has_its_own_handler_timeout() {
    on_each(server, |address| {
        assert_eq!(Answer::parse(&exchange(address, b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")).status, 503);
        assert_eq!(ask(address, "GET / HTTP/1.1", b"").content, "index");
    });
    on_each(
        || server().http(HttpConfig::default().handler_timeout(SOON)),
        |address| {
            let answer = exchange(address, b"GET /patient HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            assert!(answer.ends_with("done"), "{answer}");
            // The server's timeout is in force again for the next request.
            let both = b"GET /patient HTTP/1.1\r\nHost: a\r\n\r\nGET /patient HTTP/1.1\r\nHost: a\r\n\r\n";
            let mut stream = connect(address);
            stream.write_all(both).expect("sent");
            stream.write_all(b"POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n").expect("sent");
            let answers = read_to_end(&mut stream);
            assert!(answers.matches("HTTP/1.1 200").count() == 2 && answers.contains("HTTP/1.1 503"), "{answers}");
        },
    );
}

#[test]
fn a_route_has_its_own_limit_of_content() {
    on_each(server, |address| {
        for (path, bytes, status) in [
            ("/small", 10, 200),
            ("/small", 11, 413),
            ("/size", 1000, 200),
            ("/size", 1001, 413),
            ("/large", 1000, 200),
            ("/large", 1001, 413),
        ] {
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n");
            let announced = exchange(address, &[head.as_bytes(), &vec![b'x'; bytes]].concat());
            assert_eq!(Answer::parse(&announced).status, status, "{path} {bytes}");
            let chunked = format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {bytes:x}\r\n{}\r\n0\r\n\r\n",
                "x".repeat(bytes)
            );
            assert_eq!(Answer::parse(&exchange(address, chunked.as_bytes())).status, status, "{path} {bytes} chunked");
        }
        // The limits of a route end with its request.
        let two = b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\
                    POST /size HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                    14\r\n01234567890123456789\r\n0\r\n\r\n";
        assert!(exchange(address, two).ends_with("\r\n\r\n20"));
        assert_eq!(ask(address, "POST /small HTTP/1.1", b"0123456789").content, "10");
    });
}

#[test]
fn a_route_has_its_own_content_timeout() {
    on_each(server, |address| {
        let half = b"POST /prompt HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
        assert_eq!(Answer::parse(&exchange(address, half)).status, 408);
        assert_eq!(ask(address, "POST /prompt HTTP/1.1", b"whole").content, "5");
    });
}

#[test]
fn a_route_has_its_own_keep_alive_timeout() {
    let server = || {
        let patient = RouteConfig::default().keep_alive_timeout(Duration::from_secs(600));
        let hasty = RouteConfig::default().keep_alive_timeout(SOON);
        let index = async |_request: Request| "index";
        let app = Router::new().get("/", index).get("/patient", patient.wrap(index)).get("/hasty", hasty.wrap(index));
        Server::builder(app)
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    on_each(
        || server().http(HttpConfig::default().keep_alive_timeout(SOON)),
        |address| {
            let (mut patient, mut other) = (connect(address), connect(address));
            patient.write_all(&get("/patient")).expect("sent");
            let mut first = [0; 5];
            patient.read_exact(&mut first).expect("answered");
            other.write_all(&get("/")).expect("sent");
            assert!(read_to_end(&mut other).ends_with("index"), "closed after the server's timeout");
            patient.write_all(&get("/")).expect("sent");
            let rest = read_to_end(&mut patient);
            assert_eq!(rest.matches("index").count(), 2, "{rest}");
        },
    );
    on_each(server, |address| assert!(exchange(address, &get("/hasty")).ends_with("index")));
}

#[test]
#[should_panic(expected = "invalid timeout 0s: must be above zero")]
fn a_timeout_of_zero_is_refused() {
    let _ = RouteConfig::default().handler_timeout(Duration::ZERO).wrap(never);
}
