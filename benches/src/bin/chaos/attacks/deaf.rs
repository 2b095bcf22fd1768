//! Clients that ask for much and never read it. The server must end them by itself, and delay nobody for them.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use crate::Outcome;
use crate::counts::Counts;
use crate::frame;
use crate::peer::Peer;
use crate::random::Random;
use crate::server::BIG_BYTES;

/// Clients of each kind per round.
const PEERS_PER_KIND: usize = 8;

/// Bytes asked for, many times what the buffers on the way hold.
const ASKED_BYTES: usize = 64 << 20;

/// Bytes of a message whose echo, or whose fan-out, is not read.
const MESSAGE_BYTES: usize = 64 << 10;

/// Messages of the fan-out: more than the kernel and the member's queue hold.
const FAN_OUT_MESSAGES: usize = 512;

/// The time after which a client stops trying to send more.
const SEND_TIMEOUT: Duration = Duration::from_millis(300);

pub fn run(address: SocketAddr, random: &mut Random) -> Outcome<Counts> {
    let mut deaf = Vec::new();
    let requests = b"GET /big HTTP/1.1\r\nHost: chaos\r\n\r\n".repeat(ASKED_BYTES / BIG_BYTES);
    let mut message = Vec::new();
    frame::write(&mut message, frame::BINARY, &random.bytes(MESSAGE_BYTES), random.key());
    for _ in 0..PEERS_PER_KIND {
        let mut peer = Peer::connect(address)?;
        send_what_fits(&mut peer, &requests)?;
        deaf.push(peer);
        let mut peer = Peer::upgraded(address, "/ws")?;
        send_what_fits(&mut peer, &message.repeat(ASKED_BYTES / MESSAGE_BYTES / 8))?;
        deaf.push(peer);
        deaf.push(Peer::upgraded(address, "/hub/deaf")?);
    }
    publish(address, random)?;
    for (number, peer) in deaf.iter().enumerate() {
        peer.wait_for_reset().map_err(|error| format!("kind {}: {error}", number % 3))?;
    }
    let mut done = Counts::default();
    done.add("deaf_peers", deaf.len() as u64);
    Ok(done)
}

/// Publishes to a hub that has deaf members. Each message must come back to the publisher.
fn publish(address: SocketAddr, random: &mut Random) -> Outcome {
    let mut publisher = Peer::upgraded(address, "/hub/deaf")?;
    let mut payload = random.bytes(MESSAGE_BYTES);
    for number in 0..FAN_OUT_MESSAGES {
        payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
        publisher.send_frame(frame::BINARY, &payload, random)?;
        let frame = publisher.expect_frame()?;
        if frame.payload != payload {
            return Err(format!("the publisher received {:#04x} in place of message {number}", frame.first));
        }
    }
    publisher.close(random)
}

/// Sends until all is sent or nothing more leaves.
fn send_what_fits(peer: &mut Peer, bytes: &[u8]) -> Outcome {
    peer.stream.set_write_timeout(Some(SEND_TIMEOUT)).map_err(|error| error.to_string())?;
    match peer.stream.write_all(bytes) {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        // The server gives up on a peer that takes nothing.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(()),
        Err(error) => Err(format!("send: {error}")),
    }
}
