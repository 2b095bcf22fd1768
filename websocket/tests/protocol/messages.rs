//! Valid messages and control frames arrive, however the bytes are cut.

use crate::common::{Random, Seen, client, encode, feed, feed_pieces, header, peer_key, server};
use tidegate_websocket::{
    CloseCode, CloseFrame, MessageKind, Opcode, ProtocolError, ReservedBits,
    protocol::{DeliveryMode, Event, Frame, MaskingKey, MessageEncoder, Protocol, Role, encode_close},
};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

fn config(role: Role) -> tidegate_websocket::protocol::ProtocolConfig {
    match role {
        Role::Server => server(),
        Role::Client => client(),
    }
}

#[test]
fn messages_of_every_length_class_arrive_in_both_roles() {
    for role in ROLES {
        for len in [0, 1, 2, 63, 64, 125, 126, 127, 300, 0xFFFF, 0x1_0000, 70_001] {
            let payload: Vec<u8> = (0..len).map(|index: usize| (index * 7) as u8).collect();
            let input = encode(role, Frame::binary(&payload));
            assert_eq!(feed(config(role), &input), (vec![Seen::Binary(payload)], None));
            let text: String = "añ€𝄞".chars().cycle().take(len).collect();
            let input = encode(role, Frame::text(&text));
            assert_eq!(feed(config(role), &input), (vec![Seen::Text(text)], None));
        }
    }
}

#[test]
fn control_frames_between_fragments_do_not_disturb_the_message() {
    for role in ROLES {
        let input = [
            encode(role, Frame::text("Grü").not_final()),
            encode(role, Frame::ping(b"are you there").unwrap()),
            encode(role, Frame::continuation(b"").not_final()),
            encode(role, Frame::pong(&[7; 125]).unwrap()),
            encode(role, Frame::continuation(b"\xC3").not_final()),
            encode(role, Frame::ping(b"").unwrap()),
            encode(role, Frame::continuation(b"\x9Fe")),
            encode(role, Frame::binary(b"next")),
        ]
        .concat();
        let expected = vec![
            Seen::Ping(b"are you there".to_vec()),
            Seen::Pong(vec![7; 125]),
            Seen::Ping(Vec::new()),
            Seen::Text("Grüße".into()),
            Seen::Binary(b"next".to_vec()),
        ];
        assert_eq!(feed(config(role), &input), (expected, None));
    }
}

#[test]
fn a_close_frame_with_or_without_code_ends_receiving() {
    for role in ROLES {
        let coded = CloseFrame::new(CloseCode::new(4321), "gezeitenwende €").unwrap();
        for close in [None, Some(coded)] {
            let mut input = encode(role, Frame::text("last").not_final());
            encode_close(close.as_ref(), peer_key(role), &mut input);
            input.extend(encode(role, Frame::continuation(b"ignored")));
            assert_eq!(feed(config(role), &input), (vec![Seen::Close(close)], None));
        }
    }
}

#[test]
fn empty_fragments_make_an_empty_message() {
    let input = [
        encode(Role::Client, Frame::text("").not_final()),
        encode(Role::Client, Frame::continuation(b"").not_final()),
        encode(Role::Client, Frame::continuation(b"")),
    ]
    .concat();
    assert_eq!(feed(client(), &input), (vec![Seen::Text(String::new())], None));
}

#[test]
fn a_message_can_have_very_many_fragments() {
    for payload in [&b"x"[..], b""] {
        let mut input = Vec::new();
        let mut encoder = MessageEncoder::new(MessageKind::Text);
        for _ in 0..65_536 {
            encoder.write(payload, None, &mut input);
        }
        encoder.finish(b"", None, &mut input);
        let text = "x".repeat(payload.len() * 65_536);
        for delivery in [DeliveryMode::Whole, DeliveryMode::Pieces] {
            let outcome = feed_pieces(client(), delivery, &input, |_| 4096);
            assert_eq!(outcome, (vec![Seen::Text(text.clone())], None));
        }
    }
}

