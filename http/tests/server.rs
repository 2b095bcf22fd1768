//! The server over loopback, on every engine and placement.
#![cfg(not(miri))]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown as Side, SocketAddr, TcpStream};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use tidegate_engine::{EngineKind, HandlerPlacement, Running, Shutdown};
use tidegate_http::{BodyError, HttpConfig, Limits, Request, Response, Router, Server, StreamError, sync_handler};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

fn app() -> Router {
    Router::new()
        .get("/plaintext", |_req: Request| async { Response::text("Hello, World!") })
        .get("/ready", sync_handler(|_| "ready"))
        .post("/echo", |mut req: Request| async move { Ok::<_, BodyError>(Response::bytes(req.bytes().await?)) })
        .post(
            "/limited",
            |mut req: Request| async move { Ok::<_, BodyError>(Response::bytes(req.bytes_up_to(4).await?)) },
        )
        .post("/first", |mut req: Request| async move {
            let piece = req.body_mut().chunk().await?;
            Ok::<_, BodyError>(Response::bytes(piece.unwrap_or_default()))
        })
        .post("/ignore", sync_handler(|_| "ignored"))
        .post("/reset", sync_handler(|_| Response::text("a form").with_status(StatusCode::RESET_CONTENT)))
        .route(
            Method::HEAD,
            "/sized",
            sync_handler(|_| {
                Response::new(StatusCode::OK).with_header(header::CONTENT_LENGTH, HeaderValue::from_static("1234"))
            }),
        )
        .get("/stream/:count", |req: Request| async move {
            let count: usize = req.param("count").and_then(|count| count.parse().ok()).unwrap_or(0);
            Response::stream(move |mut writer| async move {
                for index in 0..count {
                    writer.write(vec![index as u8; 10_000]).await;
                }
                Ok(())
            })
        })
        .get(
            "/broken",
            sync_handler(|_| {
                Response::stream(|mut writer| async move {
                    writer.write("some").await;
                    Err(StreamError::new("out of luck"))
                })
            }),
        )
        .get("/panic", |_req: Request| async {
            if true {
                panic!("on purpose");
            }
        })
        .get("/never", |_req: Request| std::future::pending::<Response>())
        .get("/upgrade", |_req: Request| async { echo() })
        .post("/upgrade", |_req: Request| async { echo() })
        .get("/peer", |req: Request| async move { format!("{}", req.peer_addr().expect("a connection")) })
}

fn echo() -> Response {
    Response::upgrade(HeaderValue::from_static("echo"), |mut connection| async move {
        while let Ok(Some(chunk)) = connection.receive().await {
            if connection.sender().send(chunk.into_vec()).await.is_err() {
                return;
            }
        }
    })
}

fn config() -> HttpConfig {
    HttpConfig::default().limits(Limits::default().body_bytes_max(1_000_000))
}

fn start(kind: EngineKind, placement: HandlerPlacement, config: HttpConfig) -> Running {
    Server::builder(app())
        .bind("127.0.0.1:0")
        .expect("resolves")
        .engine(kind)
        .workers(1)
        .placement(placement)
        .http(config)
        .start()
        .expect("starts")
}

/// Runs a test on every engine and placement.
fn on_each(config: &HttpConfig, test: impl Fn(SocketAddr)) {
    for kind in [EngineKind::Auto, EngineKind::Portable] {
        for placement in [HandlerPlacement::SameCore, HandlerPlacement::Inline, HandlerPlacement::Threads(1)] {
            let running = start(kind, placement, config.clone());
            test(running.local_addr().expect("an address"));
            running.shutdown(Shutdown::immediate());
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("set");
    stream.set_write_timeout(Some(TEST_TIMEOUT)).expect("set");
    stream
}

/// Sends the input, and returns everything that arrives until the server closes.
fn talk(address: SocketAddr, input: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(input).expect("sent");
    String::from_utf8_lossy(&read_to_end(&mut stream)).into_owned()
}

fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut output = Vec::new();
    stream.read_to_end(&mut output).expect("an orderly end");
    output
}

/// Reads until the output ends with `end`.
fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let mut byte = [0];
    while !output.ends_with(end) {
        assert_eq!(stream.read(&mut byte).expect("more"), 1, "ended after {:?}", String::from_utf8_lossy(&output));
        output.push(byte[0]);
    }
    output
}

