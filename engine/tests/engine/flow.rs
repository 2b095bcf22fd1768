//! Inbound backpressure: bounded buffers, peers that stall, no lost bytes, no connection slowed by another.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown as Half, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tidegate_engine::{Chunk, Connection, HandlerPlacement, Running, WorkerStats};

use crate::support::*;

/// More than every buffer between client and handler can hold.
const FLOOD_BYTES: usize = 24 << 20;

/// A handler's view of its stalled connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stall {
    inbound_bytes: usize,
    is_paused: bool,
    pauses_total: u32,
}

impl Stall {
    fn of(connection: &Connection) -> Self {
        Self {
            inbound_bytes: connection.inbound_bytes(),
            is_paused: connection.is_paused(),
            pauses_total: connection.pauses_total(),
        }
    }
}

#[test]
fn a_stalled_handler_stalls_its_peer_and_loses_nothing() {
    let flood = numbered(FLOOD_BYTES);
    on_every_engine(|mut setup| {
        setup.config.uring.receive_buffers = 64;
        let bound = setup.inbound_bytes_max();
        let (asked, view) = (Inbox::<()>::default(), Progress::<Option<Stall>>::default());
        let done = Progress::<Option<(Vec<u8>, usize)>>::default();
        let (questions, stall, report) = (asked.clone(), view.clone(), done.clone());
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (questions, stall, report) = (questions.clone(), stall.clone(), report.clone());
            async move {
                while questions.next().await.is_some() {
                    stall.update(|stall| *stall = Some(Stall::of(&connection)));
                }
                let (mut bytes, mut held_max) = (Vec::with_capacity(FLOOD_BYTES), 0);
                while let Ok(Some(chunk)) = connection.receive().await {
                    // The handler holds a chunk, so the buffer has room for as much again.
                    held_max = held_max.max(connection.inbound_bytes());
                    bytes.extend_from_slice(&chunk);
                }
                assert!(!connection.is_paused());
                report.update(|report| *report = Some((bytes, held_max)));
            }
        });
        let mut client = connect(address);
        let sent = write_until_stalled(&mut client, &flood, &running);
        asked.push(());
        let stall = view.wait("the handler's view", |stall| *stall);
        assert!(stall.is_paused && stall.pauses_total == 1, "{stall:?}");
        assert!(stall.inbound_bytes <= bound, "{stall:?} is above {bound}");
        assert_eq!(total(&running).received_bytes_total, stall.inbound_bytes as u64);

        asked.close();
        client.set_nonblocking(false).unwrap();
        client.write_all(&flood[sent..]).unwrap();
        drop(client);
        let (bytes, held_max) = done.wait("the end of the flood", Option::take);
        assert!(bytes == flood, "the flood arrived changed");
        assert!(held_max <= bound, "held {held_max} of {bound}");
        assert_eq!(total(&running).received_bytes_total, FLOOD_BYTES as u64);
        wait_until("the last resume to be counted", || total(&running).paused == 0);
        finish(running);
    });
}

/// Checks without progress after which none is expected: the kernel moves bytes over loopback within one.
const IDLE_LOOKS: usize = 1000;

/// Waits until `bytes` were received, or a paused connection receives no more.
fn wait_until_received(running: &Running, bytes: u64) {
    let (mut received, mut idle_looks) = (0, 0);
    wait_until("the bytes to arrive", || {
        let stats = total(running);
        idle_looks = if stats.paused == 1 && received == stats.received_bytes_total { idle_looks + 1 } else { 0 };
        received = stats.received_bytes_total;
        received == bytes || idle_looks == IDLE_LOOKS
    });
}

/// Writes until neither the client nor the server makes progress, and receiving is paused. Returns the number of bytes
/// written. The client is non-blocking afterwards.
fn write_until_stalled(client: &mut TcpStream, bytes: &[u8], running: &Running) -> usize {
    write_until(client, bytes, running, |stats| stats.paused == 1)
}