#[test]
fn a_whole_message_is_reported_in_place_even_after_its_header_arrived_alone() {
    let mut input = encode(Role::Server, Frame::text("where it is"));
    let mut protocol = Protocol::new(server());
    let (head, payload) = input.split_at_mut(6);
    assert_eq!(protocol.receive(head).unwrap().event, None);
    let progress = protocol.receive(payload).unwrap();
    let reserved_bits = ReservedBits::NONE;
    let expected = Event::InPlace { kind: MessageKind::Text, reserved_bits, range: 0..11 };
    assert_eq!((progress.consumed, progress.event), (11, Some(expected)));
    assert_eq!(payload, b"where it is");
    assert_eq!(protocol.held_bytes(), 0);
}

#[test]
fn a_header_alone_is_not_yet_a_message() {
    for payload in [&b"x"[..], b"xy"] {
        let mut input = encode(Role::Client, Frame::binary(payload));
        let mut protocol = Protocol::new(client());
        let (head, payload) = input.split_at_mut(2);
        assert_eq!(protocol.receive(head).unwrap().event, None);
        assert!(matches!(protocol.receive(payload).unwrap().event, Some(Event::InPlace { .. })));
    }
}

#[test]
fn a_whole_message_is_one_piece_where_pieces_were_asked_for() {
    let mut protocol = Protocol::new(server());
    protocol.set_delivery(DeliveryMode::Pieces);
    let mut input = encode(Role::Server, Frame::text("whole"));
    let progress = protocol.receive(&mut input).unwrap();
    assert_eq!(progress.consumed, input.len());
    let Some(Event::Piece { first: true, last: true, range, .. }) = progress.event else {
        panic!("{:?}", progress.event)
    };
    assert_eq!(&input[range], b"whole");
}

