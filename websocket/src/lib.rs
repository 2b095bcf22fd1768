//! Sans-I/O WebSocket (RFC 6455) for both roles, and the Tidegate WebSocket connection.
//!
//! # Theory of operation
//! The protocol code takes bytes and returns events and bytes. It has no sockets, no clock, no randomness and no async.
//! The owner of a connection
//!
//! 1. performs the opening handshake with [`handshake`]: a checked [`Offer`](handshake::Offer) on the server, a
//!    [`ClientHandshake`](handshake::ClientHandshake) on the client;
//! 2. gives every received chunk, from the byte after the handshake on, to one [`Protocol`], which unmasks it in place
//!    and reports [`Event`]s: messages, pings, pongs, the close frame;
//! 3. appends [`Frame`]s to its outbound buffer, compressed by a `MessageDeflater` if that was agreed on;
//! 4. keeps a [`Closing`], which decides about the TCP connection. It answers a [`ProtocolError`] with a close frame of
//!    its [`close_code`](ProtocolError::close_code).
//!
//! ```
//! use tidegate_websocket::{Event, Frame, MessageKind, Protocol, ProtocolError};
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
//! # Invariants
//! No input from the network causes a panic. A peer's claim costs no memory: buffers grow with what arrives, and
//! nothing is held between messages. Each payload byte is unmasked once, and copied only if its message arrives in
//! pieces. Text is checked as it arrives, so a violation is detected at its first byte. Text that lies in the input is
//! checked once more when it is taken out as a `str` or a [`Text`], because nothing ties the first check to those
//! bytes. Every bound is named in [`limits`].
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod buffer_pool;
pub mod close;
mod close_code;
mod config;
mod conn;
#[cfg(feature = "compression")]
mod deflate;
#[cfg(not(feature = "compression"))]
#[path = "deflate/absent.rs"]
mod deflate;
mod error;
mod ext;
pub mod frame;
pub mod handshake;
pub mod hub;
pub mod limits;
pub mod message;
mod opcode;
pub mod protocol;
pub mod protocol_error;
mod role;
mod serve;
mod sync;
pub mod utf8;

pub use close::{CloseFrame, ClosePayload, Closing, ClosingState, Transport};
pub use close_code::{CloseCode, CloseCodeClass};
pub use config::{KeepaliveConfig, WebSocketConfig};
pub use conn::closed::Closed;
#[cfg(feature = "compression")]
pub use conn::compression::CompressionStatus;
pub use conn::disconnected::Disconnected;
pub use conn::extensions::Extensions;
pub use conn::prepared::PreparedMessage;
pub use conn::recv::Recv;
pub use conn::recv_ref::RecvRef;
pub use conn::recv_stream::RecvStream;
pub use conn::send::{SendMessage, SendRef};
pub use conn::send_stream::SendStream;
pub use conn::sender::Sender;
pub use conn::websocket::WebSocket;
#[cfg(feature = "compression")]
pub use deflate::{CompressionLevel, DeflateAgreement, DeflateConfig, DeflateParams, MessageDeflater, WindowBits};
pub use error::Error;
pub use ext::byte_stream::{BlockingJoined, Joined};
#[cfg(feature = "futures")]
pub use ext::futures::{MessageSink, MessageStream};
#[cfg(feature = "json")]
pub use ext::text_routes::{IntoTextResponse, InvalidBody, RouteError, TextRequest, TextResponse, TextRoutes};
pub use ext::users::{ConnectionId, UserConnection, UserRegistration, Users};
pub use frame::mask::{MaskingKey, apply_mask};
pub use frame::{
    Decoded, Frame, FrameDecoder, FrameHeader, FrameRules, HeaderBytes, MessageEncoder, Piece, encode_close,
};
pub use hub::{Broadcast, Delivered, Hub, HubConfig, HubError, MemberConfig, Registration, SlowPolicy};
pub use message::{Message, MessageKind, MessageRef, PayloadRef};
pub use opcode::{Opcode, ReservedBits};
pub use protocol::event::{ControlPayload, Event, Progress};
pub use protocol::{Delivery, Protocol, ProtocolConfig};
pub use protocol_error::{ProtocolError, UsageError};
pub use role::Role;
pub use serve::refusal::Refusal;
pub use serve::upgrade::{Upgrade, upgrade};
pub use utf8::{InvalidUtf8, Text, Utf8Validator, check_utf8};
