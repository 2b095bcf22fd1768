//! WebSocket (RFC 6455) for both roles without I/O: no sockets, no clock, no randomness, no async.
//!
//! The owner of a connection
//!
//! 1. performs the opening handshake with [`handshake`](crate::handshake): a checked [`Offer`](crate::handshake::Offer)
//!    on the server, a [`ClientHandshake`](crate::handshake::ClientHandshake) on the client;
//! 2. gives every received chunk, from the byte after the handshake on, to one [`Protocol`], which unmasks it in place
//!    and reports [`Event`]s: messages, pings, pongs, the close frame;
//! 3. appends [`Frame`]s to its outbound buffer, compressed by a `MessageDeflater` if that was agreed on;
//! 4. keeps a [`Closing`], which decides about the TCP connection. It answers a
//!    [`ProtocolError`] with a close frame of its [`close_code`](crate::ProtocolError::close_code).
//!
//! ```
//! use tidegate_websocket::protocol::{Event, Frame, Protocol};
//! use tidegate_websocket::{MessageKind, ProtocolError};
//!
//! /// Answers every message in `chunk` with itself.
//! fn echo(protocol: &mut Protocol, mut chunk: &mut [u8], out: &mut Vec<u8>) -> Result<(), ProtocolError> {
//!     while !chunk.is_empty() {
//!         let progress = protocol.receive(chunk)?;
//!         if let Some(Event::InPlace { kind: MessageKind::Binary, range, .. }) = progress.event {
//!             Frame::binary(&chunk[range]).encode(None, out);
//!         } else if let Some(event) = progress.event {
//!             if let Some(message) = event.into_message(chunk)? {
//!                 Frame::message(&message).encode(None, out);
//!             }
//!         }
//!         chunk = &mut chunk[progress.consumed..];
//!     }
//!     Ok(())
//! }
//! ```
//!
//! [`FrameDecoder`] and [`MessageEncoder`] are the layer below, for code that needs single frames.
//!
//! # Receiving
//! Two layers. [`FrameDecoder`] finds frames and unmasks their payload in place, piece by piece. [`Protocol`] enforces
//! the order of frames and the message limit, and decides about each piece: a message that lies whole in the input is
//! reported in place, others are assembled or handed out in pieces.
//!
//! ```text
//!              text, binary (no FIN)                  continuation (no FIN)
//!   Between ───────────────────────────▶ Assembling ──────┐
//!     ▲  │ text, binary (FIN):             Streaming ◀────┘
//!     └──┘ a whole message                     │
//!     ▲            continuation (FIN)          │
//!     └────────────────────────────────────────┘     control frames can come in any state and change none;
//!                                                    close or a broken rule ends it: the rest is ignored
//! ```
//!
//! Compressed messages (RFC 7692) are inflated and come out as if they had arrived in pieces.
//!
//! The protocol holds no input: when [`Protocol::receive`] reports no event, it has consumed everything. Invariants: no
//! heap unless a message or a frame has arrived in part; every byte is unmasked, checked and copied at most once;
//! memory grows with what arrives.

mod assembler;
mod cold_input;
#[cfg(feature = "compression")]
mod compression;
mod control;
pub(crate) mod event;
mod inflate;
mod rest;
mod settings;
mod short_frame;
#[cfg(test)]
mod tests;

use std::mem;
use std::ops::Range;

#[cfg(not(feature = "compression"))]
use crate::deflate::DeflateParams;
use crate::frame::FramePlace;
use crate::message::MessageKind;
use crate::opcode::Opcode;
use crate::protocol::assembler::Assembler;
use crate::protocol_error::ProtocolError;
use crate::reserved_bits::ReservedBits;
use cold_input::ColdInput;
pub(crate) use rest::REST_BYTES_MIN;
pub(crate) use short_frame::{ShortFrame, short_frame};

// The rest of the interface without I/O, which has its one public path here.
pub use crate::close::{ClosePayload, Closing, ClosingState, Transport};
#[cfg(feature = "compression")]
pub use crate::deflate::{DeflateAgreement, DeflateParams, MessageDeflater};
pub use crate::frame::mask::{MaskingKey, apply_mask};
pub use crate::frame::{
    Decoded, Frame, FrameDecoder, FrameHeader, FrameRules, HeaderBytes, MessageEncoder, Piece, encode_close,
};
pub use crate::limits::{
    CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX, MESSAGE_BYTES_MAX_DEFAULT,
};
pub use crate::role::Role;
pub use crate::utf8::{Utf8Validator, check_utf8};
pub use event::{ControlPayload, Event, Progress};

