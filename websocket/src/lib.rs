//! Sans-I/O WebSocket (RFC 6455) for both roles, and the Tidegate WebSocket connection.
//!
//! # Theory of operation
//! Protocol code here takes bytes and gives events and bytes; it has no sockets, no clock, no randomness and no async.
//! Whoever owns a connection
//!
//! 1. makes the opening handshake with [`handshake`]: a checked [`Offer`](handshake::Offer) on the server, a
//!    [`ClientHandshake`](handshake::ClientHandshake) on the client;
//! 2. gives every chunk received, from the byte after the handshake on, to one [`Protocol`], which unmasks it in place
//!    and reports [`Event`]s: messages, pings, pongs, the close frame;
//! 3. appends [`Frame`]s to its outbound buffer, compressed by a [`MessageDeflater`] if that was agreed on;
//! 4. keeps a [`Closing`] and does with the TCP connection what that says. A [`ProtocolError`] is answered with a
//!    close frame of its [`close_code`](ProtocolError::close_code).
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
//! No input from the network panics. A peer's claim costs no memory: buffers follow what arrived, and nothing is held
//! between messages. Each payload byte is unmasked once, and copied only if its message came in pieces. Text is checked
//! as it comes, so that a violation is known at its first byte; text that lies in the input is checked once more when it
//! is taken out as a `str` or a [`Text`], because nothing ties the first check to those bytes.
//! Every bound is named in [`limits`].
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod assembler;
mod attend;
pub mod close;
mod closed;
pub mod closing;
mod compression;
mod config;
mod connection;
mod control;
mod deadline;
mod deflate;
mod deflated_send;
pub mod error;
pub mod event;
mod extras;
mod failure;
pub mod frame;
#[cfg(feature = "futures")]
mod futures;
pub mod handshake;
mod hooks;
pub mod hub;
mod joined;
#[cfg(feature = "json")]
mod json;
mod lend;
pub mod limits;
mod locals;
pub mod mask;
pub mod message;
mod outlet;
mod prepared;
pub mod protocol;
mod recv_stream;
mod send_stream;
mod sender;
mod serving;
mod session;
mod spare;
#[cfg(feature = "json")]
mod text_routes;
#[cfg(feature = "tungstenite")]
mod tungstenite_messages;
mod upgrade;
mod users;
pub mod utf8;

pub use close::{CloseCode, CloseCodeClass, CloseFrame, ClosePayload};
pub use closed::Closed;
pub use closing::{Closing, ClosingState, Transport};
pub use compression::CompressionStatus;
pub use config::{KeepaliveConfig, WebSocketConfig};
pub use connection::{Recv, RecvRef, WebSocket};
pub use deflate::{CompressionLevel, DeflateAgreement, DeflateConfig, DeflateParams, MessageDeflater, WindowBits};
pub use error::{ProtocolError, UsageError};
pub use event::{ControlPayload, Event, Progress};
pub use failure::Error;
pub use frame::{
    Decoded, Frame, FrameDecoder, FrameHeader, FrameRules, HeaderBytes, MessageEncoder, Opcode, Piece, ReservedBits,
    Role, encode_close,
};
#[cfg(feature = "futures")]
pub use futures::{MessageSink, MessageStream};
pub use hooks::{Disconnected, Refusal};
pub use hub::{Broadcast, Delivered, Hub, HubConfig, HubError, MemberConfig, Registration, SlowPolicy};
pub use joined::{BlockingJoined, Joined};
pub use locals::Locals;
pub use mask::{MaskingKey, apply_mask};
pub use message::{Message, MessageKind, MessageRef, PayloadRef};
pub use prepared::PreparedMessage;
pub use protocol::{Delivery, Protocol, ProtocolConfig};
pub use recv_stream::RecvStream;
pub use send_stream::SendStream;
pub use sender::{SendMessage, SendRef, Sender};
#[cfg(feature = "json")]
pub use text_routes::{IntoTextResponse, InvalidBody, RouteError, TextRequest, TextResponse, TextRoutes};
pub use upgrade::{Upgrade, upgrade};
pub use users::{ConnectionId, UserConnection, UserRegistration, Users};
pub use utf8::{InvalidUtf8, Text, Utf8Validator, check_utf8};
