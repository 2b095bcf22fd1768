//! Receiving, for both roles: the peer's bytes in, [`Event`]s out (RFC 6455 sections 5.4, 5.5 and 6.2).
//!
//! Two layers. [`FrameDecoder`] finds frames and unmasks their payload in place, piece by piece; this file knows which
//! frame may follow which, holds the message limit and decides what becomes of a piece: a message that lies whole in
//! the input is reported where it is, others are gathered by an assembler or handed out as pieces.
//!
//! ```text
//!              text, binary (no FIN)                  continuation (no FIN)
//!   Between ───────────────────────────▶ Assembling ──────┐
//!     ▲  │ text, binary (FIN):             Streaming ◀────┘
//!     └──┘ a whole message                     │
//!     ▲            continuation (FIN)          │
//!     └────────────────────────────────────────┘     control frames may come in any state and change none;
//!                                                    close, or a broken rule, ends all: the rest is ignored
//! ```
//!
//! What is compressed (RFC 7692) goes through `inflate` and comes out as if it had come in pieces.
//!
//! Called by the connection's owner for every chunk received. It sends nothing, knows no time and keeps no input: when
//! [`Protocol::receive`] reports no event, it has consumed everything. Invariants: no heap while no message or control
//! frame is cut; every byte is unmasked, checked and copied at most once; memory follows arrival.

mod assembler;
mod cold_input;
#[cfg(feature = "compression")]
mod compression;
mod control;
pub(crate) mod event;
mod inflate;
mod settings;
mod short_frame;

use std::mem;
use std::ops::Range;

use crate::deflate::DeflateParams;
use crate::frame::mask::apply_mask;
use crate::frame::{FrameDecoder, FrameHeader, FrameRules, Piece};
use crate::limits::MESSAGE_BYTES_MAX_DEFAULT;
use crate::message::MessageKind;
use crate::opcode::{Opcode, ReservedBits};
use crate::protocol::assembler::Assembler;
use crate::protocol::event::{Event, Progress};
use crate::protocol_error::ProtocolError;
use crate::role::Role;
use crate::utf8::{Utf8Validator, check_utf8};
use cold_input::ColdInput;
use inflate::inflater;
pub(crate) use short_frame::ShortFrame;

/// How the peer's frames and messages are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtocolConfig {
    /// Our role and the reserved bits and opcodes that are allowed.
    pub frames: FrameRules,
    /// Bytes of payload a message may have over all of its frames; default 64 MiB
    /// ([`MESSAGE_BYTES_MAX_DEFAULT`]). More is answered with 1009.
    pub message_bytes_max: u64,
    /// What the opening handshake agreed on about compression.
    pub(crate) deflate: Option<DeflateParams>,
}

impl ProtocolConfig {
    /// RFC 6455 without extensions, for `role`.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        let message_bytes_max = MESSAGE_BYTES_MAX_DEFAULT as u64;
        Self { frames: FrameRules::new(role), message_bytes_max, deflate: None }
    }
}

/// In what form messages are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Whole: [`Event::InPlace`] or [`Event::Assembled`].
    #[default]
    Whole,
    /// As they arrive, without gathering them: [`Event::Piece`].
    Pieces,
}

/// The receiving half of a WebSocket connection.
///
/// ```
/// use tidegate_websocket::{Event, Protocol, ProtocolConfig, Role};
/// let mut protocol = Protocol::new(ProtocolConfig::new(Role::Server));
/// let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; // from RFC 6455 section 5.7
/// let progress = protocol.receive(&mut input)?;
/// assert_eq!(progress.consumed, input.len());
/// let Some(Event::InPlace { range, .. }) = progress.event else { panic!() };
/// assert_eq!(&input[range], b"Hello");
/// # Ok::<(), tidegate_websocket::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Protocol {
    frames: FrameDecoder,
    incoming: Incoming,
    delivery: Delivery,
    message_bytes_max: u64,
    /// What few connections need: on the heap, because idle connections are many.
    cold: Option<Box<ColdInput>>,
}

// One of these exists for each of very many idle connections.
const _: () = assert!(mem::size_of::<Protocol>() <= 96);

/// The data side of the diagram above.
#[derive(Debug)]
enum Incoming {
    /// No message is open.
    Between,
    /// A message is being gathered.
    Assembling { assembler: Assembler, reserved_bits: ReservedBits },
    /// A message is handed out in pieces; `begun` once the first one was. `frames_bytes` is the payload of its frames,
    /// counting all that the last header claims; the reserved bits are those of the first.
    Streaming {
        kind: MessageKind,
        validator: Utf8Validator,
        begun: bool,
        frames_bytes: u64,
        reserved_bits: ReservedBits,
    },
    /// The peer closed or broke a rule: whatever comes is ignored.
    Ended,
}

