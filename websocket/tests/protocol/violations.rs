//! Every violation by a peer is detected, however the bytes are cut, and noise does no harm.

use crate::common::{Random, Seen, client, encode, feed, feed_pieces, header, server};
use tidegate_websocket::{
    Opcode, ProtocolError, ReservedBits,
    protocol::{DeliveryMode, Frame, FrameDecoder, FrameRules, Protocol, ProtocolConfig, Role},
};

/// Asserts that `input` is refused with `error` after `seen`, and not before its last byte.
fn assert_refused(config: ProtocolConfig, input: &[u8], seen: &[Seen], error: ProtocolError) {
    assert_eq!(feed(config, input), (seen.to_vec(), Some(error)), "{input:x?}");
    let (_, early) = feed(config, &input[..input.len() - 1]);
    assert_eq!(early, None, "{input:x?} is refused too early");
}

#[test]
fn frames_must_be_masked_by_clients_and_not_by_servers() {
    assert_refused(server(), &[0x81, 0x05], &[], ProtocolError::UnmaskedFrame);
    assert_refused(server(), &[0x89, 0x00], &[], ProtocolError::UnmaskedFrame);
    assert_refused(client(), &[0x81, 0x85], &[], ProtocolError::MaskedFrame);
    assert_refused(client(), &[0x8A, 0x80], &[], ProtocolError::MaskedFrame);
}

#[test]
fn reserved_bits_are_refused_in_every_frame() {
    let bits = [ReservedBits::RSV1, ReservedBits::RSV2, ReservedBits::RSV3];
    for (bits, mask) in bits.into_iter().zip([0x40, 0x20, 0x10]) {
        for opcode in [0x80, 0x81, 0x82, 0x88, 0x89, 0x8A] {
            assert_refused(server(), &[opcode | mask], &[], ProtocolError::ReservedBits { bits });
        }
    }
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        let error = ProtocolError::ReservedOpcode { opcode };
        assert_refused(client(), &[0x80 | opcode], &[], error);
        let mut input = encode(Role::Client, Frame::text("fine"));
        input.push(opcode);
        assert_refused(client(), &input, &[Seen::Text("fine".into())], error);
    }
}

#[test]
fn control_frames_are_short_and_whole() {
    for (byte, opcode) in [(0x08, Opcode::Close), (0x09, Opcode::Ping), (0x0A, Opcode::Pong)] {
        assert_refused(server(), &[byte], &[], ProtocolError::FragmentedControl { opcode });
        let error = ProtocolError::ControlTooLong { opcode };
        assert_refused(server(), &[0x80 | byte, 0x80 | 126], &[], error);
        assert_refused(client(), &[0x80 | byte, 127], &[], error);
    }
}

#[test]
fn lengths_are_minimal_and_below_two_to_the_sixty_third() {
    let error = ProtocolError::NonMinimalLength { payload_len: 5 };
    assert_refused(client(), &[0x82, 126, 0, 5], &[], error);
    assert_refused(client(), &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5], &[], error);
    assert_refused(client(), &[0x82, 127, 0x80], &[], ProtocolError::LengthOutOfRange);
}

#[test]
fn fragments_come_in_order() {
    let continuation = header(Role::Server, true, Opcode::Continuation, 0);
    assert_refused(server(), &continuation, &[], ProtocolError::UnexpectedContinuation);
    let input = [encode(Role::Server, Frame::text("whole")), continuation.clone()].concat();
    let seen = [Seen::Text("whole".into())];
    assert_refused(server(), &input, &seen, ProtocolError::UnexpectedContinuation);
    for opcode in [Opcode::Text, Opcode::Binary] {
        let begun = encode(Role::Server, Frame::text("begun").not_final());
        let input = [begun, header(Role::Server, true, opcode, 0)].concat();
        assert_refused(server(), &input, &[], ProtocolError::ExpectedContinuation);
    }
}

#[test]
fn close_payloads_are_checked() {
    for (payload, error) in [
        (&b"\x03"[..], ProtocolError::TruncatedCloseCode),
        (b"\x03\xec", ProtocolError::InvalidCloseCode { code: 1004 }),
        (b"\x03\xed", ProtocolError::InvalidCloseCode { code: 1005 }),
        (b"\x03\xee", ProtocolError::InvalidCloseCode { code: 1006 }),
        (b"\x03\xf7", ProtocolError::InvalidCloseCode { code: 1015 }),
        (b"\x0b\xb7", ProtocolError::InvalidCloseCode { code: 2999 }),
        (b"\x00\x00", ProtocolError::InvalidCloseCode { code: 0 }),
        (b"\x03\xe8bad \xff", ProtocolError::InvalidCloseReason),
        (b"\x03\xe8cut \xe2\x82", ProtocolError::InvalidCloseReason),
    ] {
        for (config, role) in [(server(), Role::Server), (client(), Role::Client)] {
            let input = encode(role, Frame::control(Opcode::Close, payload).unwrap());
            assert_refused(config, &input, &[], error);
        }
    }
}

