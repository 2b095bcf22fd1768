//! A thousand opening handshakes at once that arrive a few bytes at a time.

use std::net::SocketAddr;

use tidegate_benches::handshake::Upgrade;

use crate::Outcome;
use crate::counts::Counts;
use crate::frame;
use crate::peer::{Peer, field};
use crate::random::Random;

/// Handshakes per round.
const HANDSHAKES: usize = 1000;

/// The most bytes sent at a time, and the length that stalled clients send.
const PIECE_BYTES_MAX: usize = 16;
const STALLED_BYTES: usize = 60;

/// How a slow client goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// It completes the handshake, exchanges a message and closes.
    Complete,
    /// It resets the connection at some byte.
    Die(usize),
    /// It stops sending and waits for the server to give up.
    Stall,
}

struct Slow {
    peer: Peer,
    handshake: Upgrade,
    intent: Intent,
    sent: usize,
}

pub fn run(address: SocketAddr, random: &mut Random) -> Outcome<Counts> {
    let mut clients = Vec::with_capacity(HANDSHAKES);
    for number in 0..HANDSHAKES {
        let peer = Peer::connect(address)?;
        let handshake = peer.handshake("/ws");
        let intent = match number % 3 {
            0 => Intent::Complete,
            1 => Intent::Die(random.index(handshake.request().len())),
            _ => Intent::Stall,
        };
        clients.push(Slow { peer, handshake, intent, sent: 0 });
    }
    let mut done = Counts::default();
    done.add("slow_handshakes", HANDSHAKES as u64);
    let mut waiting = Vec::new();
    while !clients.is_empty() {
        let mut next = Vec::with_capacity(clients.len());
        for mut client in clients {
            let end = match client.intent {
                Intent::Complete => client.handshake.request().len(),
                Intent::Die(at) => at,
                Intent::Stall => STALLED_BYTES,
            };
            let piece = (1 + random.index(PIECE_BYTES_MAX)).min(end - client.sent);
            // On a slow machine the server can have given up already. It then reads on, and resets nothing.
            client.peer.send(&client.handshake.request()[client.sent..client.sent + piece])?;
            client.sent += piece;
            match client.intent {
                _ if client.sent < end => next.push(client),
                Intent::Die(_) => client.peer.reset(),
                Intent::Complete | Intent::Stall => waiting.push(client),
            }
        }
        clients = next;
    }
    for client in waiting {
        done.add(finish(client, random)?, 1);
    }
    Ok(done)
}

/// Brings a client to its end and returns what it counts as.
fn finish(mut client: Slow, random: &mut Random) -> Outcome<&'static str> {
    let head = client.peer.head()?.unwrap_or_default();
    if client.intent == Intent::Complete && head.starts_with("HTTP/1.1 101 ") {
        let complete = [head.as_bytes(), b"\r\n"].concat();
        client.handshake.read(&complete).map_err(|error| error.to_string())?;
        return echo_and_close(client.peer, random).map(|()| "handshakes_completed");
    }
    given_up(&head, client.peer)
}

/// Checks that the server gave up with 408, and in order.
fn given_up(head: &str, mut peer: Peer) -> Outcome<&'static str> {
    let is_last = field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if !head.starts_with("HTTP/1.1 408 ") || !is_last {
        return Err(format!("a head that stalls was answered with {head:?}"));
    }
    peer.read_to_end()?;
    Ok("handshakes_timed_out")
}

fn echo_and_close(mut peer: Peer, random: &mut Random) -> Outcome {
    let payload = random.bytes(100);
    peer.send_frame(frame::BINARY, &payload, random)?;
    if peer.expect_frame()?.payload != payload {
        return Err("an echo differs after a slow handshake".into());
    }
    peer.close(random)
}