#[test]
fn several_messages_in_one_chunk_have_their_own_ranges() {
    let mut input = [
        encode(Role::Server, Frame::text("one")),
        encode(Role::Server, Frame::binary(b"two")),
        encode(Role::Server, Frame::ping(b"three").unwrap()),
    ]
    .concat();
    let mut protocol = Protocol::new(server());
    let mut start = 0;
    let mut payloads = Vec::new();
    while start < input.len() {
        let progress = protocol.receive(&mut input[start..]).unwrap();
        let chunk = &input[start..];
        payloads.push(match progress.event {
            Some(Event::InPlace { range, .. }) => chunk[range].to_vec(),
            Some(Event::Ping(payload)) => payload.bytes(chunk).to_vec(),
            other => panic!("{other:?}"),
        });
        start += progress.consumed;
    }
    assert_eq!(payloads, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn delivery_takes_effect_when_a_message_begins() {
    let mut protocol = Protocol::new(client());
    let mut begin = encode(Role::Client, Frame::binary(b"ab").not_final());
    assert_eq!(protocol.receive(&mut begin).unwrap().event, None);
    protocol.set_delivery(DeliveryMode::Pieces);
    let mut end = encode(Role::Client, Frame::continuation(b"cd"));
    let event = protocol.receive(&mut end).unwrap().event.unwrap();
    let message = event.into_message(&end).unwrap().unwrap();
    assert_eq!(message.as_bytes(), b"abcd");
    let mut next = encode(Role::Client, Frame::binary(b"ef").not_final());
    let event = protocol.receive(&mut next).unwrap().event.unwrap();
    let Event::Piece { first: true, last: false, range, .. } = event else { panic!("{event:?}") };
    assert_eq!(&next[range], b"ef");
}

#[test]
fn reserved_bits_and_opcodes_arrive_where_they_are_allowed() {
    let mut config = server();
    config.frames.message_bits = ReservedBits::RSV1;
    config.frames.frame_bits = ReservedBits::RSV2;
    config.frames.reserved_control = true;
    let both = ReservedBits::RSV1 | ReservedBits::RSV2;
    let mut input = [
        encode(Role::Server, Frame::control(Opcode::ControlB, b"custom").unwrap()),
        encode(Role::Server, Frame::binary(b"a").reserved_bits(both)),
    ]
    .concat();
    let expected = [Seen::Reserved(Opcode::ControlB, b"custom".to_vec()), Seen::Binary(b"a".to_vec())];
    assert_eq!(feed(config, &input), (expected.to_vec(), None));

    let mut protocol = Protocol::new(config);
    let consumed = protocol.receive(&mut input).unwrap().consumed;
    let event = protocol.receive(&mut input[consumed..]).unwrap().event;
    assert!(matches!(event, Some(Event::InPlace { reserved_bits, .. }) if reserved_bits == both));
}

#[test]
fn the_first_piece_has_the_reserved_bits_of_a_first_frame_without_payload() {
    let mut config = server();
    config.frames.message_bits = ReservedBits::RSV2;
    let mut protocol = Protocol::new(config);
    protocol.set_delivery(DeliveryMode::Pieces);
    let mut begin = encode(Role::Server, Frame::binary(b"").reserved_bits(ReservedBits::RSV2).not_final());
    assert_eq!(protocol.receive(&mut begin).unwrap().event, None);
    for (frame, expected) in [
        (Frame::continuation(b"first").not_final(), (true, ReservedBits::RSV2)),
        (Frame::continuation(b"last"), (false, ReservedBits::NONE)),
    ] {
        let event = protocol.receive(&mut encode(Role::Server, frame)).unwrap().event.unwrap();
        let Event::Piece { first, reserved_bits, .. } = event else { panic!("{event:?}") };
        assert_eq!((first, reserved_bits), expected);
    }
}

#[test]
fn the_limit_can_change_between_frames() {
    let mut protocol = Protocol::new(client());
    let mut input = encode(Role::Client, Frame::binary(&[0; 10]));
    assert!(protocol.receive(&mut input).unwrap().event.is_some());
    protocol.set_message_bytes_max(9);
    assert_eq!(protocol.message_bytes_max(), 9);
    let mut input = encode(Role::Client, Frame::binary(&[0; 10]));
    let error = ProtocolError::MessageTooBig { message_bytes: 10, message_bytes_max: 9 };
    assert_eq!(protocol.receive(&mut input), Err(error));
    assert!(protocol.is_ended());
}

#[test]
fn nothing_is_held_between_messages_and_little_within_them() {
    let mut protocol = Protocol::new(server());
    let mut input = encode(Role::Server, Frame::binary(&[9; 1000]));
    let (begin, end) = input.split_at_mut(508);
    protocol.receive(begin).unwrap();
    assert!((500..=1000).contains(&protocol.held_bytes()));
    assert!(protocol.receive(end).unwrap().event.is_some());
    assert_eq!(protocol.held_bytes(), 0);

    let mut ping = encode(Role::Server, Frame::ping(b"0123456789").unwrap());
    let (begin, end) = ping.split_at_mut(9);
    protocol.receive(begin).unwrap();
    assert!(protocol.held_bytes() > 0);
    protocol.receive(end).unwrap();
    assert_eq!(protocol.held_bytes(), 0);

    let mut huge = header(Role::Server, true, Opcode::Binary, 1 << 20);
    protocol.receive(&mut huge).unwrap();
    assert_eq!(protocol.held_bytes(), 0);
}

/// One role encodes random messages in random fragments with random control frames between; the other role reads them.
#[test]
fn random_conversations_arrive() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let role = ROLES[random.below(2)];
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..random.below(6) {
            random_message(&mut random, role, &mut input, &mut expected);
        }
        assert_eq!(feed(config(role), &input), (expected, None), "seed {seed}");
    }
}

fn random_message(random: &mut Random, role: Role, input: &mut Vec<u8>, expected: &mut Vec<Seen>) {
    let text: String = (0..random.below(400)).map(|_| ['a', 'ß', '€', '𝄞'][random.below(4)]).collect();
    let is_text = random.below(2) == 0;
    let kind = if is_text { MessageKind::Text } else { MessageKind::Binary };
    let mut encoder = MessageEncoder::new(kind);
    let mut rest = text.as_bytes();
    while random.below(3) != 0 {
        let (piece, after) = rest.split_at(random.below(rest.len() + 1));
        encoder.write(piece, random_key(random, role), input);
        rest = after;
        if random.below(3) == 0 {
            let payload = vec![b'p'; random.below(126)];
            let ping = Frame::ping(&payload).unwrap();
            ping.encode(random_key(random, role), input);
            expected.push(Seen::Ping(payload));
        }
    }
    encoder.finish(rest, random_key(random, role), input);
    expected.push(match kind {
        MessageKind::Text => Seen::Text(text),
        MessageKind::Binary => Seen::Binary(text.into_bytes()),
    });
}

fn random_key(random: &mut Random, role: Role) -> Option<MaskingKey> {
    (role == Role::Server).then(|| MaskingKey::new((random.next() as u32).to_le_bytes()))
}