/// Writes until neither the client nor the server makes progress and `is_stalled`. Returns the number of bytes written.
/// The client is non-blocking afterwards.
pub fn write_until(
    client: &mut TcpStream,
    bytes: &[u8],
    running: &Running,
    is_stalled: impl Fn(&WorkerStats) -> bool,
) -> usize {
    client.set_nonblocking(true).unwrap();
    let (mut sent, mut received, mut idle_looks) = (0, 0, 0);
    wait_until("the client to stall", || {
        let before = (sent, received);
        sent += write_some(client, &bytes[sent..]);
        assert!(sent < bytes.len(), "the peer of a stalled handler was never stopped");
        let stats = total(running);
        received = stats.received_bytes_total;
        idle_looks = if is_stalled(&stats) && (sent, received) == before { idle_looks + 1 } else { 0 };
        idle_looks == IDLE_LOOKS
    });
    sent
}

/// Writes as much as the kernel takes now.
fn write_some(client: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while sent < bytes.len() {
        match client.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("the connection failed: {error}"),
        }
    }
    sent
}

/// The number of chunks that a stalled handler finds is bounded too, however small the writes were.
#[test]
fn many_tiny_writes_make_few_chunks() {
    const WRITES: usize = 20_000;
    on_every_engine(|setup| {
        let chunks_max = setup.config.inbound.chunks_max as usize;
        let gate = Inbox::<()>::default();
        let done = Progress::<Option<(usize, Vec<u8>)>>::default();
        let (wait, report) = (gate.clone(), done.clone());
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (wait, report) = (wait.clone(), report.clone());
            async move {
                wait.next().await;
                let (buffered, mut chunks, mut bytes) = (connection.inbound_bytes(), 0, Vec::new());
                while let Ok(Some(chunk)) = connection.receive().await {
                    chunks += usize::from(bytes.len() < buffered);
                    bytes.extend_from_slice(&chunk);
                }
                report.update(|report| *report = Some((chunks, bytes)));
            }
        });
        let mut client = connect(address);
        client.set_nodelay(true).unwrap();
        let sent = pattern(WRITES);
        for byte in &sent {
            client.write_all(std::slice::from_ref(byte)).unwrap();
        }
        wait_until_received(&running, WRITES as u64);
        gate.close();
        client.shutdown(Half::Write).unwrap();
        let (chunks, bytes) = done.wait("the bytes", Option::take);
        assert!(bytes == sent, "the bytes arrived changed");
        assert!(chunks <= chunks_max, "{chunks} chunks were held");
        drop(client);
        finish(running);
    });
}

/// Bytes and FIN that arrive while receiving is paused are all delivered, the end last.
#[test]
fn the_end_of_stream_waits_for_the_bytes_before_it() {
    let sent = numbered(300_000);
    on_every_engine(|setup| {
        let (gate, done) = (Inbox::<()>::default(), Progress::<Option<Vec<u8>>>::default());
        let (wait, report) = (gate.clone(), done.clone());
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (wait, report) = (wait.clone(), report.clone());
            async move {
                wait.next().await;
                let mut bytes = Vec::new();
                while let Some(chunk) = connection.receive().await.unwrap() {
                    bytes.extend_from_slice(&chunk);
                }
                report.update(|report| *report = Some(bytes));
            }
        });
        let mut client = connect(address);
        client.write_all(&sent).unwrap();
        drop(client);
        wait_until("the pause", || total(&running).paused == 1);
        gate.close();
        assert!(done.wait("the bytes", Option::take) == sent, "bytes before the FIN were lost");
        finish(running);
    });
}

/// First byte that makes the handler stall; after any other it echoes.
const STALL: u8 = b'S';

fn start_with_stalls(setup: Setup, gate: &Inbox<()>) -> (Running, SocketAddr) {
    let gate = gate.clone();
    start(setup.config, move |mut connection: Connection| {
        let gate = gate.clone();
        async move {
            let Ok(Some(first)) = connection.receive().await else { return };
            let stalls = first[0] == STALL;
            connection.unread(first);
            if stalls {
                gate.next().await;
            } else {
                echo(connection).await;
            }
        }
    })
}