tidegate_engine::__settings! {
    /// The settings of receiving.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ProtocolConfig {
        /// Our role, and the reserved bits and opcodes that are allowed. Default: no bits, and the opcodes of RFC 6455.
        pub frames: FrameRules,
        /// Maximum payload bytes of a message over all of its frames; a larger message is answered with 1009. Default:
        /// 64 MiB ([`MESSAGE_BYTES_MAX_DEFAULT`]).
        pub message_bytes_max: u64,
        /// The compression that the opening handshake agreed on.
        deflate: Option<DeflateParams>,
    }
}

impl ProtocolConfig {
    /// Returns the settings for `role`: RFC 6455 without extensions.
    pub const fn new(role: Role) -> Self {
        let message_bytes_max = MESSAGE_BYTES_MAX_DEFAULT as u64;
        Self { frames: FrameRules::new(role), message_bytes_max, deflate: None }
    }

    /// Sets the compression, if the opening handshake agreed on it.
    pub(crate) const fn agreed_deflate(mut self, params: Option<DeflateParams>) -> Self {
        self.deflate = params;
        self
    }
}

/// The form in which messages are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeliveryMode {
    /// Whole: [`Event::InPlace`] or [`Event::Assembled`].
    #[default]
    Whole,
    /// As they arrive, without assembling them: [`Event::Piece`].
    Pieces,
}

/// The receiving half of a WebSocket connection.
///
/// ```
/// use tidegate_websocket::protocol::{Event, Protocol, ProtocolConfig, Role};
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
    rules: FrameRules,
    delivery: DeliveryMode,
    /// The peer closed or broke a rule: all input is ignored.
    ended: bool,
    message_bytes_max: u64,
    /// What has arrived in part, and other state that few connections need at a time, on the heap because there are
    /// very many idle ones. Without it the protocol is between messages and frames.
    cold: Option<Box<ColdInput>>,
}

// One of these exists for each of very many idle connections.
const _: () = assert!(mem::size_of::<Protocol>() <= 24);

/// The states of the diagram above, apart from the end.
#[derive(Debug, Default)]
enum Incoming {
    /// No message is open.
    #[default]
    Between,
    /// A message is being assembled.
    Assembling { assembler: Assembler, reserved_bits: ReservedBits },
    /// A message is handed out in pieces; `begun` once the first one was. `frames_bytes` counts the payload of its
    /// frames, with all that the last header claims. The reserved bits are those of the first frame.
    Streaming {
        kind: MessageKind,
        validator: Utf8Validator,
        begun: bool,
        frames_bytes: u64,
        reserved_bits: ReservedBits,
    },
}

impl Protocol {
    /// Returns the state after the opening handshake. It allocates nothing, or little if the peer can compress.
    #[must_use]
    pub fn new(config: ProtocolConfig) -> Self {
        let mut rules = config.frames;
        let cold = config.deflate.map(|params| {
            rules.message_bits = rules.message_bits | ReservedBits::RSV1;
            Box::new(ColdInput::inflating(params, rules.role))
        });
        let (delivery, message_bytes_max) = (DeliveryMode::Whole, config.message_bytes_max);
        Self { rules, delivery, ended: false, message_bytes_max, cold }
    }

    /// Takes the peer's bytes up to the next event and unmasks payload in place. Call it again with the rest of the
    /// input until it returns no event. After [`Event::Close`] and after an error all input is consumed silently (RFC
    /// 6455 sections 1.4 and 7.1.7).
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

    /// Returns whether the peer's close frame was received or a rule was broken.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Gives up the open message and all further input.
    pub(crate) fn give_up(&mut self) {
        self.end();
    }

