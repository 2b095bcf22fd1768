//! The memory that the server holds, counted at the allocator, in a process where nothing else runs.

use std::alloc::System;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tidegate::prelude::*;
use tidegate::websocket::DeflateConfig;

use crate::events::on_every_engine_and_style;
use crate::handler::{received_bytes, reports, wait_until};
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
            let events = TestServer::echo(&Setup { events: true, ..setup.clone() });
            for server in [owned, borrowed, events] {
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
        on_every_engine_and_style(|setup| {
            let server = TestServer::echo_with(setup, config.clone());
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

/// Many connections with a compressed message each that is large when inflated, and has no end. Together they stay
/// within the budget, apart from the step of one mebibyte that each of them inflates at a time. Small messages go on,
/// and the memory comes back.
#[test]
fn bombs_share_a_budget() {
    const BOMBS: usize = 60;
    const BUDGET_BYTES: usize = 8 << 20;
    alone("memory::bombs_share_a_budget", || {
        let mut deflated = Vec::with_capacity(100_000);
        let mut codec = flate2::Compress::new(flate2::Compression::best(), false);
        codec.compress_vec(&vec![0; 64 << 20], &mut deflated, flate2::FlushCompress::Sync).unwrap();
        let bomb = frame(BINARY | 0x40, &deflated);
        // Growing memory can be twice as large as what is in it.
        let held_max = 2 * (BUDGET_BYTES + (BOMBS << 20)) + SLACK_BYTES + BOMBS * (48 << 10);
        on_every_engine(|setup| {
            let mut setup = setup.clone();
            setup.config.memory.bytes_max = Some(BUDGET_BYTES);
            setup.config.memory.wait_timeout = Duration::from_millis(200);
            let upgrade = websocket::upgrade(echo).compression(DeflateConfig::default());
            let server = TestServer::start(&setup, Router::new().get("/ws", upgrade));
            let memory = server.running.memory();
            let mut small = Client::open(server.address);
            small.check_echo(BINARY, b"before");
            let (before, received) = (held_bytes(), received_bytes(&server));
            let bombs: Vec<_> = (0..BOMBS)
                .map(|_| {
                    let mut client = Client::connect(server.address);
                    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
                    client.write(HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{offer}")).as_bytes());
                    client.expect_upgraded();
                    client.write(&bomb[..bomb.len() - 1]);
                    client
                })
                .collect();
            let mut peak = 0;
            wait_until("the bombs", || {
                small.check_echo(BINARY, &[b'x'; 1000]);
                peak = peak.max(held_bytes());
                assert!(memory.bytes() <= BUDGET_BYTES);
                memory.refused_total() >= BOMBS as u64 / 2
            });
            assert!(received_bytes(&server) > received && peak < before + held_max, "{peak} bytes were held");
            drop(bombs);
            wait_until("the memory to come back", || memory.bytes() == 0 && held_bytes() < before + 8 * SLACK_BYTES);
            small.check_echo(BINARY, b"after");
            small.close();
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
        on_every_engine_and_style(|setup| {
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

/// The compressor of a connection is freed with it, although senders are kept.
#[test]
fn a_sender_does_not_keep_the_compressor_of_an_ended_connection() {
    const CONNECTIONS: usize = 16;
    alone("memory::a_sender_does_not_keep_the_compressor_of_an_ended_connection", || {
        on_every_engine(|setup: &Setup| {
            let (report, reports) = reports();
            let deflate = DeflateConfig::default().own_context_takeover(true);
            let upgrade = websocket::upgrade(async move |mut ws: WebSocket| {
                ws.send("compressed ".repeat(100)).await?;
                report.send(ws.sender())?;
                while ws.recv().await?.is_some() {}
                Ok(())
            });
            let server = TestServer::start(setup, Router::new().get("/ws", upgrade.compression(deflate)));
            let open = || {
                let mut client = Client::connect(server.address);
                let offer =
                    HANDSHAKE.replacen("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", 1);
                client.write(offer.as_bytes());
                assert!(client.http_response().head.contains("permessage-deflate"));
                assert_eq!(client.next().expect("a message").first, TEXT | 0x40);
                client
            };
            let clients: Vec<_> = (0..CONNECTIONS).map(|_| open()).collect();
            let senders: Vec<_> = (0..CONNECTIONS).map(|_| reports.next()).collect();
            let before = held_bytes();
            clients.into_iter().for_each(Client::close);
            // About 80 KiB each.
            wait_until("the compressors to be freed", || held_bytes() + CONNECTIONS * 64 * 1024 < before);
            drop(senders);
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
