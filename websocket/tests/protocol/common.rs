//! Shared by the protocol tests: feeds bytes in several ways and records the events.

use tidegate_websocket::{
    CloseFrame, MessageKind, Opcode, ProtocolError, ReservedBits,
    protocol::{
        ControlPayload, DeliveryMode, Event, Frame, FrameDecoder, FrameHeader, MaskingKey, Protocol, ProtocolConfig,
        Role,
    },
};

/// An event with its bytes, independent of how the input was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Reserved(Opcode, Vec<u8>),
    Close(Option<CloseFrame>),
}

/// The outcome of an input: the events, and the error if there was one.
pub type Outcome = (Vec<Seen>, Option<ProtocolError>);

pub fn server() -> ProtocolConfig {
    ProtocolConfig::new(Role::Server)
}

pub fn client() -> ProtocolConfig {
    ProtocolConfig::new(Role::Client)
}

/// Returns the length of the next piece of input.
pub type PieceLen = fn(&mut Random) -> usize;

/// Encodes a frame as the peer of `role` sends it.
pub fn encode(role: Role, frame: Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(peer_key(role), &mut out);
    out
}

/// Returns the masking key of the peer of `role`.
pub fn peer_key(role: Role) -> Option<MaskingKey> {
    (role == Role::Server).then(|| MaskingKey::new([0xA1, 0x02, 0xF3, 0x44]))
}

/// Encodes only the header of a frame of the peer of `role`, with any claim.
pub fn header(role: Role, fin: bool, opcode: Opcode, payload_len: u64) -> Vec<u8> {
    let reserved_bits = ReservedBits::NONE;
    let masking_key = peer_key(role);
    FrameHeader { fin, reserved_bits, opcode, masking_key, payload_len }.encode().to_vec()
}

/// Feeds `input` whole, byte by byte, in random pieces, streamed, and with trailing bytes where they must not change
/// the outcome. All outcomes must agree.
pub fn feed(config: ProtocolConfig, input: &[u8]) -> Outcome {
    let whole = feed_pieces(config, DeliveryMode::Whole, input, |_| usize::MAX);
    let ways: [(&str, DeliveryMode, PieceLen); 4] = [
        ("byte by byte", DeliveryMode::Whole, |_| 1),
        ("whole, streamed", DeliveryMode::Pieces, |_| usize::MAX),
        ("byte by byte, streamed", DeliveryMode::Pieces, |_| 1),
        ("in random pieces, streamed", DeliveryMode::Pieces, |random| 1 + random.below(9)),
    ];
    for (way, delivery, piece_len) in ways {
        let outcome = feed_pieces(config, delivery, input, piece_len);
        assert_eq!(outcome, whole, "{way} against whole");
    }
    let long: PieceLen = |random| 1 + random.below(40);
    assert_eq!(feed_pieces(config, DeliveryMode::Whole, input, long), whole, "in random pieces");
    feed_trailing(config, input, &whole);
    whole
}

/// Bytes after an error or a close must not change what came before, nor must the first byte of another frame.
fn feed_trailing(config: ProtocolConfig, input: &[u8], expected: &Outcome) {
    let ended = expected.1.is_some() || matches!(expected.0.last(), Some(Seen::Close(_)));
    let trailing: &[u8] = match ended {
        true => &[0xFF; 40],
        false if is_between_frames(config, input) => &[0x82],
        false => return,
    };
    let input = [input, trailing].concat();
    let outcome = feed_pieces(config, DeliveryMode::Whole, &input, |_| usize::MAX);
    assert_eq!(outcome, *expected, "with trailing bytes");
}

fn is_between_frames(config: ProtocolConfig, input: &[u8]) -> bool {
    let mut rules = config.frames;
    // The bit of compressed messages; where none were agreed on, the protocol has refused it.
    rules.message_bits = rules.message_bits | ReservedBits::RSV1;
    let mut decoder = FrameDecoder::new(rules);
    let mut input = input.to_vec();
    let mut start = 0;
    while start < input.len() {
        start += decoder.decode(&mut input[start..]).unwrap().consumed;
    }
    decoder.is_between_frames()
}

/// Feeds `input` in pieces of the lengths that `piece_len` gives.
pub fn feed_pieces(config: ProtocolConfig, delivery: DeliveryMode, input: &[u8], piece_len: PieceLen) -> Outcome {
    let mut random = Random::new(input.len() as u64);
    let mut protocol = Protocol::new(config);
    protocol.set_delivery(delivery);
    let mut seen = Vec::new();
    let mut streamed = None;
    let mut input = input.to_vec();
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let len = piece_len(&mut random).min(rest.len());
        let (piece, after) = rest.split_at_mut(len);
        if let Err(error) = feed_piece(&mut protocol, piece, &mut seen, &mut streamed) {
            return (seen, Some(error));
        }
        rest = after;
    }
    (seen, None)
}

fn feed_piece(
    protocol: &mut Protocol,
    mut piece: &mut [u8],
    seen: &mut Vec<Seen>,
    streamed: &mut Option<Vec<u8>>,
) -> Result<(), ProtocolError> {
    while !piece.is_empty() {
        let progress = protocol.receive(piece)?;
        assert!(progress.consumed > 0 || progress.event == Some(Event::Inflating));
        assert!(progress.consumed <= piece.len());
        let is_done = progress.event.is_none();
        if let Some(event) = progress.event {
            seen.extend(see(event, piece, streamed));
        }
        piece = &mut piece[progress.consumed..];
        assert!(!is_done || piece.is_empty(), "input is left without an event");
    }
    Ok(())
}

fn see(event: Event, input: &[u8], streamed: &mut Option<Vec<u8>>) -> Option<Seen> {
    let bytes = |payload: ControlPayload| payload.bytes(input).to_vec();
    Some(match event {
        Event::Ping(payload) => Seen::Ping(bytes(payload)),
        Event::Pong(payload) => Seen::Pong(bytes(payload)),
        Event::ReservedControl { opcode, payload, .. } => Seen::Reserved(opcode, bytes(payload)),
        Event::Close(close) => Seen::Close(close),
        Event::Piece { kind, range, first, last, .. } => see_piece(kind, &input[range], first, last, streamed)?,
        Event::Inflated { kind, bytes, first, last, .. } => see_piece(kind, &bytes, first, last, streamed)?,
        Event::Inflating => return None,
        event => {
            let message = event.into_message(input).unwrap().unwrap();
            see_message(message.kind(), message.as_bytes())
        }
    })
}

fn see_piece(kind: MessageKind, piece: &[u8], first: bool, last: bool, streamed: &mut Option<Vec<u8>>) -> Option<Seen> {
    assert_eq!(first, streamed.is_none(), "only the first piece begins the message");
    assert!(last || !piece.is_empty(), "only the last piece can be empty");
    streamed.get_or_insert_default().extend_from_slice(piece);
    if last { Some(see_message(kind, &streamed.take()?)) } else { None }
}

fn see_message(kind: MessageKind, payload: &[u8]) -> Seen {
    match kind {
        MessageKind::Text => Seen::Text(String::from_utf8(payload.to_vec()).unwrap()),
        MessageKind::Binary => Seen::Binary(payload.to_vec()),
    }
}

/// A small random generator (SplitMix64), which makes every run the same.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