impl Protocol {
    /// The state after the opening handshake. Allocates nothing, or little if the peer may compress.
    #[must_use]
    pub fn new(config: ProtocolConfig) -> Self {
        let mut frames = config.frames;
        let cold = config.deflate.map(|params| {
            frames.message_bits = frames.message_bits | ReservedBits::RSV1;
            Box::new(ColdInput::inflating(params, frames.role))
        });
        Self {
            frames: FrameDecoder::new(frames),
            incoming: Incoming::Between,
            delivery: Delivery::Whole,
            message_bytes_max: config.message_bytes_max,
            cold,
        }
    }

    /// Takes the peer's bytes up to the next event, unmasking payload in place. Call again with what is left of the
    /// input until no event comes. After [`Event::Close`] and after an error all input is consumed in silence
    /// (RFC 6455 sections 1.4 and 7.1.7).
    ///
    /// # Errors
    /// [`ProtocolError`] when the peer broke a rule, as soon as that is certain.
    #[inline]
    pub fn receive(&mut self, input: &mut [u8]) -> Result<Progress, ProtocolError> {
        let received = match self.receive_whole(input) {
            Ok(None) => self.receive_pieces(input),
            Ok(Some(progress)) => Ok(progress),
            Err(error) => Err(error),
        };
        if received.is_err() {
            self.end();
        }
        received
    }