#[test]
fn bad_text_is_refused_at_its_first_impossible_byte() {
    // The frame is far from complete when the byte arrives (Autobahn's case 6.4).
    for (prefix, needed) in [
        (&b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90"[..], 13),
        (b"plain\xc0", 6),
        (b"surrogate \xed\xa0", 12),
    ] {
        assert_eq!(prefix.len(), needed);
        for role in [Role::Server, Role::Client] {
            let long = [prefix, &[b'x'; 50]].concat();
            let text_claimed = encode(role, Frame::control(Opcode::Ping, &long).unwrap());
            let mut input = text_claimed;
            input[0] = 0x81;
            input.truncate(input.len() - 50);
            let config = ProtocolConfig::new(role);
            for delivery in [DeliveryMode::Whole, DeliveryMode::Pieces] {
                let refused = feed_pieces(config, delivery, &input, |_| 1);
                assert_eq!(refused, (vec![], Some(ProtocolError::InvalidUtf8)));
                let waiting = feed_pieces(config, delivery, &input[..input.len() - 1], |_| 1);
                assert_eq!(waiting, (vec![], None));
            }
        }
    }
}

#[test]
fn a_message_is_checked_as_utf8_if_it_is_text() {
    for payload in [&b"\xff"[..], b"in the middle \xc0\x80 of it", b"cut \xe2\x82"] {
        for role in [Role::Server, Role::Client] {
            let binary = encode(role, Frame::binary(payload));
            assert_eq!(feed(ProtocolConfig::new(role), &binary), (vec![Seen::Binary(payload.to_vec())], None));
            let mut text = binary;
            text[0] = 0x81;
            assert_eq!(feed(ProtocolConfig::new(role), &text), (vec![], Some(ProtocolError::InvalidUtf8)));
        }
    }
}

#[test]
fn text_that_stops_inside_a_character_is_refused_at_its_end() {
    let input = [
        encode(Role::Server, Frame::text("cut").not_final()),
        encode(Role::Server, Frame::continuation(b"\xe2\x82").not_final()),
        encode(Role::Server, Frame::continuation(b"")),
    ]
    .concat();
    assert_refused(server(), &input, &[], ProtocolError::InvalidUtf8);
}

#[test]
fn the_message_limit_holds_across_fragments_and_from_the_header_on() {
    let mut config = client();
    config.message_bytes_max = 100;
    let fits = encode(Role::Client, Frame::binary(&[1; 100]));
    assert_eq!(feed(config, &fits), (vec![Seen::Binary(vec![1; 100])], None));
    let error = |message_bytes| ProtocolError::MessageTooBig { message_bytes, message_bytes_max: 100 };
    let one_more = header(Role::Client, true, Opcode::Binary, 101);
    assert_refused(config, &one_more, &[], error(101));
    for begun in [Frame::binary(&[1; 60]), Frame::text(&"x".repeat(60))] {
        let begun = encode(Role::Client, begun.not_final());
        let input = [begun, header(Role::Client, false, Opcode::Continuation, 41)].concat();
        assert_refused(config, &input, &[], error(101));
    }
    let most = (1 << 63) - 1;
    assert_refused(config, &header(Role::Client, true, Opcode::Binary, most), &[], error(most));
    config.message_bytes_max = 0;
    let empty = encode(Role::Client, Frame::text(""));
    assert_eq!(feed(config, &empty), (vec![Seen::Text(String::new())], None));
}

#[test]
fn claims_that_overflow_are_too_big() {
    let mut config = client();
    config.message_bytes_max = u64::MAX;
    let mut protocol = Protocol::new(config);
    let most = (1 << 63) - 1;
    let mut input = header(Role::Client, true, Opcode::Binary, most);
    assert_eq!(protocol.receive(&mut input).unwrap().event, None, "no limit, so no error");
    assert_eq!(protocol.held_bytes(), 0);
}

#[test]
fn after_an_error_everything_is_ignored() {
    let mut protocol = Protocol::new(server());
    assert_eq!(protocol.receive(&mut [0x81, 0x01]), Err(ProtocolError::UnmaskedFrame));
    let mut input = encode(Role::Server, Frame::text("late"));
    let progress = protocol.receive(&mut input).unwrap();
    assert_eq!((progress.consumed, progress.event), (input.len(), None));
}

/// Noise and frames with a changed byte: no panic, always progress, and every way of feeding agrees.
#[test]
fn noise_is_survived() {
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let (mut config, role) = match random.below(2) {
            0 => (server(), Role::Server),
            _ => (client(), Role::Client),
        };
        config.frames.reserved_control = random.below(2) == 0;
        config.message_bytes_max = 300;
        let input = if random.below(3) == 0 {
            (0..random.below(200)).map(|_| random.next() as u8).collect()
        } else {
            changed_frames(&mut random, role)
        };
        // Invalid text fails as early as the bytes allow, so the events must agree, not their time.
        feed(config, &input);
        decode_frames(config.frames, &input);
    }
}

fn changed_frames(random: &mut Random, role: Role) -> Vec<u8> {
    let mut input = [
        encode(role, Frame::text("Grüße").not_final()),
        encode(role, Frame::ping(b"ping").unwrap()),
        encode(role, Frame::continuation("€".as_bytes())),
        encode(role, Frame::binary(&[3; 200])),
        encode(role, Frame::control(Opcode::Close, b"\x03\xe8bye").unwrap()),
    ]
    .concat();
    for _ in 0..random.below(3) {
        let index = random.below(input.len());
        input[index] ^= 1 << random.below(8);
    }
    input
}

fn decode_frames(rules: FrameRules, input: &[u8]) {
    let mut decoder = FrameDecoder::new(rules);
    let mut input = input.to_vec();
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let Ok(decoded) = decoder.decode(rest) else {
            return;
        };
        assert!(decoded.consumed > 0 && decoded.consumed <= rest.len());
        if let Some(piece) = &decoded.piece {
            assert!(piece.range.end == decoded.consumed && piece.range.start <= piece.range.end);
        }
        rest = &mut rest[decoded.consumed..];
    }
}