#[test]
fn stalled_connections_do_not_stop_another() {
    on_every_engine(|mut setup| {
        let stalled = 1000;
        setup.config.inbound.bytes_high = 4096;
        setup.config.inbound.bytes_low = 1024;
        let gate = Inbox::<()>::default();
        let (running, address) = start_with_stalls(setup, &gate);
        let flood = vec![STALL; 64 << 10];
        let mut clients: Vec<_> = (0..stalled).map(|_| connect(address)).collect();
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
            write_some(client, &flood);
        }
        wait_until("all to be paused", || total(&running).paused == stalled);
        let mut lively = connect(address);
        for round in 0..100 {
            check_echo(&mut lively, &pattern(1000 + round));
        }
        // Across the high mark several times.
        check_echo(&mut lively, &pattern(300_000));
        drop(lively);
        wait_until("the lively connection to end", || total(&running).connections == stalled);
        assert_eq!(total(&running).paused, stalled);
        drop(clients);
        gate.close();
        finish(running);
    });
}

/// A peer whose bytes are all there already gets a share of each tick, and the others have their turns in between.
#[test]
fn a_flood_delays_others_by_its_share_of_a_tick() {
    const QUEUED_BYTES: usize = 2 << 20;
    /// The share, and one large buffer.
    const SHARE_BYTES_MAX: usize = (64 + 32) << 10;
    on_every_engine(|mut setup| {
        if !setup.is_portable() || setup.config.placement != HandlerPlacement::Inline {
            // The kernel divides the time of a ring. Only an inline handler can hold its worker until all is there.
            return;
        }
        setup.config.inbound.bytes_high = 1 << 30;
        setup.config.inbound.chunks_max = 65_536;
        setup.config.socket_receive_buffer_bytes = Some(2 * QUEUED_BYTES as u32);
        let (held, let_go) = (Progress::<bool>::default(), Progress::<bool>::default());
        let (holds, wait) = (held.clone(), let_go.clone());
        let flooded = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&flooded);
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (holds, wait, flooded) = (holds.clone(), wait.clone(), Arc::clone(&seen));
            async move {
                let first = connection.receive().await.unwrap().unwrap();
                match first[0] {
                    b'h' => {
                        holds.update(|held| *held = true);
                        wait.wait("all bytes to be there", |let_go| let_go.then_some(()));
                    }
                    b'f' => {
                        while let Ok(Some(chunk)) = connection.receive().await {
                            flooded.fetch_add(chunk.len(), Ordering::Relaxed);
                        }
                    }
                    _ => {
                        let _ = connection.receive().await;
                        let seen = flooded.load(Ordering::Relaxed) as u64;
                        connection.sender().send(seen.to_le_bytes().to_vec()).await.unwrap();
                    }
                }
            }
        });
        let mut clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
        for (client, role) in clients.iter_mut().zip([b"o", b"f", b"o", b"o", b"h"]) {
            let before = total(&running).received_bytes_total;
            client.write_all(role).unwrap();
            if role == b"h" {
                break;
            }
            wait_until("the role", || total(&running).received_bytes_total > before);
        }
        held.wait("the worker to be held up", |held| held.then_some(()));
        clients[1].write_all(&vec![0; QUEUED_BYTES]).unwrap();
        for other in [0, 2, 3] {
            clients[other].write_all(b"now").unwrap();
        }
        let_go.update(|let_go| *let_go = true);
        for other in [0, 2, 3] {
            let seen = u64::from_le_bytes(read_exact(&mut clients[other], 8).try_into().unwrap()) as usize;
            assert!(seen <= SHARE_BYTES_MAX, "{seen} bytes of the flood came first");
        }
        drop(clients);
        wait_until("the flood", || flooded.load(Ordering::Relaxed) == QUEUED_BYTES);
        finish(running);
    });
}

/// More bytes at once than a worker has memory for small reads, one message from each of many peers.
#[test]
fn messages_that_arrive_all_at_once_are_all_received() {
    on_every_engine(|setup| {
        if setup.config.placement != HandlerPlacement::Inline {
            // Only an inline handler can hold its worker until all is there.
            return;
        }
        let (held, let_go) = (Progress::<bool>::default(), Progress::<bool>::default());
        let (holds, wait) = (held.clone(), let_go.clone());
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (holds, wait) = (holds.clone(), wait.clone());
            async move {
                let Ok(Some(first)) = connection.receive().await else { return };
                if &first[..] == b"hold" {
                    holds.update(|held| *held = true);
                    wait.wait("all messages to be there", |let_go| let_go.then_some(()));
                }
                connection.unread(first);
                echo(connection).await;
            }
        });
        let mut clients: Vec<_> = (0..250).map(|_| connect(address)).collect();
        wait_until("all to be accepted", || total(&running).connections == 250);
        let mut holder = connect(address);
        holder.write_all(b"hold").unwrap();
        held.wait("the worker to be held up", |held| held.then_some(()));
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(&pattern(3000 + number)).unwrap();
        }
        let_go.update(|let_go| *let_go = true);
        for (number, client) in clients.iter_mut().enumerate() {
            assert!(read_exact(client, 3000 + number) == pattern(3000 + number), "the echo differs");
        }
        drop((clients, holder));
        finish(running);
    });
}

