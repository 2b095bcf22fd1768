//! The access log: what was answered, how much of it was sent, and to whom.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use http::HeaderValue;
use tidegate_engine::Shutdown;
use tidegate_http::{AccessLog, AccessRecord, HttpConfig, Request, Response, Router, Server, ServerBuilder};

use crate::support::{TEST_TIMEOUT, connect, exchange, matrix, start};

/// Content that no socket buffers take whole.
const LARGE: usize = 64 << 20;

fn app() -> Router {
    Router::new()
        .get("/", async |_request: Request| "index")
        .get("/stream", async |_request: Request| {
            Response::stream(|mut writer| async move {
                for _ in 0..10 {
                    writer.write(vec![b'x'; 10_000]).await;
                }
                Ok(())
            })
        })
        .get("/large", async |_request: Request| {
            Response::stream(|mut writer| async move {
                for _ in 0..LARGE >> 16 {
                    writer.write(vec![b'x'; 1 << 16]).await;
                }
                Ok(())
            })
        })
        .get("/never", async |_request: Request| std::future::pending::<Response>().await)
        .get("/slow", async |_request: Request| {
            tidegate_engine::time::sleep(Duration::from_secs(600)).await;
            "too late"
        })
        .get("/panic", async |_request: Request| {
            if true {
                panic!("on purpose");
            }
        })
        .get("/upgrade", async |_request: Request| {
            Response::upgrade(HeaderValue::from_static("echo"), |_connection| async {})
        })
}

fn server(log: AccessLog) -> ServerBuilder<Router> {
    Server::builder(app()).access_log(log)
}

fn next(records: &Receiver<AccessRecord>) -> AccessRecord {
    records.recv_timeout(TEST_TIMEOUT).expect("a record")
}

/// A record without what differs from run to run.
fn summary(record: &AccessRecord) -> String {
    let method = record.method.as_ref().map_or("-", |method| method.as_str());
    let status = record.status.map_or(0, |status| status.as_u16());
    let end = if record.is_complete { "" } else { " incomplete" };
    format!("{method} {} {status} {}{end}", record.target, record.content_bytes)
}

#[test]
fn every_answer_is_logged_those_of_the_server_included() {
    for (kind, placement) in matrix() {
        let (sender, records) = channel();
        let log = AccessLog::new(move |record| sender.send(record.clone()).expect("the test runs"));
        let config = HttpConfig::default().handler_timeout(Duration::from_millis(50)).access_log(log);
        let running = start(Server::builder(app()).http(config), kind, placement);
        let address = running.local_addr().expect("an address");
        for (request, expected) in [
            ("GET /?a=b HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\nConnection: close\r\n\r\n", "GET /?a=b 200 5"),
            ("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HEAD / 200 0"),
            ("GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /nothing 404 10"),
            ("DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "DELETE / 405 19"),
            ("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /stream 200 100000"),
            ("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n", "GET /panic 500 22"),
            ("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", "GET /slow 503 26"),
            ("GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\n", "GET /upgrade 101 0"),
            ("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /upgrade 426 0"),
            ("GET / HTTP/1.1\r\n\r\n", "-  400 18"),
        ] {
            let answer = exchange(address, request.as_bytes());
            let record = next(&records);
            assert_eq!(summary(&record), expected, "{answer}");
            assert_eq!((record.peer, record.client), (record.client, record.peer));
            assert!(record.peer.is_some() && record.duration < TEST_TIMEOUT);
            assert_eq!(record.user_agent.as_deref(), request.contains("test").then_some("test"));
        }
        // Pipelined requests have a record each.
        let two = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        exchange(address, two);
        assert_eq!([next(&records), next(&records)].map(|record| summary(&record)), ["GET / 200 5", "GET / 200 5"]);
        running.shutdown(Shutdown::immediate());
        assert!(records.try_recv().is_err(), "one record for each answer");
    }
}

#[test]
fn a_client_that_disconnects_is_logged_with_what_it_got() {
    for (kind, placement) in matrix() {
        let (sender, records) = channel();
        let log = AccessLog::new(move |record| sender.send(record.clone()).expect("the test runs"));
        let running = start(server(log), kind, placement);
        let address = running.local_addr().expect("an address");
        let mut client = connect(address);
        client.write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        drop(client);
        assert_eq!(summary(&next(&records)), "GET /never 0 0 incomplete");

        let mut client = connect(address);
        client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        client.read_exact(&mut vec![0; 1 << 20]).expect("some of it");
        drop(client);
        let record = next(&records);
        assert!(!record.is_complete && record.status.is_some_and(|status| status == 200), "{record}");
        assert!((1 << 19..LARGE as u64).contains(&record.content_bytes), "{record}");
        running.shutdown(Shutdown::immediate());
    }
}

#[test]
fn the_client_behind_a_proxy_is_logged() {
    let (kind, placement) = matrix().next().expect("one");
    let (sender, records) = channel();
    let log = AccessLog::new(move |record| sender.send(record.clone()).expect("the test runs"));
    let server = server(log).trusted_proxies(["127.0.0.1"]).expect("an address");
    let running = start(server, kind, placement);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n";
    exchange(running.local_addr().expect("an address"), request);
    let record = next(&records);
    assert_eq!(record.client.map(|address| address.to_string()).as_deref(), Some("192.0.2.7:0"));
    let text = record.to_string();
    assert!(text.starts_with("192.0.2.7 - - [") && text.contains("] \"GET / HTTP/1.1\" 200 5 \"-\" 0."), "{text}");
    let json: serde_json::Value = serde_json::from_str(&record.to_json()).expect("JSON");
    assert_eq!((&json["client"], &json["status"]), (&"192.0.2.7:0".into(), &200.into()));
    assert_eq!((&json["content_bytes"], &json["complete"]), (&5.into(), &true.into()));
    running.shutdown(Shutdown::immediate());
}
