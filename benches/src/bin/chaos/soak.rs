//! Well-behaved clients that go on during all attacks. Every byte that they send comes back and is hashed.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use tidegate_benches::deflate::{Deflate, Inflate};

use crate::Outcome;
use crate::counts::Counts;
use crate::frame;
use crate::peer::Peer;
use crate::random::Random;
use crate::server::MESSAGE_BYTES_MAX;

/// Clients of each kind.
const CLIENTS_PER_KIND: usize = 3;

/// The most bytes of several messages that are sent before their echoes are read: less than the buffers on the way
/// hold, so neither side waits for the other.
const BATCH_BYTES_MAX: usize = 64 << 10;

/// The compression level of the clients.
const LEVEL: u32 = 1;

/// The pause between two batches, which leaves the processor to the attacks.
const PAUSE: Duration = Duration::from_millis(1);

/// A client: it runs until told to stop, and returns what it did.
type Client = fn(SocketAddr, &AtomicBool, &mut Random) -> Outcome<Counts>;

const KINDS: [(&str, Client); 4] =
    [("echo", echo), ("compressed echo", compressed_echo), ("requests", requests), ("fan-out", fan_out)];

/// Clients that are running.
pub struct Soak {
    stop: Arc<AtomicBool>,
    clients: Vec<(&'static str, JoinHandle<Outcome<Counts>>)>,
}

impl Soak {
    pub fn start(address: SocketAddr, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for (kind, client) in KINDS {
            for _ in 0..CLIENTS_PER_KIND {
                let stop = Arc::clone(&stop);
                let mut random = Random::new(seed + clients.len() as u64);
                clients.push((kind, thread::spawn(move || client(address, &stop, &mut random))));
            }
        }
        Self { stop, clients }
    }

    /// Lets every client close its connection. Returns what was done, and the faults.
    pub fn finish(self) -> (Counts, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut done, mut faults) = (Counts::default(), Vec::new());
        for (kind, client) in self.clients {
            match client.join() {
                Ok(Ok(counts)) => done.add_all(&counts),
                Ok(Err(fault)) => faults.push(format!("soak, {kind}: {fault}")),
                Err(_) => faults.push(format!("soak, {kind}: the client itself panicked")),
            }
        }
        (done, faults)
    }
}

type Hash = [u8; 20];

fn hash(payload: &[u8]) -> Hash {
    Sha1::digest(payload).into()
}

/// Returns lengths of messages for one batch: some small ones, or a large one.
fn batch(random: &mut Random) -> Vec<usize> {
    match random.below(20) {
        0 => vec![random.index(MESSAGE_BYTES_MAX as usize + 1)],
        1..=3 => vec![random.index(BATCH_BYTES_MAX)],
        4..=8 => (0..8).map(|_| random.index(BATCH_BYTES_MAX / 8)).collect(),
        _ => (0..1 + random.index(32)).map(|_| random.index(200)).collect(),
    }
}

fn message(length: usize, random: &mut Random) -> (u8, Vec<u8>) {
    if random.below(2) == 0 { (frame::TEXT, random.text(length)) } else { (frame::BINARY, random.bytes(length)) }
}

/// Appends a message in one to four frames.
fn write_message(out: &mut Vec<u8>, first: u8, payload: &[u8], random: &mut Random) {
    let mut rest = payload;
    let mut opcode = first & !frame::FIN;
    for _ in 0..random.index(4) {
        let (fragment, after) = rest.split_at(random.index(rest.len() + 1));
        frame::write(out, opcode, fragment, random.key());
        (rest, opcode) = (after, frame::CONTINUATION);
    }
    frame::write(out, opcode | frame::FIN, rest, random.key());
}

/// Reads a message and returns its first byte, with FIN, and its payload.
fn read_message(peer: &mut Peer) -> Outcome<(u8, Vec<u8>)> {
    let start = peer.expect_frame()?;
    let (first, mut payload, mut is_last) = (start.first | frame::FIN, start.payload, start.first & frame::FIN != 0);
    while !is_last {
        let next = peer.expect_frame()?;
        if next.first & !frame::FIN != frame::CONTINUATION {
            return Err(format!("a frame {:#04x} in the middle of a message", next.first));
        }
        payload.extend(next.payload);
        is_last = next.first & frame::FIN != 0;
    }
    Ok((first, payload))
}

fn soaked(done: &mut Counts, payload: &[u8]) {
    done.add("messages_soaked", 1);
    done.add("bytes_hashed", payload.len() as u64);
}

fn echo(address: SocketAddr, stop: &AtomicBool, random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    let mut peer = Peer::upgraded(address, "/ws")?;
    while !stop.load(Ordering::Relaxed) {
        let (mut bytes, mut expected) = (Vec::new(), VecDeque::new());
        for length in batch(random) {
            let (first, payload) = message(length, random);
            write_message(&mut bytes, first, &payload, random);
            expected.push_back((first, hash(&payload)));
        }
        peer.send(&bytes)?;
        for expected in expected {
            let (first, payload) = read_message(&mut peer)?;
            if (first, hash(&payload)) != expected {
                return Err(format!("an echo of {} bytes differs", payload.len()));
            }
            soaked(&mut done, &payload);
        }
        thread::sleep(PAUSE);
    }
    peer.close(random)?;
    Ok(done)
}