/// A peer that sends much is received in large buffers, and its later messages of any size arrive.
#[test]
fn large_buffers_serve_peers_that_send_much() {
    on_every_engine(|setup| {
        let (provided, small_bytes) = (setup.has_large_buffers(), setup.config.uring.receive_buffer_bytes);
        let is_portable = setup.is_portable();
        let largest = Progress::<usize>::default();
        let seen = largest.clone();
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let seen = seen.clone();
            async move {
                while let Ok(Some(chunk)) = connection.receive().await {
                    seen.update(|largest| *largest = chunk.len().max(*largest));
                    connection.sender().send(chunk.into_vec()).await.unwrap();
                }
            }
        });
        let mut client = connect(address);
        for _ in 0..2 {
            check_echo(&mut client, &pattern(2_000_000));
            for round in 0..200 {
                check_echo(&mut client, &pattern(1 + 97 * round));
            }
        }
        drop(client);
        let largest = largest.wait("the end", |largest| Some(*largest));
        assert_eq!(largest > small_bytes, provided || is_portable, "chunks of up to {largest} bytes");
        finish(running);
    });
}

/// With more active connections than receive buffers each waits its turn, and nothing is lost or reordered.
#[test]
fn few_buffers_serve_many_connections() {
    for buffers in [2, 4] {
        on_every_engine(|mut setup| {
            setup.config.uring.receive_buffers = buffers;
            if setup.has_large_buffers() {
                setup.config.uring.large_receive_buffers = buffers;
            }
            let provided = !setup.is_portable();
            let (running, address) = start(setup.config, echo);
            let bytes = numbered(200_000);
            thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| check_echo(&mut connect(address), &bytes));
                }
            });
            assert_eq!(total(&running).starved_total > 0, provided, "{:?}", total(&running));
            finish(running);
        });
    }
}

/// Handlers that keep their chunks never take the last buffers from others.
#[test]
fn hoarded_chunks_do_not_starve_another() {
    on_every_engine(|mut setup| {
        setup.config.uring.receive_buffers = 8;
        if setup.has_large_buffers() {
            setup.config.uring.large_receive_buffers = 8;
        }
        // Enough to be received in large buffers too.
        let hoard_bytes = 40 * setup.config.uring.receive_buffer_bytes;
        let (gate, hoarded) = (Inbox::<()>::default(), Progress::<Vec<Vec<Chunk>>>::default());
        let (wait, hoard) = (gate.clone(), hoarded.clone());
        let (running, address) = start(setup.config, move |mut connection: Connection| {
            let (wait, hoard) = (wait.clone(), hoard.clone());
            async move {
                let Ok(Some(first)) = connection.receive().await else { return };
                if first[0] != STALL {
                    connection.unread(first);
                    return echo(connection).await;
                }
                let mut chunks = vec![first];
                while chunks.iter().map(|chunk| chunk.len()).sum::<usize>() < hoard_bytes {
                    chunks.extend(connection.receive().await.unwrap());
                }
                hoard.update(|hoard| hoard.push(chunks));
                wait.next().await;
            }
        });
        let mut clients: Vec<_> = (0..32).map(|_| connect(address)).collect();
        for client in &mut clients {
            client.write_all(&vec![STALL; hoard_bytes]).unwrap();
        }
        hoarded.wait("the hoarders", |hoard| (hoard.len() == 32).then_some(()));
        let mut lively = connect(address);
        check_echo(&mut lively, &pattern(500_000));
        drop((lively, clients));
        hoarded.update(Vec::clear);
        gate.close();
        finish(running);
    });
}
