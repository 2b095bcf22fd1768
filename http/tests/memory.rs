//! The memory that large contents share while they are read into memory, and the rate at which they must arrive.
#![cfg(not(miri))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tidegate_engine::{Config, EngineKind, HandlerPlacement, MemoryConfig, Running, Shutdown};
use tidegate_http::{Request, Router, Server};

/// A test that waits this long fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

const MIB: usize = 1 << 20;

/// Runs `test` on every engine and placement, with a budget of one MiB and other settings.
fn on_every_engine(memory: impl Fn(MemoryConfig) -> MemoryConfig, test: impl Fn(&Running, SocketAddr)) {
    for engine in [EngineKind::Auto, EngineKind::Portable] {
        for placement in [HandlerPlacement::SameCore, HandlerPlacement::Inline, HandlerPlacement::Threads(2)] {
            println!("on {engine:?}, {placement:?}");
            let app = Router::new().post("/", async |mut request: Request| -> tidegate_http::Result<String> {
                Ok(format!("{} bytes", request.bytes().await?.len()))
            });
            let config = Config::default().engine(engine).placement(placement).workers(1).pin(false);
            let config = config.memory(memory(MemoryConfig::default().bytes_max(MIB)));
            let running = Server::builder(app).config(config).bind("127.0.0.1:0").unwrap().start().unwrap();
            test(&running, running.local_addr().unwrap());
            wait_until("the memory to come back", || running.memory().bytes() == 0);
            running.shutdown(Shutdown::immediate());
        }
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < TEST_TIMEOUT, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TEST_TIMEOUT)).unwrap();
    stream
}

/// Sends the head of an upload and `sent` of its bytes.
fn begin_upload(address: SocketAddr, bytes: usize, sent: usize) -> TcpStream {
    let mut stream = connect(address);
    write!(stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n").unwrap();
    // The server can refuse it and close before everything is sent.
    let _ = stream.write_all(&vec![b'x'; sent]);
    stream
}

/// Reads one response without content beyond `text`. Returns its status line.
fn expect_response(stream: &mut TcpStream, status: &str, text: &str) {
    let mut response = Vec::new();
    let mut piece = [0; 1024];
    while !response.windows(4).any(|end| end == b"\r\n\r\n") || !response.ends_with(text.as_bytes()) {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the response ended early: {}", String::from_utf8_lossy(&response));
        response.extend_from_slice(&piece[..count]);
    }
    let response = String::from_utf8_lossy(&response).to_lowercase();
    assert!(response.starts_with(&format!("http/1.1 {status} ")), "{response}");
    assert_eq!(response.contains("connection: close"), status != "200", "{response}");
}

#[test]
fn content_larger_than_the_budget_is_refused_and_the_connection_closed() {
    on_every_engine(
        |memory| memory,
        |running, address| {
            let mut stream = begin_upload(address, 8 * MIB, MIB + 2 * (64 << 10));
            expect_response(&mut stream, "503", "try again later");
            assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
            assert_eq!(running.memory().refused_total(), 1);
        },
    );
}

/// A large upload waits while another one holds the memory, and goes on when that is complete. Small ones never wait.
#[test]
fn an_upload_waits_for_the_memory_of_another() {
    on_every_engine(
        |memory| memory.wait_timeout(Duration::from_secs(3600)),
        |running, address| {
            let bytes = MIB - (128 << 10);
            let mut first = begin_upload(address, bytes, bytes - 1);
            // It draws one step more than it holds, so it needs nothing for its last byte.
            wait_until("its memory", || running.memory().bytes() == bytes + (64 << 10));
            let mut second = begin_upload(address, MIB / 2, MIB / 2);
            for small in [1, 1000, 60_000] {
                expect_response(&mut begin_upload(address, small, small), "200", &format!("{small} bytes"));
            }
            first.write_all(b"x").unwrap();
            expect_response(&mut first, "200", &format!("{bytes} bytes"));
            expect_response(&mut second, "200", &format!("{} bytes", MIB / 2));
            assert_eq!(running.memory().refused_total(), 0);
        },
    );
}

/// Sixty uploads that never end stay within the budget together. Small ones go on.
#[test]
fn many_unfinished_uploads_share_the_budget() {
    on_every_engine(
        |memory| memory,
        |running, address| {
            let uploads: Vec<_> = (0..60).map(|_| begin_upload(address, 32 * MIB, 256 << 10)).collect();
            wait_until("the uploads", || {
                assert!(running.memory().bytes() <= MIB);
                expect_response(&mut begin_upload(address, 1000, 1000), "200", "1000 bytes");
                running.memory().refused_total() > 30
            });
            drop(uploads);
        },
    );
}

/// A large upload that stops arriving is answered with 408. A small one is not.
#[test]
fn a_large_upload_that_stops_arriving_is_given_up() {
    on_every_engine(
        |memory| memory.grace(Duration::from_millis(300)),
        |_, address| {
            let mut small = begin_upload(address, 60_000, 50_000);
            let mut large = begin_upload(address, MIB / 2, MIB / 4);
            expect_response(&mut large, "408", "arrive");
            small.write_all(&[b'x'; 10_000]).unwrap();
            expect_response(&mut small, "200", "60000 bytes");
        },
    );
}
