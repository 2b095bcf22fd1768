//! Clients that send pings and tiny messages as fast as they can, with and without reading the answers.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::counts::Counts;
use crate::frame;
use crate::peer::{Death, Peer, end_all};
use crate::random::Random;

/// Frames of one flood.
const FRAMES: u32 = 20_000;

/// Clients that flood and never read, and the time without progress after which they are taken as blocked.
const DEAF_PEERS: usize = 8;
const BLOCKED_AFTER: Duration = Duration::from_millis(200);

/// The most bytes such a client sends: more than all buffers on the way hold.
const DEAF_BYTES_MAX: usize = 64 << 20;

pub fn run(address: SocketAddr, random: &mut Random) -> Outcome<Counts> {
    flood(address, frame::PING, random).map_err(|error| format!("pings: {error}"))?;
    flood(address, frame::BINARY, random).map_err(|error| format!("tiny messages: {error}"))?;
    let mut deaf = Vec::new();
    for number in 0..DEAF_PEERS {
        let first = if number % 2 == 0 { frame::PING } else { frame::TEXT };
        let mut peer = Peer::upgraded(address, "/ws")?;
        send_until_blocked(&mut peer, first, random)?;
        deaf.push((peer, if number % 4 < 2 { Death::Fin } else { Death::Reset }));
    }
    end_all(deaf)?;
    let mut done = Counts::default();
    done.add("flood_frames", 2 * u64::from(FRAMES));
    done.add("deaf_floods", DEAF_PEERS as u64);
    Ok(done)
}

/// Sends numbered frames as fast as possible while a thread reads the answers, which must be all of them in order.
fn flood(address: SocketAddr, first: u8, random: &mut Random) -> Outcome {
    let mut peer = Peer::upgraded(address, "/ws")?;
    let mut writer = peer.stream.try_clone().map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    (0..FRAMES).for_each(|number| frame::write(&mut bytes, first, &number.to_be_bytes(), random.key()));
    let expected = if first == frame::PING { frame::PONG } else { first };
    let sending = thread::spawn(move || writer.write_all(&bytes));
    for number in 0..FRAMES {
        let answer = peer.expect_frame()?;
        if answer.first != expected || answer.payload != number.to_be_bytes() {
            return Err(format!("answer {number} is {:#04x} {:?}", answer.first, answer.payload));
        }
    }
    let sent = sending.join().map_err(|_| "the sending thread panicked".to_owned())?;
    sent.map_err(|error| format!("send: {error}"))?;
    peer.close(random)
}

/// Sends without reading until nothing more leaves.
fn send_until_blocked(peer: &mut Peer, first: u8, random: &mut Random) -> Outcome {
    let mut block = Vec::new();
    (0..1000).for_each(|_| frame::write(&mut block, first, b"flood", random.key()));
    peer.stream.set_write_timeout(Some(BLOCKED_AFTER)).map_err(|error| error.to_string())?;
    for _ in 0..DEAF_BYTES_MAX / block.len() {
        match peer.stream.write_all(&block) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(()),
            // The server gives up on a peer that takes nothing.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return Ok(()),
            Err(error) => return Err(format!("send: {error}")),
        }
    }
    Err(format!("the server took {DEAF_BYTES_MAX} bytes from a peer that reads no answer"))
}
