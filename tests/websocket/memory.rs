//! The memory that the server holds, counted at the allocator, in a process where nothing else runs.

use std::alloc::System;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tidegate::prelude::*;
use tidegate::websocket::DeflateConfig;

use crate::handler::{received_bytes, wait_until};
use crate::support::client::{BINARY, Client, HANDSHAKE, TEXT, frame, header, pattern};
use crate::support::servers::{Setup, TestServer, echo, on_every_engine};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the bytes that are allocated and not freed.
fn held_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// The tolerance for other causes: the buffers that a few threads keep, 128 KiB each.
const SLACK_BYTES: usize = 512 * 1024;

/// Runs `body`, the whole test `name`, alone in a process: this program again, with this one test.
fn alone(name: &str, body: impl FnOnce()) {
    const ALONE: &str = "TIDEGATE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args([name, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn echo_borrowed(mut ws: WebSocket) -> websocket::Result {
    let sender = ws.sender();
    while let Some(message) = ws.recv_ref().await? {
        sender.send_binary(message.as_bytes()).await?;
    }
    Ok(())
}

/// A large message must not pin its memory until the connection closes.
#[test]
fn a_large_message_leaves_nothing_behind() {
    alone("memory::a_large_message_leaves_nothing_behind", || {
        let large = pattern(16 << 20);
        on_every_engine(|setup: &Setup| {
            let owned = TestServer::echo(setup);
            let borrowed = TestServer::serve(setup, WebSocketConfig::default(), echo_borrowed);
            for server in [owned, borrowed] {
                let mut client = Client::open(server.address);
                client.check_echo(BINARY, b"before");
                let before = held_bytes();
                client.check_echo(BINARY, &large);
                client.check_echo(BINARY, b"after");
                wait_until("the memory of the message", || held_bytes() < before + SLACK_BYTES);
                client.close();
                server.finish();
            }
        });
    });
}

/// A message that is read in pieces is never held whole.
#[test]
fn a_message_read_in_pieces_is_not_held() {
    alone("memory::a_message_read_in_pieces_is_not_held", || {
        let large = frame(BINARY, &pattern(16 << 20));
        on_every_engine(|setup: &Setup| {
            let peak = Arc::new(AtomicUsize::new(0));
            let seen = Arc::clone(&peak);
            let server = TestServer::serve(setup, WebSocketConfig::default(), async move |mut ws: WebSocket| {
                while let Some(mut message) = ws.recv_stream().await? {
                    let mut bytes = 0;
                    while let Some(PayloadRef::Binary(piece)) = message.next().await? {
                        bytes += piece.len();
                        seen.fetch_max(held_bytes(), Ordering::Relaxed);
                    }
                    ws.send(bytes.to_string()).await?;
                }
                Ok(())
            });
            let mut client = Client::open(server.address);
            client.send(BINARY, b"before");
            client.expect(TEXT, b"6");
            let before = held_bytes();
            client.write(&large);
            client.expect(TEXT, b"16777216");
            let peak = peak.load(Ordering::Relaxed);
            assert!(peak < before + SLACK_BYTES, "{} bytes were held", peak.saturating_sub(before));
            client.close();
            server.finish();
        });
    });
}

/// The length that a frame header claims must not allocate memory.
#[test]
fn a_claimed_length_allocates_nothing() {
    alone("memory::a_claimed_length_allocates_nothing", || {
        let config = WebSocketConfig::default().message_bytes_max(u64::MAX);
        on_every_engine(|setup| {
            let server = TestServer::serve(setup, config.clone(), echo);
            let mut client = Client::open(server.address);
            client.check_echo(TEXT, b"before");
            let (allocated, received) = (ALLOCATOR.stats().bytes_allocated, received_bytes(&server));
            let claim = [header(BINARY, 1 << 62), vec![0; 1000]].concat();
            client.write(&claim);
            wait_until("the claim", || received_bytes(&server) - received == claim.len() as u64);
            client.finish_writing();
            client.expect_end();
            let allocated = ALLOCATOR.stats().bytes_allocated - allocated;
            assert!(allocated < SLACK_BYTES, "{allocated} bytes were allocated");
            server.finish();
        });
    });
}

/// No buffer is allocated for an idle connection: its cost with its task, in a build without optimization.
#[test]
fn an_idle_connection_costs_less_than_a_kilobyte() {
    const CONNECTIONS: usize = 512;
    const IDLE_BYTES_MAX: usize = 1024;
    alone("memory::an_idle_connection_costs_less_than_a_kilobyte", || {
        on_every_engine(|setup| {
            let server = TestServer::echo(setup);
            let mut clients = Vec::with_capacity(CONNECTIONS);
            clients.push(Client::open(server.address));
            let before = held_bytes();
            clients.extend((1..CONNECTIONS).map(|_| Client::open(server.address)));
            wait_until("the memory of HTTP", || held_bytes() < before + CONNECTIONS * IDLE_BYTES_MAX);
            clients[0].check_echo(TEXT, b"all are served");
            clients.into_iter().for_each(Client::close);
            server.finish();
        });
    });
}

/// Without context takeover an idle connection holds no state of the codec.
#[test]
fn an_idle_connection_that_compresses_without_context_costs_little_more() {
    const CONNECTIONS: usize = 256;
    const IDLE_BYTES_MAX: usize = 1024 + 768;
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    alone("memory::an_idle_connection_that_compresses_without_context_costs_little_more", || {
        let payload = [b'x'; 500];
        let mut deflated = Vec::with_capacity(100);
        let mut codec = flate2::Compress::new(flate2::Compression::fast(), false);
        codec.compress_vec(&payload, &mut deflated, flate2::FlushCompress::Sync).unwrap();
        deflated.truncate(deflated.len() - 4);
        let open = |address| {
            let mut client = Client::connect(address);
            client.write(HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{OFFER}")).as_bytes());
            client.expect_upgraded();
            client.send(BINARY | 0x40, &deflated);
            let echoed = client.next().expect("the echo");
            assert!(echoed.first == BINARY | 0x40 && echoed.payload.len() < 100, "{echoed:?}");
            client
        };
        on_every_engine(|setup| {
            let upgrade = websocket::upgrade(echo).compression(DeflateConfig::default());
            let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
            let mut clients = Vec::with_capacity(CONNECTIONS);
            // Enough messages for each of the server's threads to have its pool.
            clients.extend((0..8).map(|_| open(server.address)));
            let before = held_bytes();
            clients.extend((8..CONNECTIONS).map(|_| open(server.address)));
            wait_until("the memory of messages", || held_bytes() < before + CONNECTIONS * IDLE_BYTES_MAX);
            clients.into_iter().for_each(Client::close);
            server.finish();
        });
    });
}