/// The same with compression in both directions, with contexts that go on from message to message.
fn compressed_echo(address: SocketAddr, stop: &AtomicBool, random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    let (mut peer, is_reset_each_time) = Peer::upgraded_with_compression(address, "/ws")?;
    let (mut deflate, mut inflate) = (Deflate::new(LEVEL, is_reset_each_time), Inflate::default());
    while !stop.load(Ordering::Relaxed) {
        let (mut bytes, mut expected) = (Vec::new(), VecDeque::new());
        for length in batch(random) {
            let (first, payload) = message(length, random);
            let compressed = deflate.message(&payload).map_err(|error| error.to_string())?;
            write_message(&mut bytes, first | frame::COMPRESSED, &compressed, random);
            expected.push_back((first, hash(&payload)));
        }
        peer.send(&bytes)?;
        for expected in expected {
            let (first, mut payload) = read_message(&mut peer)?;
            if first & frame::COMPRESSED != 0 {
                payload = inflate.message(&payload).map_err(|error| error.to_string())?.to_vec();
            }
            if (first & !frame::COMPRESSED, hash(&payload)) != expected {
                return Err(format!("an echo of {} bytes differs", payload.len()));
            }
            soaked(&mut done, &payload);
        }
        thread::sleep(PAUSE);
    }
    peer.close(random)?;
    Ok(done)
}

/// Pipelined requests with content, half of it chunked.
fn requests(address: SocketAddr, stop: &AtomicBool, random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    let mut peer = Peer::connect(address)?;
    while !stop.load(Ordering::Relaxed) {
        let (mut bytes, mut expected) = (Vec::new(), VecDeque::new());
        for length in batch(random) {
            let content = random.bytes(length);
            write_request(&mut bytes, &content, random);
            expected.push_back(hash(&content));
        }
        peer.send(&bytes)?;
        for expected in expected {
            let (head, content) = peer.response()?.ok_or("the server closed, and a response was due")?;
            if !head.starts_with("HTTP/1.1 200 ") || hash(&content) != expected {
                return Err(format!("a response with {} bytes of content differs: {head:?}", content.len()));
            }
            soaked(&mut done, &content);
        }
        thread::sleep(PAUSE);
    }
    peer.finish();
    peer.read_to_end()?;
    Ok(done)
}

fn write_request(out: &mut Vec<u8>, content: &[u8], random: &mut Random) {
    out.extend(b"POST /echo HTTP/1.1\r\nHost: chaos\r\n");
    if random.below(2) == 0 {
        out.extend(format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes());
        out.extend(content);
        return;
    }
    out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    let mut rest = content;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + random.index(rest.len()));
        out.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
        rest = after;
    }
    out.extend(b"0\r\n\r\n");
}

/// Members of one hub, each of which publishes. Every member gets the messages of each publisher in their order.
fn fan_out(address: SocketAddr, stop: &AtomicBool, random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    let mut peer = Peer::upgraded(address, "/hub/soak")?;
    let own: [u8; 8] = random.number().to_be_bytes();
    // The number of the last message of each publisher.
    let mut seen = std::collections::HashMap::<[u8; 8], u64>::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let body = random.bytes(64 + random_length(number));
        peer.send_frame(frame::BINARY, &[&own[..], &number.to_be_bytes(), &hash(&body), &body].concat(), random)?;
        // Messages of others come in between.
        loop {
            let (publisher, of_publisher) = read_publication(&mut peer, &mut done)?;
            let last = seen.insert(publisher, of_publisher);
            if last.is_some_and(|last| last + 1 != of_publisher) {
                return Err(format!("message {of_publisher} of a publisher came after {last:?}"));
            }
            if publisher == own && of_publisher == number {
                break;
            }
        }
        thread::sleep(PAUSE);
    }
    peer.close(random)?;
    Ok(done)
}

/// Lengths of publications: now and then one of several kilobytes.
fn random_length(number: u64) -> usize {
    if number.is_multiple_of(16) { 8192 } else { (number % 512) as usize }
}

/// Reads a publication, checks its hash, and returns its publisher and number.
fn read_publication(peer: &mut Peer, done: &mut Counts) -> Outcome<([u8; 8], u64)> {
    let (_, payload) = read_message(peer)?;
    let parts = payload.split_first_chunk::<8>().and_then(|(publisher, rest)| {
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (hashed, body) = rest.split_first_chunk::<20>()?;
        (hash(body) == *hashed).then(|| (*publisher, u64::from_be_bytes(*number)))
    });
    soaked(done, &payload);
    parts.ok_or_else(|| format!("a publication of {} bytes differs", payload.len()))
}
