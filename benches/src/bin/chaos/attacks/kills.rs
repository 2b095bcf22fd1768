//! Clients that die at nine places of a connection's life.

use std::net::SocketAddr;

use crate::Outcome;
use crate::counts::Counts;
use crate::frame;
use crate::peer::{Death, Peer, end_all};
use crate::random::Random;

/// Clients that die at each place in each way, per round.
const PEERS_PER_PLACE: usize = 40;

/// Messages of the fan-out in whose delivery clients die, and the bytes of one.
const FAN_OUT_MESSAGES: usize = 32;
const FAN_OUT_BYTES: usize = 16 << 10;

/// Where a client dies.
#[derive(Debug, Clone, Copy)]
enum Place {
    BeforeTheRequest,
    InTheHead,
    AfterTheHead,
    InTheOpeningHandshake,
    InAFrameHeader,
    InAPayload,
    BetweenFragments,
    InTheClosingHandshake,
    DuringAFanOut,
}

const PLACES: [Place; 9] = [
    Place::BeforeTheRequest,
    Place::InTheHead,
    Place::AfterTheHead,
    Place::InTheOpeningHandshake,
    Place::InAFrameHeader,
    Place::InAPayload,
    Place::BetweenFragments,
    Place::InTheClosingHandshake,
    Place::DuringAFanOut,
];

pub fn run(address: SocketAddr, random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    for place in PLACES {
        let mut peers = Vec::new();
        for number in 0..2 * PEERS_PER_PLACE {
            let death = if number % 2 == 0 { Death::Fin } else { Death::Reset };
            let peer = bring(place, address, random).map_err(|error| format!("{place:?}: {error}"))?;
            peers.push((peer, death));
        }
        done.add("kills", peers.len() as u64);
        let ended = match place {
            Place::DuringAFanOut => end_during_a_fan_out(peers, address, random),
            _ => end_all(peers),
        };
        ended.map_err(|error| format!("{place:?}: {error}"))?;
    }
    Ok(done)
}

/// Brings a client to the place.
fn bring(place: Place, address: SocketAddr, random: &mut Random) -> Outcome<Peer> {
    match place {
        Place::BeforeTheRequest => Peer::connect(address),
        Place::InTheHead => {
            let mut peer = Peer::connect(address)?;
            let head = b"GET /wait HTTP/1.1\r\nHost: chaos\r\nAccept: text/html\r\n\r\n";
            peer.send(&head[..1 + random.index(head.len() - 2)])?;
            Ok(peer)
        }
        Place::AfterTheHead => {
            let mut peer = Peer::connect(address)?;
            let requests: [&[u8]; 4] = [
                b"GET /wait HTTP/1.1\r\nHost: chaos\r\n\r\n",
                b"GET /wait HTTP/1.1\r\nHost: chaos\r\n\r\nGET /wait HTTP/1.1\r\nHost: chaos\r\n\r\n",
                b"POST /echo HTTP/1.1\r\nHost: chaos\r\nContent-Length: 1000\r\n\r\n0123456789",
                b"POST /echo HTTP/1.1\r\nHost: chaos\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01",
            ];
            peer.send(requests[random.index(requests.len())])?;
            Ok(peer)
        }
        Place::InTheOpeningHandshake => {
            let mut peer = Peer::connect(address)?;
            let handshake = peer.handshake("/ws");
            let request = handshake.request();
            // Half of them have sent all of it, and die before the response.
            let length = (1 + random.index(2 * request.len())).min(request.len());
            peer.send(&request[..length])?;
            Ok(peer)
        }
        Place::InAFrameHeader => {
            let mut header = Vec::new();
            let length = [5, 500, 500_000][random.index(3)];
            frame::write_header(&mut header, frame::BINARY, length, random.key());
            header.truncate(1 + random.index(header.len() - 1));
            upgraded_and_sent(address, &header)
        }
        Place::InAPayload => {
            let mut bytes = Vec::new();
            let length = [5, 500, 500_000][random.index(3)];
            let part = random.index(length);
            frame::write_header(&mut bytes, frame::BINARY, length as u64, random.key());
            bytes.extend(random.bytes(part));
            upgraded_and_sent(address, &bytes)
        }
        Place::BetweenFragments => {
            let mut bytes = Vec::new();
            let length = random.index(5000);
            let fragment = random.bytes(length);
            frame::write(&mut bytes, frame::BINARY & !frame::FIN, &fragment, random.key());
            frame::write(&mut bytes, frame::CONTINUATION, &fragment, random.key());
            upgraded_and_sent(address, &bytes)
        }
        Place::InTheClosingHandshake => {
            let mut bytes = Vec::new();
            match random.index(3) {
                // The server's answer is never read.
                0 => frame::write(&mut bytes, frame::CLOSE, &1000_u16.to_be_bytes(), random.key()),
                // The server closes with 1002, which is never answered.
                1 => frame::write(&mut bytes, 0x8b, b"", random.key()),
                _ => frame::write_header(&mut bytes, frame::CLOSE, 100, random.key()),
            }
            upgraded_and_sent(address, &bytes)
        }
        Place::DuringAFanOut => Peer::upgraded(address, "/hub/kills"),
    }
}

fn upgraded_and_sent(address: SocketAddr, bytes: &[u8]) -> Outcome<Peer> {
    let mut peer = Peer::upgraded(address, "/ws")?;
    peer.send(bytes)?;
    Ok(peer)
}

/// Publishes to the clients and ends them meanwhile. The publisher, a member too, must get every message in order.
fn end_during_a_fan_out(peers: Vec<(Peer, Death)>, address: SocketAddr, random: &mut Random) -> Outcome {
    let mut publisher = Peer::upgraded(address, "/hub/kills")?;
    let mut peers = peers.into_iter();
    let per_message = peers.len().div_ceil(FAN_OUT_MESSAGES);
    let mut ended = Vec::new();
    for number in 0..FAN_OUT_MESSAGES {
        let payload = random.bytes(FAN_OUT_BYTES);
        publisher.send_frame(frame::BINARY, &payload, random)?;
        for (peer, death) in peers.by_ref().take(per_message) {
            match death {
                Death::Reset => peer.reset(),
                Death::Fin => {
                    peer.finish();
                    ended.push(peer);
                }
            }
        }
        let frame = publisher.expect_frame()?;
        if frame.first != frame::BINARY || frame.payload != payload {
            return Err(format!("the publisher received {:#04x} in place of message {number}", frame.first));
        }
    }
    ended.iter_mut().try_for_each(|peer| peer.read_to_end().map(drop))?;
    publisher.close(random)
}
