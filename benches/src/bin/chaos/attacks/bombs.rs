//! Messages that are small on the wire and large in memory, or claim to be.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::Outcome;
use crate::counts::Counts;
use crate::frame;
use crate::peer::{End, Peer};
use crate::random::Random;
use crate::server::MESSAGE_BYTES_MAX;

/// Bombs of each kind per round.
const BOMBS_PER_KIND: usize = 6;

/// Bytes of the first fragment of a bomb in fragments, and of each later one.
const FRAGMENT_BYTES: usize = 256;

/// 64 MiB of zeros, in 64 KiB.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| deflated(64 << 20));

/// Zeros just below the limit of a message.
static ALLOWED: LazyLock<Vec<u8>> = LazyLock::new(|| deflated(MESSAGE_BYTES_MAX as usize - 1));

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One compressed frame above the limit.
    Whole,
    /// The same, in many fragments.
    Fragments,
    /// A message below the limit that never ends, and whose sender dies.
    Unfinished,
    /// A frame that claims 2^62 bytes.
    Claimed,
    /// A compressed message that is no deflate stream.
    Corrupt,
    /// Content above any limit, announced and sent in part.
    Content,
}

const KINDS: [Kind; 6] = [Kind::Whole, Kind::Fragments, Kind::Unfinished, Kind::Claimed, Kind::Corrupt, Kind::Content];

pub fn run(address: SocketAddr, random: &mut Random) -> Outcome<Counts> {
    let mut done = Counts::default();
    for _ in 0..BOMBS_PER_KIND {
        for kind in KINDS {
            throw(kind, address, random).map_err(|error| format!("{kind:?}: {error}"))?;
            done.add("bombs", 1);
        }
    }
    Ok(done)
}

fn throw(kind: Kind, address: SocketAddr, random: &mut Random) -> Outcome {
    if matches!(kind, Kind::Content) {
        return content(address);
    }
    let (mut peer, _) = Peer::upgraded_with_compression(address, "/ws")?;
    let first = frame::BINARY | frame::COMPRESSED;
    match kind {
        Kind::Whole => {
            peer.send_frame(first, &LARGE, random)?;
            refused(peer, 1009, random)
        }
        Kind::Fragments => {
            let mut bytes = Vec::new();
            for (number, fragment) in LARGE.chunks(FRAGMENT_BYTES).enumerate() {
                let opcode = if number == 0 { first & !frame::FIN } else { frame::CONTINUATION };
                frame::write(&mut bytes, opcode, fragment, random.key());
            }
            peer.send(&bytes)?;
            refused(peer, 1009, random)
        }
        Kind::Unfinished => {
            peer.send_frame(first & !frame::FIN, &ALLOWED, random)?;
            // The answer to a ping shows that the server has inflated what came before.
            peer.send_frame(frame::PING, b"there", random)?;
            let pong = peer.expect_frame()?;
            if pong.first != frame::PONG {
                return Err(format!("a ping was answered with {:#04x}", pong.first));
            }
            peer.reset();
            Ok(())
        }
        Kind::Claimed => {
            let mut header = Vec::new();
            frame::write_header(&mut header, frame::BINARY, 1 << 62, random.key());
            peer.send(&header)?;
            refused(peer, 1009, random)
        }
        Kind::Corrupt => {
            // A block of the reserved type.
            peer.send_frame(first, &[0x07, 1, 2, 3], random)?;
            refused(peer, 1007, random)
        }
        Kind::Content => unreachable!("it is no WebSocket"),
    }
}

/// Checks that the server closes with the code, and ends the connection in order after our close frame.
fn refused(mut peer: Peer, code: u16, random: &mut Random) -> Outcome {
    let frame = peer.expect_frame()?;
    if frame.close_code() != Some(code) {
        return Err(format!("expected close {code}, got a frame {:#04x} {:?}", frame.first, frame.close_code()));
    }
    peer.send_frame(frame::CLOSE, &code.to_be_bytes(), random)?;
    match peer.read_to_end()? {
        End::Fin => Ok(()),
        End::Reset => Err("the connection was reset after the closing handshake".into()),
    }
}

fn content(address: SocketAddr) -> Outcome {
    let mut peer = Peer::connect(address)?;
    let length = u64::MAX / 2;
    let head = format!("POST /echo HTTP/1.1\r\nHost: chaos\r\nContent-Length: {length}\r\n\r\n");
    peer.send(head.as_bytes())?;
    let head = peer.head()?.unwrap_or_default();
    if head.starts_with("HTTP/1.1 413 ") { Ok(()) } else { Err(format!("{length} bytes were answered with {head:?}")) }
}

/// Returns `bytes` zeros as the payload of a compressed message (RFC 7692 section 7.2.1).
fn deflated(bytes: usize) -> Vec<u8> {
    let block = vec![0; 1 << 20];
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let mut left = bytes;
    // Writing to a vector does not fail.
    while left > 0 {
        let length = left.min(block.len());
        let _ = encoder.write_all(&block[..length]);
        left -= length;
    }
    let _ = encoder.flush();
    let mut payload = encoder.get_ref().clone();
    payload.truncate(payload.len() - 4);
    payload
}
