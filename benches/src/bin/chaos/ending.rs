//! SIGTERM while 500 connections have pipelined requests and messages outstanding.
//!
//! Every response that a handler made must arrive whole and in its order, and every connection must end in order.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::counts::Counts;
use crate::frame;
use crate::peer::{End, Peer, field};
use crate::process::Process;
use crate::random::Random;

/// Connections with requests and with WebSockets, over how many threads, and how many are outstanding on each.
const REQUEST_THREADS: usize = 8;
const WEBSOCKET_THREADS: usize = 2;
const CONNECTIONS_PER_THREAD: usize = 50;
const DEPTH: usize = 16;

/// The time under load before the signal.
const LOAD: Duration = Duration::from_millis(700);

/// Connects, loads, signals, and checks what every client and the server saw. Returns what was done, and the faults.
pub fn run(process: &mut Process, seed: u64) -> (Counts, Vec<String>) {
    let (mut done, mut faults) = (Counts::default(), Vec::new());
    let before = match process.counts() {
        Ok(counts) => counts,
        Err(fault) => return (done, vec![fault]),
    };
    let address = process.address;
    let connected = AtomicU64::new(0);
    thread::scope(|scope| {
        let connected = &connected;
        let clients: Vec<_> = (0..REQUEST_THREADS + WEBSOCKET_THREADS)
            .map(|thread| {
                let client = if thread < REQUEST_THREADS { requests } else { messages };
                scope.spawn(move || client(address, connected, &mut Random::new(seed + thread as u64)))
            })
            .collect();
        // A client that cannot connect ends its thread, which is then a fault below.
        let expected = ((REQUEST_THREADS + WEBSOCKET_THREADS) * CONNECTIONS_PER_THREAD) as u64;
        while connected.load(Ordering::Relaxed) < expected && !clients.iter().any(|client| client.is_finished()) {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(LOAD);
        process.terminate();
        for client in clients {
            match client.join() {
                Ok(Ok(counts)) => done.add_all(&counts),
                Ok(Err(fault)) => faults.push(format!("SIGTERM: {fault} (seed {seed})")),
                Err(_) => faults.push("SIGTERM: a client itself panicked".to_owned()),
            }
        }
    });
    match process.wait_for_end() {
        Ok(last) => faults.extend(differences(&before, &last, &done).map(|fault| format!("SIGTERM: {fault}"))),
        Err(fault) => faults.push(format!("SIGTERM: {fault}")),
    }
    (done, faults)
}

/// Compares the server's counts at its end with what the clients saw.
fn differences(before: &Counts, last: &Counts, done: &Counts) -> impl Iterator<Item = String> {
    let answered = last.of("answered") - before.of("answered");
    let pairs = [
        ("responses made and received", answered, done.of("responses_at_sigterm")),
        ("handlers begun and ended", last.of("begun"), last.of("ended")),
        ("WebSockets connected and disconnected", last.of("connected"), last.of("disconnected")),
        (
            "connections accepted and ended",
            last.of("accepted_total"),
            last.of("closed_total") + last.of("failed_total"),
        ),
        ("connections left, expected", last.of("connections"), 0),
        ("connections reset by the server, expected", last.of("forced"), 0),
        ("workers that failed, expected", last.of("failed_workers"), 0),
    ];
    pairs
        .into_iter()
        .filter(|(_, left, right)| left != right)
        .map(|(what, left, right)| format!("{what}: {left}, {right}"))
}

/// A connection with requests, and the numbers of the next request and the next response.
struct Pipeline {
    peer: Peer,
    sent: u64,
    received: u64,
}

fn requests(address: SocketAddr, connected: &AtomicU64, _random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_PER_THREAD {
        open.push(Pipeline { peer: Peer::connect(address)?, sent: 0, received: 0 });
        connected.fetch_add(1, Ordering::Relaxed);
    }
    while !open.is_empty() {
        for pipeline in &mut open {
            let request = |number| format!("GET /number?{number} HTTP/1.1\r\nHost: chaos\r\n\r\n");
            let window: String = (pipeline.sent..pipeline.sent + DEPTH as u64).map(request).collect();
            pipeline.sent += DEPTH as u64;
            // The server can have ended its side in the meantime. It reads on, so nothing is refused.
            pipeline.peer.send(window.as_bytes())?;
        }
        let mut next = Vec::with_capacity(open.len());
        for mut pipeline in open {
            if receive_window(&mut pipeline, &mut done)? {
                next.push(pipeline);
            }
        }
        open = next;
    }
    Ok(done)
}

/// Receives a window of responses. Returns false if the server has ended the connection, in order.
fn receive_window(pipeline: &mut Pipeline, done: &mut Counts) -> Outcome<bool> {
    let mut is_last = false;
    while pipeline.received < pipeline.sent {
        let Some((head, content)) = pipeline.peer.response()? else {
            done.add("connections_ended_at_sigterm", 1);
            done.add("requests_unanswered_at_sigterm", pipeline.sent - pipeline.received);
            return Ok(false);
        };
        let number = pipeline.received;
        if is_last || !head.starts_with("HTTP/1.1 200 ") || content != number.to_string().as_bytes() {
            return Err(format!("response {number} is wrong, or behind the last: {head:?}"));
        }
        is_last = field(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        pipeline.received += 1;
        done.add("responses_at_sigterm", 1);
    }
    Ok(true)
}

fn messages(address: SocketAddr, connected: &AtomicU64, random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_PER_THREAD {
        open.push(Pipeline { peer: Peer::upgraded(address, "/ws")?, sent: 0, received: 0 });
        connected.fetch_add(1, Ordering::Relaxed);
    }
    while !open.is_empty() {
        for pipeline in &mut open {
            let mut window = Vec::new();
            for number in pipeline.sent..pipeline.sent + DEPTH as u64 {
                frame::write(&mut window, frame::BINARY, &number.to_be_bytes(), random.key());
            }
            pipeline.sent += DEPTH as u64;
            pipeline.peer.send(&window)?;
        }
        let mut next = Vec::with_capacity(open.len());
        for mut pipeline in open {
            if receive_echoes(&mut pipeline, random, &mut done)? {
                next.push(pipeline);
            }
        }
        open = next;
    }
    Ok(done)
}

/// Receives a window of echoes. Returns false if the server has said goodbye, in order.
fn receive_echoes(pipeline: &mut Pipeline, random: &mut Random, done: &mut Counts) -> Outcome<bool> {
    while pipeline.received < pipeline.sent {
        let frame = pipeline.peer.expect_frame()?;
        if frame.close_code() == Some(1001) {
            pipeline.peer.send_frame(frame::CLOSE, &1001_u16.to_be_bytes(), random)?;
            done.add("connections_ended_at_sigterm", 1);
            return match pipeline.peer.read_to_end()? {
                End::Fin => Ok(false),
                End::Reset => Err("a WebSocket was reset after its closing handshake".into()),
            };
        }
        if frame.first != frame::BINARY || frame.payload != pipeline.received.to_be_bytes() {
            return Err(format!("echo {} is {:#04x} {:?}", pipeline.received, frame.first, frame.payload));
        }
        pipeline.received += 1;
        done.add("echoes_at_sigterm", 1);
    }
    Ok(true)
}