/// Splits a response without chunks into its head and content.
fn split(response: &str) -> (&str, &str) {
    response.split_once("\r\n\r\n").expect("a head")
}

const CLOSE: &str = "Host: a\r\nConnection: close\r\n\r\n";

#[test]
fn a_response_has_what_it_needs() {
    on_each(&config(), |address| {
        let response = talk(address, format!("GET /plaintext HTTP/1.1\r\n{CLOSE}").as_bytes());
        let (head, content) = split(&response);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for field in
            ["content-type: text/plain; charset=utf-8", "content-length: 13", "connection: close", "server: tidegate"]
        {
            assert!(head.lines().any(|line| line == field), "{field} in {head}");
        }
        assert!(head.contains("\r\ndate: ") && head.contains(" GMT"));
        assert_eq!(content, "Hello, World!");
    });
}

#[test]
fn responses_without_content_announce_no_false_length() {
    on_each(&config(), |address| {
        let keep = "Host: a\r\n\r\n";
        let input =
            format!("HEAD /sized HTTP/1.1\r\n{keep}POST /reset HTTP/1.1\r\n{keep}HEAD /ready HTTP/1.1\r\n{CLOSE}");
        let output = talk(address, input.as_bytes());
        let heads: Vec<_> = output.split_terminator("\r\n\r\n").collect();
        assert_eq!(heads.len(), 3, "{output}");
        for (head, length) in heads.iter().zip(["content-length: 1234", "content-length: 0", "content-length: 5"]) {
            assert!(head.starts_with("HTTP/1.1 20") && head.lines().any(|line| line == length), "{length} in {head}");
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_each(&config(), |address| {
        let mut input = String::new();
        for index in 0..200 {
            let content = format!("number {index}");
            input.push_str(&format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}",
                content.len()
            ));
            input.push_str("HEAD /plaintext HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        input.push_str(&format!("GET /ready HTTP/1.1\r\n{CLOSE}"));
        let output = talk(address, input.as_bytes());
        assert_eq!(output.matches("HTTP/1.1 200 OK").count(), 401);
        assert!(output.ends_with("ready"));
        let mut rest = output.as_str();
        for index in 0..200 {
            let found = rest.find(&format!("number {index}HTTP/1.1"));
            rest = &rest[found.expect("in order")..];
        }
    });
}

#[test]
fn content_goes_both_ways() {
    on_each(&config(), |address| {
        let content: Vec<u8> = (0..300_000_u32).map(|index| (index % 251) as u8).collect();
        let mut input = format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n{CLOSE}", content.len()).into_bytes();
        input.extend_from_slice(&content);
        let mut stream = connect(address);
        stream.write_all(&input).expect("sent");
        let output = read_to_end(&mut stream);
        assert!(output.ends_with(&content));
        // In chunks of odd sizes, split anywhere.
        let mut input = format!("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}").into_bytes();
        for piece in content.chunks(7_777) {
            input.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            input.extend_from_slice(piece);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\n");
        let mut stream = connect(address);
        for piece in input.chunks(50_021) {
            stream.write_all(piece).expect("sent");
        }
        assert!(read_to_end(&mut stream).ends_with(&content));
    });
}

#[test]
fn streams_are_chunked() {
    on_each(&config(), |address| {
        let output = talk(address, format!("GET /stream/300 HTTP/1.1\r\n{CLOSE}").as_bytes());
        let (head, mut rest) = split(&output);
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        let mut chunks = 0;
        loop {
            let (size, after) = rest.split_once("\r\n").expect("a size");
            if size == "0" {
                assert_eq!(after, "\r\n");
                break;
            }
            chunks += 1;
            assert_eq!(size, "2710");
            rest = after.split_once("\r\n").expect("an end").1;
        }
        assert_eq!(chunks, 300);
        let old = talk(address, b"GET /stream/3 HTTP/1.0\r\n\r\n");
        assert_eq!(split(&old).1.chars().count(), 30_000);
        let broken = talk(address, b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(broken.ends_with("\r\n\r\n4\r\nsome\r\n"), "{broken}");
    });
}

#[test]
fn refusals_reach_the_peer() {
    on_each(&config(), |address| {
        for (status, input) in [
            ("400 ", "GET / HTTP/1.1\r\n\r\n".to_owned()),
            ("505 ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
            ("414 ", format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000))),
            ("431 ", format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(70_000))),
            ("404 ", format!("GET /unknown HTTP/1.1\r\n{CLOSE}")),
            ("405 ", format!("PUT /plaintext HTTP/1.1\r\n{CLOSE}")),
            ("413 ", format!("POST /echo HTTP/1.1\r\nContent-Length: 1000001\r\n{CLOSE}")),
            ("413 ", format!("POST /limited HTTP/1.1\r\nContent-Length: 5\r\n{CLOSE}hello")),
            ("400 ", format!("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}5x\r\n")),
            ("413 ", format!("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{CLOSE}fffff\r\n")),
            ("500 ", format!("GET /panic HTTP/1.1\r\n{}", "Host: a\r\n\r\n")),
        ] {
            let output = talk(address, input.as_bytes());
            let line = output.strip_prefix("HTTP/1.1 ").unwrap_or(&output);
            assert!(line.starts_with(status), "{status}: {output}");
            assert!(output.contains("\r\nconnection: close\r\n"), "{output}");
        }
        // The worker goes on after the panic.
        let output = talk(address, format!("GET /ready HTTP/1.1\r\n{CLOSE}").as_bytes());
        assert!(output.ends_with("ready"));
    });
}

#[test]
fn a_stream_that_ends_early_is_an_error_for_the_reader() {
    on_each(&config(), |address| {
        let mut stream = connect(address);
        stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel").expect("sent");
        stream.shutdown(Side::Write).expect("half closed");
        let output = String::from_utf8(read_to_end(&mut stream)).expect("text");
        assert!(output.starts_with("HTTP/1.1 400 "), "{output}");
        // A peer that ends its side after the request still gets its response.
        let mut stream = connect(address);
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        stream.shutdown(Side::Write).expect("half closed");
        assert!(read_to_end(&mut stream).ends_with(b"ready"));
        // So does one that sends only an empty line after it (RFC 9112 section 2.2).
        let mut stream = connect(address);
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n\r\n").expect("sent");
        stream.shutdown(Side::Write).expect("half closed");
        assert!(read_to_end(&mut stream).ends_with(b"ready"));
    });
}

#[test]
fn continue_is_sent_when_the_content_is_read() {
    on_each(&config(), |address| {
        let expect = "Host: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        let mut stream = connect(address);
        stream.write_all(format!("POST /echo HTTP/1.1\r\n{expect}").as_bytes()).expect("sent");
        let asked = read_until(&mut stream, b"\r\n\r\n");
        assert_eq!(asked, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(format!("helloGET /ready HTTP/1.1\r\n{CLOSE}").as_bytes()).expect("sent");
        let output = String::from_utf8(read_to_end(&mut stream)).expect("text");
        assert!(output.contains("\r\n\r\nhelloHTTP/1.1 200 OK"), "{output}");
        // Content not read: answered at once, then closed, because what follows is ambiguous.
        let output = talk(address, format!("POST /ignore HTTP/1.1\r\n{expect}").as_bytes());
        assert!(output.starts_with("HTTP/1.1 200 OK"), "{output}");
        assert!(output.contains("\r\nconnection: close\r\n"), "{output}");
    });
}

#[test]
fn unread_content_does_not_become_a_request() {
    on_each(&config(), |address| {
        for (path, field, content) in [
            ("/ignore", "Content-Length: 20000", "GET /peer HTTP/1.1\r\n".repeat(1000)),
            ("/first", "Transfer-Encoding: chunked", {
                let pieces = "5\r\nGET /\r\n".repeat(1000);
                format!("{pieces}0\r\n\r\n")
            }),
        ] {
            let input =
                format!("POST {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n{content}GET /ready HTTP/1.1\r\n{CLOSE}");
            let output = talk(address, input.as_bytes());
            assert_eq!(output.matches("HTTP/1.1 200 OK").count(), 2, "{output}");
            assert!(output.ends_with("ready"), "{output}");
        }
    });
}

/// Discarding unread content has one time limit, however the rest of it trickles in.
#[test]
fn the_time_to_discard_unread_content_is_not_renewed() {
    let config = config().content_timeout(Duration::from_millis(100));
    on_each(&config, |address| {
        let mut stream = connect(address);
        stream.write_all(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n").expect("sent");
        read_until(&mut stream, b"ignored");
        stream.set_read_timeout(Some(Duration::from_millis(10))).expect("set");
        // At most one byte of each step: far from all of the content before the test fails.
        for _ in 0..500 {
            if stream.write_all(b"x").is_err() || !matches!(stream.read(&mut [0; 64]), Err(error) if is_timeout(&error))
            {
                return;
            }
        }
        panic!("still open");
    });
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[test]
fn an_upgraded_connection_starts_with_the_bytes_behind_the_request() {
    on_each(&config(), |address| {
        let mut stream = connect(address);
        let fields = "Host: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n";
        stream.write_all(format!("GET /upgrade HTTP/1.1\r\n{fields}\r\nearly").as_bytes()).expect("sent");
        let head = read_until(&mut stream, b"\r\n\r\n");
        let head = String::from_utf8(head).expect("text");
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n"));
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        read_until(&mut stream, b"early");
        stream.write_all(b"and late").expect("sent");
        read_until(&mut stream, b"and late");
        stream.shutdown(Side::Write).expect("half closed");
        assert_eq!(read_to_end(&mut stream), b"");
        // Without Upgrade: 426 names the protocol. With content: 400.
        let output = talk(address, format!("GET /upgrade HTTP/1.1\r\n{CLOSE}").as_bytes());
        assert!(output.starts_with("HTTP/1.1 426 "), "{output}");
        assert!(output.contains("\r\nupgrade: echo\r\n"), "{output}");
        let input = format!("POST /upgrade HTTP/1.1\r\n{fields}Content-Length: 4\r\n\r\nbody");
        let output = talk(address, input.as_bytes());
        assert!(output.starts_with("HTTP/1.1 400 "), "{output}");
    });
}

#[test]
fn timeouts() {
    // Longer than a busy machine keeps a client from its request.
    let short = Duration::from_secs(1);
    let config = config()
        .header_timeout(short)
        .keep_alive_timeout(short)
        .content_timeout(short)
        // Longer than the content timeout, which a handler waits for.
        .handler_timeout(2 * short);
    on_each(&config, |address| {
        std::thread::scope(|scope| {
            let talks = [
                &b""[..],
                b"GET / HT",
                b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\n",
                b"GET /ready HTTP/1.1\r\nHost: a\r\n\r\nGET",
                b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
                b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n",
            ];
            let answers = talks.map(|input| scope.spawn(move || talk(address, input)));
            let [silent, late, idle, next, content, handler] = answers.map(|answer| answer.join().expect("an answer"));
            assert_eq!(silent, "");
            assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
            assert!(idle.ends_with("ready"), "{idle}");
            assert!(next.contains("readyHTTP/1.1 408 "), "{next}");
            assert!(content.starts_with("HTTP/1.1 408 "), "{content}");
            assert!(handler.starts_with("HTTP/1.1 503 "), "{handler}");
        });
    });
}
