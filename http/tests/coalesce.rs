//! Coalescing: small responses to the requests of one received chunk leave together, and none waits for a slow one.
#![cfg(not(miri))]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use http::HeaderValue;
use tidegate_engine::{EngineKind, HandlerPlacement, Running, Shutdown};
use tidegate_http::{BodyError, Request, Response, Router, Server, sync_handler};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Content of the numbered responses: as large as a coalesced one can be.
const CONTENT_BYTES: usize = 4096;

fn app() -> Router {
    Router::new()
        .get("/ready", sync_handler(|_| "ready"))
        .get("/never", |_req: Request| std::future::pending::<Response>())
        .get("/numbered/:number", sync_handler(|req: Request| numbered(req.param("number").unwrap_or_default())))
        .get("/panic", sync_handler(|_| -> Response { panic!("on purpose") }))
        .post("/echo", |mut req: Request| async move { Ok::<_, BodyError>(Response::bytes(req.bytes().await?)) })
        .get(
            "/stream",
            sync_handler(|_| {
                Response::stream(|_writer| async {
                    std::future::pending::<()>().await;
                    Ok(())
                })
            }),
        )
        .get(
            "/upgrade",
            sync_handler(|_| {
                Response::upgrade(HeaderValue::from_static("none"), |connection| async move {
                    std::future::pending::<()>().await;
                    drop(connection);
                })
            }),
        )
}

fn numbered(number: &str) -> String {
    format!("{number:0>CONTENT_BYTES$}")
}

fn on_each(test: impl Fn(TcpStream)) {
    for kind in [EngineKind::Auto, EngineKind::Portable] {
        for placement in [HandlerPlacement::SameCore, HandlerPlacement::Inline] {
            let builder = Server::builder(app()).bind("127.0.0.1:0").expect("resolves");
            let running: Running = builder.engine(kind).workers(1).placement(placement).start().expect("starts");
            let stream = TcpStream::connect(running.local_addr().expect("an address")).expect("connects");
            stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
            stream.set_write_timeout(Some(TEST_TIMEOUT)).expect("set");
            test(stream);
            running.shutdown(Shutdown::immediate());
        }
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn coalesced_responses_leave_before_a_slow_one() {
    let never = request("/never");
    let stream = request("/stream");
    let upgrade = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: none\r\n\r\n".to_owned();
    let content = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf".to_owned();
    let partial = "GET /ready HTTP/1.1\r\nHo".to_owned();
    for last in [never, stream, upgrade, content, partial] {
        on_each(|mut peer| {
            let input = request("/ready").repeat(3) + &last;
            peer.write_all(input.as_bytes()).expect("sent");
            let mut output = String::new();
            let mut piece = [0; 4096];
            while output.matches("\r\n\r\nready").count() < 3 {
                let count = peer.read(&mut piece).expect("in time");
                assert!(count > 0, "ended after {output:?}");
                output.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
    }
}

#[test]
fn responses_before_a_panic_or_a_refusal_arrive() {
    for (last, status) in [(request("/panic"), "500"), ("GET / HTTP/9.9\r\n\r\n".to_owned(), "505")] {
        on_each(|mut peer| {
            let input = request("/ready").repeat(3) + &last + &request("/ready");
            peer.write_all(input.as_bytes()).expect("sent");
            let mut output = String::new();
            peer.read_to_string(&mut output).expect("an orderly end");
            assert_eq!(output.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{output}");
            assert_eq!(output.matches(&format!("HTTP/1.1 {status} ")).count(), 1, "{output}");
        });
    }
}

#[test]
fn more_than_the_queue_holds_waits_for_the_peer_to_read() {
    const COUNT: usize = 3000;
    on_each(|mut peer| {
        // The requests fit in the socket's buffers; the responses do not.
        let input: String = (0..COUNT).map(|number| request(&format!("/numbered/{number}"))).collect();
        peer.write_all(input.as_bytes()).expect("sent");
        let mut output = Vec::new();
        let mut piece = vec![0; 1 << 16];
        for number in 0..COUNT {
            let expected = numbered(&number.to_string());
            let end = loop {
                let head = output.windows(4).position(|bytes| bytes == b"\r\n\r\n");
                match head {
                    Some(head) if output.len() >= head + 4 + CONTENT_BYTES => break head + 4 + CONTENT_BYTES,
                    _ => {
                        let count = peer.read(&mut piece).expect("in time");
                        assert!(count > 0, "ended before response {number}");
                        output.extend_from_slice(&piece[..count]);
                    }
                }
            };
            assert!(output[..end].ends_with(expected.as_bytes()), "response {number}");
            output.drain(..end);
        }
    });
}
