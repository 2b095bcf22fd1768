//! Backpressure: a test's connection holds no more than its window and the engine's buffers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate::engine::testing::TestConfig;
use tidegate::engine::{Config, InboundConfig, OutboundConfig, time};
use tidegate::prelude::*;
use tidegate::web::testing::TestServer;

const WINDOW_BYTES: usize = 4096;
const HIGH_BYTES: u32 = 8192;

/// A server with small buffers.
fn server(app: impl web::Handler) -> TestServer {
    let inbound = InboundConfig::default().bytes_high(HIGH_BYTES).bytes_low(HIGH_BYTES / 2);
    let outbound = OutboundConfig::default().bytes_high(HIGH_BYTES as usize).bytes_low(HIGH_BYTES as usize / 2);
    let builder = Server::builder(app).config(Config::default().inbound(inbound).outbound(outbound));
    TestServer::start_with(builder, TestConfig::default().window_bytes(WINDOW_BYTES)).unwrap()
}

#[test]
fn a_handler_that_does_not_read_holds_the_client_back() {
    let server = server(async |mut request: Request| {
        time::sleep(Duration::from_secs(10)).await;
        request.bytes().await.map(|bytes| bytes.len().to_string())
    });
    let mut upload = server.post("/").streamed().start();
    for _ in 0..100 {
        upload.write([7; 1000]);
    }
    let unsent = upload.unsent_bytes();
    let held = 100 * 1000 - unsent;
    // A receive ends with the piece in which its budget is reached.
    let most = 2 * WINDOW_BYTES + HIGH_BYTES as usize + 16 * 1024;
    assert!(held > WINDOW_BYTES && held <= most, "{held} bytes are on the way");
    assert_eq!(server.stats().paused, 1);
    server.advance(Duration::from_secs(10));
    assert_eq!(upload.unsent_bytes(), 0);
    upload.finish();
    assert_eq!(upload.response().text(), "100000");
}

#[test]
fn a_client_that_does_not_read_holds_the_handler_back() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let server = server(async move |_request: Request| {
        let count = Arc::clone(&count);
        Response::stream(move |mut writer| async move {
            for _ in 0..1000 {
                writer.write(vec![7; 1000]).await;
                count.fetch_add(1000, Ordering::Relaxed);
            }
            Ok(())
        })
    });
    let mut peer = server.connect();
    peer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let before = written.load(Ordering::Relaxed);
    assert!(before < 3 * (WINDOW_BYTES + HIGH_BYTES as usize), "{before} bytes were written");
    assert!(peer.read().len() > 1_000_000);
    assert_eq!(written.load(Ordering::Relaxed), 1_000_000);
}

/// The write timeout counts what the client takes.
#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let server = server(async |_request: Request| Response::bytes(vec![7; 1 << 20]));
    let mut peer = server.connect();
    peer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.advance(Duration::from_secs(15));
    assert_eq!(server.stats().connections, 1);
    server.advance(Duration::from_secs(30));
    assert_eq!(server.stats().connections, 0);
    assert_eq!(peer.read().len(), WINDOW_BYTES);
}
