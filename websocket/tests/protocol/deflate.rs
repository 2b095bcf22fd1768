//! Compressed messages (RFC 7692) arrive unchanged, however the bytes are cut, and cost no more than the limit.
//!
//! They are made with the codec itself, not with this crate's compressor.

use flate2::{Compress, Compression, FlushCompress};

use crate::common::{Random, Seen, encode, feed, feed_pieces, header, peer_key};
use tidegate_websocket::{
    CloseCode, DeflateConfig, Opcode, ProtocolError, ReservedBits, WindowBits,
    protocol::{DeflateParams, DeliveryMode, Event, Frame, Protocol, ProtocolConfig, Role},
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// Returns the agreement of a server that keeps both contexts on an offer with these parameters.
pub fn agreed(parameters: &str) -> DeflateParams {
    let config = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    let line = format!("permessage-deflate{parameters}");
    config.accept([line.as_bytes()].into_iter()).unwrap().expect("the offer is accepted").params
}

pub fn compressed_config(role: Role, parameters: &str) -> ProtocolConfig {
    ProtocolConfig::new(role).deflate(agreed(parameters))
}

pub const NO_TAKEOVER: &str = "; server_no_context_takeover; client_no_context_takeover";

/// A peer's compressor.
pub struct Peer {
    codec: Compress,
}

impl Peer {
    pub fn new(level: u32, window_bits: u8) -> Self {
        Self { codec: Compress::new_with_window_bits(Compression::new(level), false, window_bits) }
    }

    /// Returns the payload of one compressed message.
    pub fn deflate(&mut self, payload: &[u8]) -> Vec<u8> {
        if payload.is_empty() {
            // The codec does not flush twice.
            return vec![0x00];
        }
        let mut out = Vec::with_capacity(payload.len() * 2 + 100);
        let before = self.codec.total_in();
        while self.codec.total_in() - before < payload.len() as u64 || !out.ends_with(&[0, 0, 0xFF, 0xFF]) {
            out.reserve(payload.len() + 100);
            let start = (self.codec.total_in() - before) as usize;
            self.codec.compress_vec(&payload[start..], &mut out, FlushCompress::Sync).unwrap();
        }
        out.truncate(out.len() - 4);
        out
    }

    pub fn forget(&mut self) {
        self.codec.reset();
    }
}

/// Encodes a compressed message in one frame.
pub fn compressed(role: Role, text: bool, deflated: &[u8]) -> Vec<u8> {
    let mut bytes = encode(role, Frame::binary(deflated).reserved_bits(ReservedBits::RSV1));
    if text {
        // `Frame::text` takes text, which compressed bytes are not.
        bytes[0] ^= Opcode::Text.bits() ^ Opcode::Binary.bits();
    }
    bytes
}

/// Encodes a compressed message in frames of `piece_len` bytes.
fn fragmented(role: Role, deflated: &[u8], piece_len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = deflated.len().div_ceil(piece_len);
    for (number, piece) in deflated.chunks(piece_len).enumerate() {
        let frame = match number {
            0 => Frame::binary(piece).reserved_bits(ReservedBits::RSV1),
            _ => Frame::continuation(piece),
        };
        let frame = if number + 1 < count { frame.not_final() } else { frame };
        frame.encode(peer_key(role), &mut bytes);
    }
    bytes
}

/// Returns bytes that compress well, with repetitions at many distances.
fn prose(len: usize) -> Vec<u8> {
    let mut random = Random::new(len as u64);
    let words = ["ebb ", "flood ", "slack ", "spring ", "neap ", "tide ", "gate ", "sluice "];
    let mut bytes = Vec::new();
    while bytes.len() < len {
        bytes.extend_from_slice(words[random.below(words.len())].as_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::new(len as u64);
    (0..len).map(|_| random.next() as u8).collect()
}

#[test]
fn the_examples_of_the_rfc() {
    let hello: [&[u8]; 4] = [
        // One block of fixed codes, no compression, a final block, two blocks (sections 7.2.3.1 and 7.2.3.3 to
        // 7.2.3.5).
        &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
        &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
        &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
        &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
    ];
    for role in ROLES {
        for deflated in hello {
            let config = compressed_config(role, NO_TAKEOVER);
            let input = [compressed(role, true, deflated), compressed(role, true, deflated)].concat();
            assert_eq!(feed(config, &input), (vec![Seen::Text("Hello".into()); 2], None), "{deflated:x?}");
        }
        // Section 7.2.3.2: the second refers to the first.
        let input = [
            compressed(role, true, &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
            compressed(role, true, &[0xF2, 0x00, 0x11, 0x00, 0x00]),
        ]
        .concat();
        assert_eq!(feed(compressed_config(role, ""), &input), (vec![Seen::Text("Hello".into()); 2], None));
        let outcome = feed(compressed_config(role, NO_TAKEOVER), &input);
        assert_eq!(outcome, (vec![Seen::Text("Hello".into())], Some(ProtocolError::InvalidDeflate)));
    }
}

#[test]
fn an_empty_message_arrives_in_every_encoding() {
    for role in ROLES {
        for deflated in [&[0x00][..], &[0x02, 0x00], &[]] {
            let input = [compressed(role, true, deflated), encode(role, Frame::binary(b"next"))].concat();
            let expected = vec![Seen::Text(String::new()), Seen::Binary(b"next".to_vec())];
            assert_eq!(feed(compressed_config(role, ""), &input), (expected, None), "{deflated:x?}");
        }
    }
}

#[test]
fn messages_of_every_window_arrive_with_and_without_context() {
    for role in ROLES {
        for bits in 9..=15 {
            for takeover in [true, false] {
                let parameters = format!("; server_max_window_bits={bits}; client_max_window_bits={bits}");
                let parameters = parameters + if takeover { "" } else { NO_TAKEOVER };
                let mut peer = Peer::new(1 + u32::from(bits) % 9, bits);
                let mut input = Vec::new();
                let mut expected = Vec::new();
                for payload in [prose(10), noise(700), prose(3000), Vec::new(), prose(3000), vec![7; 20_000]] {
                    input.extend(compressed(role, false, &peer.deflate(&payload)));
                    if !takeover {
                        peer.forget();
                    }
                    // Uncompressed messages are not part of the context.
                    input.extend(encode(role, Frame::binary(&payload)));
                    expected.extend(vec![Seen::Binary(payload); 2]);
                }
                assert_eq!(feed(compressed_config(role, &parameters), &input), (expected, None), "{parameters}");
            }
        }
    }
}

#[test]
fn a_peer_can_use_less_than_the_agreed_window() {
    let mut peer = Peer::new(9, 9);
    let payload = prose(40_000);
    let input = compressed(Role::Server, false, &peer.deflate(&payload));
    let outcome = feed(compressed_config(Role::Server, "; client_max_window_bits=15"), &input);
    assert_eq!(outcome, (vec![Seen::Binary(payload)], None));
}

#[test]
fn a_compressed_message_can_be_fragmented_anywhere_with_control_frames_between() {
    for role in ROLES {
        let payload = prose(500);
        let deflated = Peer::new(6, 15).deflate(&payload);
        for piece_len in 1..deflated.len() {
            let input = fragmented(role, &deflated, piece_len);
            assert_eq!(feed(compressed_config(role, ""), &input), (vec![Seen::Binary(payload.clone())], None));
        }
        let input = [
            encode(role, Frame::binary(&deflated[..7]).reserved_bits(ReservedBits::RSV1).not_final()),
            encode(role, Frame::ping(b"in between").unwrap()),
            encode(role, Frame::continuation(&deflated[7..]).not_final()),
            encode(role, Frame::continuation(b"")),
        ]
        .concat();
        let expected = vec![Seen::Ping(b"in between".to_vec()), Seen::Binary(payload)];
        assert_eq!(feed(compressed_config(role, ""), &input), (expected, None));
    }
}

#[test]
fn only_the_first_frame_of_a_negotiated_message_has_the_bit() {
    let bits = ReservedBits::RSV1;
    let refused = Some(ProtocolError::ReservedBits { bits });
    for role in ROLES {
        let config = compressed_config(role, "");
        let begun = encode(role, Frame::text("x").not_final());
        for frame in [
            Frame::continuation(b"y").reserved_bits(bits),
            Frame::ping(b"").unwrap().reserved_bits(bits),
            Frame::control(Opcode::Close, b"").unwrap().reserved_bits(bits),
        ] {
            let input = [begun.clone(), encode(role, frame)].concat();
            assert_eq!(feed(config, &input), (vec![], refused));
        }
        let input = encode(role, Frame::binary(b"x").reserved_bits(ReservedBits::RSV2 | bits));
        let other = ProtocolError::ReservedBits { bits: ReservedBits::RSV2 };
        assert_eq!(feed(config, &input), (vec![], Some(other)));
        let input = compressed(role, false, &[0x00]);
        assert_eq!(feed(ProtocolConfig::new(role), &input), (vec![], refused));
    }
    assert_eq!(refused.map(ProtocolError::close_code), Some(CloseCode::PROTOCOL_ERROR));
}

#[test]
fn invalid_deflate_data_and_invalid_text_are_refused_with_1007() {
    let invalid: [(&[u8], bool); 4] = [
        // A block of the reserved type, a stored block whose lengths disagree, a reference to nothing.
        (&[0x06], false),
        (&[0x00, 0x01, 0x00, 0x00, 0x00], false),
        (&[0xF2, 0x00, 0x11, 0x00, 0x00], false),
        // An unfinished stored block, which swallows the end of the message.
        (&[0x00, 0x0A, 0x00, 0xF5, 0xFF, 0x01], true),
    ];
    for (deflated, ends_open) in invalid {
        let input = compressed(Role::Server, false, deflated);
        let outcome = feed(compressed_config(Role::Server, ""), &input);
        match ends_open {
            false => assert_eq!(outcome, (vec![], Some(ProtocolError::InvalidDeflate)), "{deflated:x?}"),
            // The tail then counts as payload, undetected until the next message.
            true => assert_eq!(outcome.1, None),
        }
    }
    assert_eq!(ProtocolError::InvalidDeflate.close_code(), CloseCode::INVALID_PAYLOAD);
    for (payload, ok) in [(&b"\xC3\xBC"[..], true), (b"\xC3", false), (b"\xC3\x28", false)] {
        let input = compressed(Role::Server, true, &Peer::new(6, 15).deflate(payload));
        let outcome = feed(compressed_config(Role::Server, ""), &input);
        assert_eq!(outcome.1.is_none(), ok, "{payload:x?}");
        assert!(ok || outcome.1 == Some(ProtocolError::InvalidUtf8));
    }
}

/// Returns the payload of a compressed message as stored blocks, which end with it.
fn stored(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    [&[0x00][..], &len.to_le_bytes(), &(!len).to_le_bytes(), payload].concat()
}

#[test]
fn the_first_violation_counts_wherever_the_input_was_cut() {
    const RESERVED_BLOCK: &[u8] = &[0x06];
    let invalid_text = b"\xC3\x28";
    let (short, long) = ([b'x'; 30], [b'x'; 50]);
    let cases: [(Vec<u8>, CloseCode, ProtocolError); 4] = [
        // Text that is not UTF-8, then a deflate error; a message above the limit, then a deflate error.
        ([&stored(invalid_text), RESERVED_BLOCK].concat(), CloseCode::INVALID_PAYLOAD, ProtocolError::InvalidUtf8),
        (
            [&stored(&long), RESERVED_BLOCK].concat(),
            CloseCode::MESSAGE_TOO_BIG,
            ProtocolError::MessageTooBig { message_bytes: 0, message_bytes_max: 0 },
        ),
        // Text that is not UTF-8 within the limit, and more than the limit.
        (stored(&[invalid_text, &long[..]].concat()), CloseCode::INVALID_PAYLOAD, ProtocolError::InvalidUtf8),
        // A deflate error within the limit.
        (
            [&stored(&short), RESERVED_BLOCK, &stored(&long)].concat(),
            CloseCode::INVALID_PAYLOAD,
            ProtocolError::InvalidDeflate,
        ),
    ];
    for (deflated, close_code, kind) in cases {
        let mut config = compressed_config(Role::Server, "");
        config.message_bytes_max = 40;
        let input = compressed(Role::Server, true, &deflated);
        for delivery in [DeliveryMode::Whole, DeliveryMode::Pieces] {
            for piece_len in
                [|_: &mut Random| usize::MAX, |_: &mut Random| 1, |random: &mut Random| 1 + random.below(20)]
            {
                let (_, error) = feed_pieces(config, delivery, &input, piece_len);
                let error = error.expect("the message is refused");
                assert_eq!(error.close_code(), close_code, "{error}");
                // The number of bytes seen can differ.
                assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&kind), "{error}");
            }
        }
    }
}

/// Feeds compressed input to a protocol with this limit. Returns the payload or the error.
fn inflate(input: &[u8], delivery: DeliveryMode, message_bytes_max: u64) -> Result<usize, ProtocolError> {
    let mut config = compressed_config(Role::Server, "");
    config.message_bytes_max = message_bytes_max;
    let mut protocol = Protocol::new(config);
    protocol.set_delivery(delivery);
    let mut input = input.to_vec();
    let mut rest = &mut input[..];
    let mut bytes = 0;
    while !rest.is_empty() {
        let progress = protocol.receive(rest)?;
        bytes += match progress.event {
            Some(Event::Assembled { message, .. }) => message.len(),
            Some(Event::Inflated { bytes, .. }) => bytes.len(),
            _ => 0,
        };
        rest = &mut rest[progress.consumed..];
    }
    Ok(bytes)
}

#[test]
fn the_limit_applies_to_the_payload() {
    let payload = vec![0; 1 << 20];
    let input = compressed(Role::Server, false, &Peer::new(9, 15).deflate(&payload));
    assert!(input.len() < 2000);
    for delivery in [DeliveryMode::Whole, DeliveryMode::Pieces] {
        assert_eq!(inflate(&input, delivery, 1 << 20), Ok(1 << 20));
        for message_bytes_max in [0, 1, 1000, (1 << 20) - 1] {
            let error = inflate(&input, delivery, message_bytes_max).unwrap_err();
            assert!(matches!(error, ProtocolError::MessageTooBig { .. }), "{error}");
            assert_eq!(error.close_code(), CloseCode::MESSAGE_TOO_BIG);
        }
    }
    // Incompressible payload makes a slightly larger message, which is still within the limit.
    let payload = noise(100_000);
    let input = compressed(Role::Server, false, &Peer::new(6, 9).deflate(&payload));
    assert!(input.len() > payload.len());
    assert_eq!(inflate(&input, DeliveryMode::Whole, 100_000), Ok(100_000));
}

#[test]
fn pieces_have_the_other_reserved_bits_of_their_message() {
    let mut config = compressed_config(Role::Server, "");
    config.frames.message_bits = ReservedBits::RSV2;
    let deflated = Peer::new(6, 15).deflate(&prose(300));
    let frame = Frame::binary(&deflated).reserved_bits(ReservedBits::RSV1 | ReservedBits::RSV2);
    let input = encode(Role::Server, frame);
    for delivery in [DeliveryMode::Whole, DeliveryMode::Pieces] {
        let mut protocol = Protocol::new(config);
        protocol.set_delivery(delivery);
        let event = protocol.receive(&mut input.clone()).unwrap().event.unwrap();
        let (Event::Assembled { reserved_bits, .. } | Event::Inflated { reserved_bits, .. }) = event else {
            panic!("{event:?}")
        };
        assert_eq!(reserved_bits, ReservedBits::RSV2, "{delivery:?}");
    }
}

#[test]
fn blocks_without_payload_are_bounded_too() {
    let empty = [0x00, 0x00, 0x00, 0xFF, 0xFF].repeat(2000);
    let input = compressed(Role::Server, false, &empty);
    assert_eq!(inflate(&input, DeliveryMode::Whole, 10_000), Ok(0));
    let error = ProtocolError::MessageTooBig { message_bytes: 10_000, message_bytes_max: 1000 };
    assert_eq!(inflate(&input, DeliveryMode::Whole, 1000), Err(error));
    let claim = header(Role::Server, true, Opcode::Binary, 1 << 40);
    let claim = [&[claim[0] | 0x40][..], &claim[1..]].concat();
    assert!(inflate(&claim, DeliveryMode::Whole, 1 << 30).is_err(), "the claim alone is refused");
}

#[test]
fn a_big_message_lets_other_connections_work() {
    let payload = vec![0; 16 << 20];
    let mut input = compressed(Role::Server, false, &Peer::new(9, 15).deflate(&payload));
    let mut protocol = Protocol::new(compressed_config(Role::Server, ""));
    let mut turns = 0;
    let mut rest = &mut input[..];
    loop {
        let progress = protocol.receive(rest).unwrap();
        rest = &mut rest[progress.consumed..];
        match progress.event {
            Some(Event::Inflating) => turns += 1,
            Some(Event::Assembled { message, .. }) => break assert_eq!(message.as_bytes(), payload),
            event => panic!("{event:?}"),
        }
    }
    assert!(turns >= 15, "{turns} turns for 16 MiB");
}

#[test]
fn an_uncompressed_message_comes_in_pieces_as_large_as_they_arrive() {
    let mut protocol = Protocol::new(compressed_config(Role::Client, ""));
    protocol.set_delivery(DeliveryMode::Pieces);
    let mut input = encode(Role::Client, Frame::binary(&[7; 5000]));
    // The start of a frame can be that of a compressed message, so it is a small piece.
    let progress = protocol.receive(&mut input).unwrap();
    assert!(matches!(progress.event, Some(Event::Piece { first: true, last: false, .. })), "{:?}", progress.event);
    let rest = &mut input[progress.consumed..];
    let progress = protocol.receive(rest).unwrap();
    assert!(matches!(progress.event, Some(Event::Piece { first: false, last: true, .. })), "{:?}", progress.event);
    assert_eq!(progress.consumed, rest.len());
}

#[test]
fn context_is_held_between_messages_only_if_that_was_agreed_on() {
    let peer = |deflated: &[u8]| compressed(Role::Server, false, deflated);
    for (parameters, is_held) in [("", true), ("; client_max_window_bits=9", true), (NO_TAKEOVER, false)] {
        let mut protocol = Protocol::new(compressed_config(Role::Server, parameters));
        assert_eq!(protocol.held_bytes(), 0);
        let mut input = peer(&Peer::new(6, 9).deflate(&prose(300)));
        let (first, last) = input.split_at_mut(20);
        protocol.receive(first).unwrap();
        assert!(protocol.held_bytes() > 0, "a message is open");
        protocol.receive(last).unwrap();
        assert_eq!(protocol.held_bytes() > 0, is_held, "{parameters}");
    }
}

#[test]
fn noise_is_refused_or_read_and_never_a_panic() {
    let mut random = Random::new(5);
    for round in 0..3000 {
        let deflated = match round % 2 {
            0 => noise(1 + round % 70),
            // Correct but for one byte.
            _ => {
                let mut deflated = Peer::new(6, 15).deflate(&prose(1 + round % 900));
                let place = random.below(deflated.len());
                deflated[place] ^= 1 << random.below(8);
                deflated
            }
        };
        let mut config = compressed_config(ROLES[round / 2 % 2], "");
        config.message_bytes_max = 1 << 16;
        let input = [compressed(config.frames.role, round % 3 == 0, &deflated), vec![0x82; 3]].concat();
        for delivery in [DeliveryMode::Whole, DeliveryMode::Pieces] {
            let (seen, error) = feed_pieces(config, delivery, &input, |random| 1 + random.below(60));
            assert!(!seen.is_empty() || error.is_some());
        }
    }
}

#[test]
fn only_peers_can_use_windows_that_zlib_does_not_support() {
    assert!(WindowBits::new(8).is_err() && WindowBits::new(16).is_err());
    // A client with 8 bits looks back 256 bytes, which our window of 512 covers.
    let payload = prose(2000);
    let input = compressed(Role::Server, false, &Peer::new(0, 9).deflate(&payload));
    let outcome = feed(compressed_config(Role::Server, "; client_max_window_bits=8"), &input);
    assert_eq!(outcome, (vec![Seen::Binary(payload)], None));
}