    /// Handles the common case, without a change of state: the input begins with a frame that is a whole message. In
    /// any other case returns `None` and leaves the input untouched.
    #[inline]
    fn receive_whole(&self, input: &mut [u8]) -> Result<Option<Progress>, ProtocolError> {
        if !self.is_between() {
            return Ok(None);
        }
        let Some((header, header_len)) = FrameHeader::parse(input, &self.rules)? else {
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
        let event = message_in_place(self.delivery, kind, header.reserved_bits, input, range)?;
        Ok(Some(Progress { consumed, event: Some(event) }))
    }

    /// Handles everything else, piece by piece.
    fn receive_pieces(&mut self, input: &mut [u8]) -> Result<Progress, ProtocolError> {
        let mut consumed = 0;
        while consumed < input.len() && !self.ended {
            if self.take_slice() {
                return Ok(Progress { consumed, event: Some(Event::Inflating) });
            }
            let event = self.step(input, &mut consumed)?;
            if event.is_some() {
                self.free_needless();
                return Ok(Progress { consumed, event });
            }
        }
        self.free_needless();
        Ok(Progress { consumed: input.len(), event: None })
    }

    /// Decodes one piece and passes it on.
    #[inline]
    fn step(&mut self, input: &mut [u8], consumed: &mut usize) -> Result<Option<Event>, ProtocolError> {
        let start = *consumed;
        let end = input.len().min(start.saturating_add(self.input_bytes_max()));
        let decoded = self.decode(&input[start..end])?;
        *consumed += decoded.consumed;
        let Some(piece) = decoded.piece else {
            return Ok(None);
        };
        let is_control = piece.header.opcode.is_control();
        if piece.first && !is_control {
            self.begin_data_frame(&piece.header)?;
        }
        if !is_control && self.is_unmasked_by_assembling(&piece) {
            let key = piece.header.masking_key.unwrap_or(MaskingKey::NONE);
            return self.assemble_piece(&piece, key, &input[start..end][piece.range.clone()]);
        }
        piece.unmask(&mut input[start..end]);
        let range = start + piece.range.start..start + piece.range.end;
        if is_control {
            return self.control_piece(&piece, input, range);
        }
        self.data_piece(&piece, input, range)
    }

    /// Decodes up to the next piece. A frame that is whole in the input needs no heap.
    #[inline]
    fn decode(&mut self, input: &[u8]) -> Result<Decoded, ProtocolError> {
        if let Some(cold) = &mut self.cold {
            return cold.place.decode_masked(&self.rules, input);
        }
        let mut place = FramePlace::Between;
        let decoded = place.decode_masked(&self.rules, input)?;
        if !place.is_between_frames() {
            self.cold = Some(Box::new(ColdInput { place, ..ColdInput::default() }));
        }
        Ok(decoded)
    }

    /// Checks the header of a data frame against the open message and the limit, and opens a message if none is open.
    #[inline]
    fn begin_data_frame(&mut self, header: &FrameHeader) -> Result<(), ProtocolError> {
        let is_open = self.cold.as_ref().is_some_and(|cold| !matches!(cold.incoming, Incoming::Between));
        match (is_open, begun_kind(header.opcode)) {
            (false, None) => return Err(ProtocolError::UnexpectedContinuation),
            (false, Some(kind)) => self.begin_message(kind, header.reserved_bits),
            (true, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (true, None) => {}
        }
        let Some(cold) = &mut self.cold else { return Ok(()) };
        if let Some(inflater) = cold.inflater() {
            return inflater.begin_frame(header.payload_len, self.message_bytes_max);
        }
        let message_bytes = match &mut cold.incoming {
            // Every earlier frame is complete, so the assembled bytes are all that they claimed.
            Incoming::Assembling { assembler, .. } => header.payload_len.saturating_add(assembler.len() as u64),
            Incoming::Streaming { frames_bytes, .. } => {
                *frames_bytes = frames_bytes.saturating_add(header.payload_len);
                *frames_bytes
            }
            Incoming::Between => 0,
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
        self.cold.get_or_insert_default().incoming = match self.delivery {
            DeliveryMode::Whole => Incoming::Assembling { assembler: Assembler::new(kind), reserved_bits },
            DeliveryMode::Pieces => {
                let validator = Utf8Validator::new();
                Incoming::Streaming { kind, validator, begun: false, frames_bytes: 0, reserved_bits }
            }
        };
    }

    /// Returns whether the piece is unmasked on its way into the message that is being assembled. A text is checked
    /// before it is stored, and therefore unmasked where it lies.
    #[inline]
    fn is_unmasked_by_assembling(&self, piece: &Piece) -> bool {
        let Some(cold) = &self.cold else { return false };
        match &cold.incoming {
            Incoming::Assembling { assembler, .. } => {
                assembler.kind() == MessageKind::Binary
                    && (assembler.len() > 0 || !is_last(piece))
                    && !cold.is_inflating()
            }
            Incoming::Between | Incoming::Streaming { .. } => false,
        }
    }

    /// Adds a piece to the message that is being assembled, and unmasks it there with `key`.
    #[inline]
    fn assemble_piece(&mut self, piece: &Piece, key: MaskingKey, bytes: &[u8]) -> Result<Option<Event>, ProtocolError> {
        if let Some(Incoming::Assembling { assembler, .. }) = self.incoming_mut() {
            let expected_bytes = piece.header.fin.then_some(piece.remaining_bytes);
            assembler.push(key, bytes, expected_bytes)?;
        }
        if is_last(piece) { self.finish_assembling() } else { Ok(None) }
    }

    /// Handles an unmasked piece of the open message.
    #[inline]
    fn data_piece(&mut self, piece: &Piece, input: &[u8], range: Range<usize>) -> Result<Option<Event>, ProtocolError> {
        let last = is_last(piece);
        let Some(cold) = &mut self.cold else { return Ok(None) };
        if cold.is_inflating() {
            return self.inflate_piece(&input[range], last);
        }
        match &mut cold.incoming {
            Incoming::Assembling { assembler, reserved_bits } => {
                if last && assembler.len() == 0 {
                    let (kind, reserved_bits) = (assembler.kind(), *reserved_bits);
                    cold.incoming = Incoming::Between;
                    return message_in_place(DeliveryMode::Whole, kind, reserved_bits, input, range).map(Some);
                }
                self.assemble_piece(piece, MaskingKey::NONE, &input[range])
            }
            Incoming::Streaming { .. } => self.stream_piece(piece, input, range, last),
            Incoming::Between => Ok(None),
        }
    }

    /// Handles a piece of a message that is delivered in pieces. Apart from those of assembled messages, whose path is
    /// the shorter for it.
    #[inline(never)]
    fn stream_piece(
        &mut self,
        piece: &Piece,
        input: &[u8],
        range: Range<usize>,
        last: bool,
    ) -> Result<Option<Event>, ProtocolError> {
        let Some(incoming) = self.incoming_mut() else { return Ok(None) };
        let Incoming::Streaming { kind, validator, begun, reserved_bits, .. } = incoming else { return Ok(None) };
        let (kind, reserved_bits) = (*kind, *reserved_bits);
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
            *incoming = Incoming::Between;
        }
        // A first frame without payload has no piece, so the message's bits come with its first one.
        let reserved_bits = if first { reserved_bits } else { piece.header.reserved_bits };
        Ok(Some(Event::Piece { kind, reserved_bits, range, first, last }))
    }

    #[cold]
    fn finish_assembling(&mut self) -> Result<Option<Event>, ProtocolError> {
        match self.incoming_mut().map(mem::take) {
            Some(Incoming::Assembling { assembler, reserved_bits }) => {
                let message = assembler.finish()?;
                Ok(Some(Event::Assembled { reserved_bits, message }))
            }
            Some(Incoming::Between | Incoming::Streaming { .. }) | None => Ok(None),
        }
    }

    /// Ends receiving and frees the held memory.
    fn end(&mut self) {
        self.ended = true;
        self.cold = None;
    }
}

/// Returns whether the piece ends its message.
#[inline]
const fn is_last(piece: &Piece) -> bool {
    piece.header.fin && piece.remaining_bytes == 0
}

/// Returns the kind of message that a frame of this data opcode begins; `None` for a continuation.
#[inline]
const fn begun_kind(opcode: Opcode) -> Option<MessageKind> {
    match opcode {
        Opcode::Text => Some(MessageKind::Text),
        Opcode::Binary => Some(MessageKind::Binary),
        _ => None,
    }
}

/// Returns the event of a whole message that lies in the input.
#[inline]
fn message_in_place(
    delivery: DeliveryMode,
    kind: MessageKind,
    reserved_bits: ReservedBits,
    input: &[u8],
    range: Range<usize>,
) -> Result<Event, ProtocolError> {
    if kind == MessageKind::Text {
        check_utf8(&input[range.clone()]).map_err(|_| ProtocolError::InvalidUtf8)?;
    }
    Ok(match delivery {
        DeliveryMode::Whole => Event::InPlace { kind, reserved_bits, range },
        DeliveryMode::Pieces => Event::Piece { kind, reserved_bits, range, first: true, last: true },
    })
}