    /// Was the peer's close frame received, or a rule broken?
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.incoming, Incoming::Ended)
    }

    /// Bytes of heap held: for a message or a control frame that has not fully arrived, and for the context of
    /// compressed messages if that is kept between them.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let message = match &self.incoming {
            Incoming::Assembling { assembler, .. } => assembler.capacity(),
            Incoming::Between | Incoming::Streaming { .. } | Incoming::Ended => 0,
        };
        message + self.cold.as_ref().map_or(0, |cold| cold.held_bytes())
    }

    /// The common case, a shortcut that changes no state: the input begins with a frame that is a whole message.
    /// `None` when it does not; then nothing was touched.
    #[inline]
    fn receive_whole(&self, input: &mut [u8]) -> Result<Option<Progress>, ProtocolError> {
        let is_between = matches!(self.incoming, Incoming::Between) && self.frames.is_between_frames();
        if !is_between || self.delivery != Delivery::Whole {
            return Ok(None);
        }
        let Some((header, header_len)) = FrameHeader::parse(input, self.frames.rules())? else {
            return Ok(None);
        };
        let Some(kind) = begun_kind(header.opcode) else {
            return Ok(None);
        };
        let available = input.len() - header_len;
        if self.is_compressed(header.reserved_bits) {
            return Ok(None);
        }
        if !header.fin || header.payload_len > available as u64 {
            return Ok(None);
        }
        self.check_message_bytes(header.payload_len)?;
        let range = header_len..header_len + header.payload_len as usize;
        if let Some(key) = header.masking_key {
            apply_mask(key, &mut input[range.clone()]);
        }
        let consumed = range.end;
        let event = message_in_place(kind, header.reserved_bits, input, range)?;
        Ok(Some(Progress { consumed, event: Some(event) }))
    }

    /// Everything else, piece by piece.
    fn receive_pieces(&mut self, input: &mut [u8]) -> Result<Progress, ProtocolError> {
        let mut consumed = 0;
        while consumed < input.len() && !self.is_ended() {
            if self.take_slice() {
                return Ok(Progress { consumed, event: Some(Event::Inflating) });
            }
            let event = self.step(input, &mut consumed)?;
            if event.is_some() {
                return Ok(Progress { consumed, event });
            }
        }
        Ok(Progress { consumed: input.len(), event: None })
    }

    /// Decodes one piece and decides what becomes of it.
    #[inline]
    fn step(&mut self, input: &mut [u8], consumed: &mut usize) -> Result<Option<Event>, ProtocolError> {
        let start = *consumed;
        let end = input.len().min(start.saturating_add(self.input_bytes_max()));
        let decoded = self.frames.decode(&mut input[start..end])?;
        *consumed += decoded.consumed;
        let Some(piece) = decoded.piece else {
            return Ok(None);
        };
        let range = start + piece.range.start..start + piece.range.end;
        if piece.header.opcode.is_control() {
            return self.control_piece(&piece, input, range);
        }
        if piece.first {
            self.begin_data_frame(&piece.header)?;
        }
        self.data_piece(&piece, input, range)
    }

    /// Checks the header of a data frame against the open message and the limit, and opens a message if it must.
    #[inline]
    fn begin_data_frame(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        let kind = begun_kind(header.opcode);
        match (&self.incoming, kind) {
            (Incoming::Between, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Incoming::Between, Some(kind)) => self.begin_message(kind, header.reserved_bits),
            (_, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (_, None) => {}
        }
        if let Some(inflater) = inflater(&mut self.cold) {
            return inflater.begin_frame(header.payload_len, self.message_bytes_max);
        }
        let message_bytes = match &mut self.incoming {
            // Every earlier frame is complete, so what is kept is all they claimed.
            Incoming::Assembling { assembler, .. } => header.payload_len.saturating_add(assembler.len() as u64),
            Incoming::Streaming { frames_bytes, .. } => {
                *frames_bytes = frames_bytes.saturating_add(header.payload_len);
                *frames_bytes
            }
            Incoming::Between | Incoming::Ended => 0,
        };
        self.check_message_bytes(message_bytes)
    }

    #[inline]
    fn check_message_bytes(&self, message_bytes: u64) -> Result<(), ProtocolError> {
        let message_bytes_max = self.message_bytes_max;
        if message_bytes > message_bytes_max {
            return Err(ProtocolError::MessageTooBig { message_bytes, message_bytes_max });
        }
        Ok(())
    }

    #[inline]
    fn begin_message(&mut self, kind: MessageKind, mut reserved_bits: ReservedBits) {
        if self.is_compressed(reserved_bits) {
            self.begin_inflating();
            reserved_bits = reserved_bits.without(ReservedBits::RSV1);
        }
        self.incoming = match self.delivery {
            Delivery::Whole => Incoming::Assembling { assembler: Assembler::new(kind), reserved_bits },
            Delivery::Pieces => {
                let validator = Utf8Validator::new();
                Incoming::Streaming { kind, validator, begun: false, frames_bytes: 0, reserved_bits }
            }
        };
    }

    /// A piece of the open message.
    #[inline]
    fn data_piece(&mut self, piece: &Piece, input: &[u8], range: Range<usize>) -> Result<Option<Event>, ProtocolError> {
        let last = piece.header.fin && piece.remaining_bytes == 0;
        if inflater(&mut self.cold).is_some() {
            return self.inflate_piece(&input[range], last);
        }
        match &mut self.incoming {
            Incoming::Assembling { assembler, reserved_bits } => {
                if last && assembler.len() == 0 {
                    let (kind, reserved_bits) = (assembler.kind(), *reserved_bits);
                    self.incoming = Incoming::Between;
                    return message_in_place(kind, reserved_bits, input, range).map(Some);
                }
                let expected_bytes = piece.header.fin.then_some(piece.remaining_bytes);
                assembler.push(&input[range], expected_bytes)?;
                if last { self.finish_assembling() } else { Ok(None) }
            }
            Incoming::Streaming { kind, validator, begun, .. } => {
                let kind = *kind;
                if kind == MessageKind::Text {
                    validator.push(&input[range.clone()]).map_err(|_| ProtocolError::InvalidUtf8)?;
                    if last && !validator.is_complete() {
                        return Err(ProtocolError::InvalidUtf8);
                    }
                }
                if range.is_empty() && !last {
                    return Ok(None);
                }
                let first = !mem::replace(begun, true);
                if last {
                    self.incoming = Incoming::Between;
                }
                let reserved_bits = piece.header.reserved_bits;
                Ok(Some(Event::Piece { kind, reserved_bits, range, first, last }))
            }
            Incoming::Between | Incoming::Ended => Ok(None),
        }
    }

    #[cold]
    fn finish_assembling(&mut self) -> Result<Option<Event>, ProtocolError> {
        match mem::replace(&mut self.incoming, Incoming::Between) {
            Incoming::Assembling { assembler, reserved_bits } => {
                let message = assembler.finish()?;
                Ok(Some(Event::Assembled { reserved_bits, message }))
            }
            Incoming::Between | Incoming::Streaming { .. } | Incoming::Ended => Ok(None),
        }
    }

    /// Nothing more is taken, and nothing more is held.
    fn end(&mut self) {
        self.incoming = Incoming::Ended;
        self.cold = None;
    }
}

/// The kind of message that a frame of this data opcode begins; a continuation begins none.
#[inline]
const fn begun_kind(opcode: Opcode) -> Option<MessageKind> {
    match opcode {
        Opcode::Text => Some(MessageKind::Text),
        Opcode::Binary => Some(MessageKind::Binary),
        _ => None,
    }
}

/// A whole message that lies in the input.
#[inline]
fn message_in_place(
    kind: MessageKind,
    reserved_bits: ReservedBits,
    input: &[u8],
    range: Range<usize>,
) -> Result<Event, ProtocolError> {
    if kind == MessageKind::Text {
        check_utf8(&input[range.clone()]).map_err(|_| ProtocolError::InvalidUtf8)?;
    }
    Ok(Event::InPlace { kind, reserved_bits, range })
}
