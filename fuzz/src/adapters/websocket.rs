//! The WebSocket protocol's receiving half: events and errors of an input, and frames as a peer encodes them.

use tidegate_websocket::protocol::{
    DeliveryMode, Event, FrameHeader, MaskingKey, Protocol, ProtocolConfig, Role, apply_mask,
};
use tidegate_websocket::{MessageKind, Opcode, ProtocolError, ReservedBits};

use crate::adapters::negotiation::params;
use crate::cuts::Cut;

/// How the receiver is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// A server, whose peer masks; else a client.
    pub server: bool,
    /// The window of the peer's compressor, and whether it keeps its context, if compression was negotiated.
    pub deflate: Option<(u8, bool)>,
    /// The longest message.
    pub message_bytes_max: u64,
}

/// An event, without the traces of how its bytes arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// The kind of an error, without the numbers that say how much of a message was seen, and its close code.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: String,
    pub close_code: u16,
}

/// The outcome of one input, which must not depend on how the input was cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub seen: Vec<Seen>,
    pub refusal: Option<Refusal>,
    pub ended: bool,
}

/// Receives `input`, cut in this way, with messages whole or in pieces.
pub fn receive(setup: Setup, input: &[u8], cut: Cut, in_pieces: bool) -> Outcome {
    let role = role(setup);
    let mut config = ProtocolConfig::new(role).message_bytes_max(setup.message_bytes_max);
    if let Some((window_bits, takeover)) = setup.deflate {
        config = config.deflate(params(window_bits, takeover));
    }
    let mut protocol = Protocol::new(config);
    protocol.set_delivery(if in_pieces { DeliveryMode::Pieces } else { DeliveryMode::Whole });
    let (mut outcome, mut streamed) = (Outcome::default(), None);
    cut.apply(input, |piece| match feed(&mut protocol, &mut piece.to_vec(), &mut outcome.seen, &mut streamed) {
        Ok(()) => true,
        Err(error) => {
            outcome.refusal = Some(refusal(error));
            assert!(protocol.is_ended(), "an error ends the connection");
            false
        }
    });
    outcome.ended = protocol.is_ended();
    outcome
}

fn refusal(error: ProtocolError) -> Refusal {
    let mut kind = format!("{error:?}");
    if let ProtocolError::MessageTooBig { .. } = error {
        kind.truncate(kind.find(' ').unwrap_or(kind.len()));
    }
    Refusal { kind, close_code: error.close_code().value() }
}

fn feed(
    protocol: &mut Protocol,
    mut piece: &mut [u8],
    seen: &mut Vec<Seen>,
    streamed: &mut Option<Vec<u8>>,
) -> Result<(), ProtocolError> {
    while !piece.is_empty() {
        let progress = protocol.receive(piece)?;
        assert!(progress.consumed <= piece.len());
        assert!(progress.consumed > 0 || progress.event == Some(Event::Inflating), "no progress");
        assert!(progress.event.is_some() || progress.consumed == piece.len(), "no event, but input is left");
        if let Some(event) = progress.event {
            seen.extend(see(event, piece, streamed));
        }
        piece = &mut piece[progress.consumed..];
    }
    Ok(())
}

fn see(event: Event, input: &[u8], streamed: &mut Option<Vec<u8>>) -> Option<Seen> {
    Some(match event {
        Event::Ping(payload) => Seen::Ping(payload.bytes(input).to_vec()),
        Event::Pong(payload) => Seen::Pong(payload.bytes(input).to_vec()),
        Event::Close(frame) => Seen::Close(frame.map(|frame| (frame.code().value(), frame.reason().to_owned()))),
        Event::Piece { kind, range, first, last, .. } => see_piece(kind, &input[range], first, last, streamed)?,
        Event::Inflated { kind, bytes, first, last, .. } => see_piece(kind, &bytes, first, last, streamed)?,
        Event::Inflating => return None,
        event => {
            let message = event.into_message(input).expect("received text is UTF-8").expect("a message");
            see_message(message.kind(), message.as_bytes())
        }
    })
}

fn see_piece(kind: MessageKind, piece: &[u8], first: bool, last: bool, streamed: &mut Option<Vec<u8>>) -> Option<Seen> {
    assert_eq!(first, streamed.is_none(), "`first` marks the first piece");
    assert!(last || !piece.is_empty(), "only the last piece can be empty");
    streamed.get_or_insert_default().extend_from_slice(piece);
    if last { Some(see_message(kind, &streamed.take()?)) } else { None }
}

fn see_message(kind: MessageKind, payload: &[u8]) -> Seen {
    match kind {
        MessageKind::Text => Seen::Text(String::from_utf8(payload.to_vec()).expect("received text is UTF-8")),
        MessageKind::Binary => Seen::Binary(payload.to_vec()),
    }
}

fn role(setup: Setup) -> Role {
    if setup.server { Role::Server } else { Role::Client }
}

/// Appends a frame with this first byte as the peer encodes it, if its opcode exists.
pub fn encode(setup: Setup, first_byte: u8, payload: &[u8], out: &mut Vec<u8>) {
    let Some(opcode) = Opcode::from_bits(first_byte & 0x0f) else { return };
    let bits = [(0x40, ReservedBits::RSV1), (0x20, ReservedBits::RSV2), (0x10, ReservedBits::RSV3)];
    let set = bits.into_iter().filter(|(mask, _)| first_byte & mask != 0);
    let key = MaskingKey::new([first_byte, 0x91, 0x02, 0xf3]);
    let header = FrameHeader {
        fin: first_byte & 0x80 != 0,
        reserved_bits: set.fold(ReservedBits::NONE, |all, (_, bit)| all | bit),
        opcode,
        masking_key: setup.server.then_some(key),
        payload_len: payload.len() as u64,
    };
    out.extend_from_slice(&header.encode());
    let start = out.len();
    out.extend_from_slice(payload);
    if setup.server {
        apply_mask(key, &mut out[start..]);
    }
}
