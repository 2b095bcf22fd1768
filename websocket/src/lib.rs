//! WebSocket connections (RFC 6455) on the Tidegate engine, and the protocol for both roles without I/O.
//!
//! ```no_run
//! use tidegate_http::{Router, Server};
//! use tidegate_websocket::upgrade;
//!
//! # fn main() -> Result<(), tidegate_engine::Error> {
//! let echo = upgrade(async |mut ws| {
//!     while let Some(message) = ws.recv().await? {
//!         ws.send(message).await?;
//!     }
//!     Ok(())
//! });
//! Server::builder(Router::new().get("/ws", echo)).bind("127.0.0.1:9001")?.run()
//! # }
//! ```
//!
//! * [`upgrade`](upgrade()) makes an HTTP handler of an async function from a [`WebSocket`] to a [`Result`]. An
//!   [`Upgrade`] has the settings of its connections, and hooks before the handshake, after it, and at the end.
//! * [`upgrade_events`](upgrade_events()) makes one of an [`EventHandler`], which is called for what happens: for very
//!   many connections.
//! * A [`WebSocket`] reads and sends; its documentation compares the ways to do both. A [`Sender`] sends from other
//!   tasks and threads. `?` converts any error into a [`HandlerError`], which decides on the close code.
//! * [`connect`](connect()) opens a WebSocket to a server, [`Reconnecting`] keeps one open, [`blocking`] is for
//!   scripts.
//! * A [`Hub`] sends one message to many connections, [`Users`] finds the connections of a user.
//! * [`protocol`] is the protocol without I/O: bytes in, events and bytes out. [`handshake`] is the opening handshake.
//!
//! # Features
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `compression` | yes | permessage-deflate (RFC 7692): `Upgrade::compression`, `WebSocket::compression`, `DeflateConfig`, `CompressionLevel`, `WindowBits`, `protocol::MessageDeflater` |
//! | `json` | no | messages as JSON: `WebSocket::recv_json` and `send_json`, `Message::json`, `Error::Json`; requests by method and path: `TextRoutes` |
//! | `futures` | no | `ByteIo` as `AsyncRead` and `AsyncWrite` of the futures crates; `Stream` and `Sink` for `WebSocket`; `WebSocket::split`, `MessageStream`, `MessageSink` |
//! | `testing` | no | clients in memory for tests of applications, with a clock that tests move |
//! | `tokio` | no | `ByteIo` as tokio's `AsyncRead` and `AsyncWrite` |
//! | `socks` | no | SOCKS5 proxies for [`connect`](connect()) |
//! | `tls` | no | `wss` URLs for [`connect`](connect()): `Connect::tls` |
//! | `tungstenite` | no | conversions between `Message` and the messages of the `tungstenite` crate |
//!
//! # Invariants
//! No input from the network causes a panic. A peer's claim costs no memory: buffers grow with the bytes that arrive,
//! and nothing is held between messages. Each payload byte is unmasked once, and copied only if its message arrives in
//! pieces. Text is checked as it arrives, so a violation is detected at its first byte. Text that lies in the input is
//! checked once more when it is taken out as a `str` or a [`Text`], because nothing ties the first check to those
//! bytes. Every bound is a setting with a default, or a constant of [`protocol`].
#![deny(unsafe_code)]
#![cfg_attr(tidegate_docs, feature(doc_cfg))]

mod buffer_pool;
mod client;
mod close;
mod close_code;
mod config;
mod conn;
#[cfg(feature = "compression")]
mod deflate;
#[cfg(not(feature = "compression"))]
#[path = "deflate/absent.rs"]
mod deflate;
mod error;
mod events;
mod ext;
mod frame;
pub mod handshake;
mod hub;
mod limits;
mod message;
mod opcode;
pub mod protocol;
mod protocol_error;
mod reserved_bits;
mod role;
mod serve;
mod sync;
#[cfg(feature = "testing")]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "testing")))]
pub mod testing;
mod usage_error;
mod utf8;

pub use client::{
    Backoff, Connect, ConnectError, InvalidProxy, Reconnecting, ReconnectingSender, RefusedResponse, blocking, connect,
};
pub use close::CloseFrame;
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
pub use deflate::{CompressionLevel, DeflateConfig, WindowBits};
pub use error::Error;
pub use events::{CloseEvent, EventHandle, EventHandler, EventSocket, upgrade_events};
#[cfg(any(feature = "tokio", feature = "futures"))]
pub use ext::async_io::ByteIo;
pub use ext::byte_stream::{BlockingByteStream, ByteStream};
#[cfg(feature = "futures")]
pub use ext::futures::{MessageSink, MessageStream};
#[cfg(feature = "json")]
pub use ext::text_routes::{IntoTextResponse, InvalidBody, TextRequest, TextResponse, TextRoutes};
pub use ext::users::{ConnectionId, UserConnection, UserRegistration, Users};
pub use handshake::origin::{InvalidOrigin, OriginAllowList, Scheme};
pub use hub::{Broadcast, Delivered, Hub, HubConfig, HubError, MemberConfig, Registration, SlowMember, SlowPolicy};
pub use message::{Message, MessageKind, MessageRef, PayloadRef};
pub use opcode::Opcode;
pub use protocol_error::ProtocolError;
pub use reserved_bits::ReservedBits;
pub use serve::handler_error::{HandlerError, Result};
pub use serve::upgrade::{Upgrade, upgrade};
pub use usage_error::UsageError;
pub use utf8::{InvalidUtf8, Text};

/// The README's program, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
