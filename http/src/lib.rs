//! Strict sans-I/O HTTP/1.1 and the Tidegate HTTP server.
//!
//! ```text
//! Connection ──▶ Protocol ──▶ RequestHead + Body ──▶ Router ──▶ handler
//!     ▲            │ ▲                                             │
//!     └── bytes ───┘ └──────────────── Response ◀──────────────────┘
//! ```
//!
//! * [`Server`] binds a [`Router`], or any other [`Handler`], to an address and runs it on the engine.
//! * A [`Handler`] answers a [`Request`] with a [`Response`], and `?` turns any error into a [`HandlerError`].
//!   Content flows under backpressure in both directions: a [`Body`] is received when the handler reads it, a
//!   [`ContentStream`] is polled when the connection has space.
//! * [`Response::upgrade`] passes the connection to another protocol by value.
//! * [`protocol`] is HTTP/1.1 (RFC 9112) without I/O: bytes in, events and bytes out. [`client`] reads responses.
//!   [`RequestError`](protocol::RequestError) lists the refused requests and their statuses; [`Limits`] bounds every
//!   request.
//!
//! Methods, statuses, field names and field values are those of the `http` crate, payloads those of `bytes`.
//!
//! Deliberately absent: HTTP/2, lines that end with a bare line feed, repair of malformed requests.

#![forbid(unsafe_code)]
#![cfg_attr(tidegate_docs, feature(doc_cfg))]

#[doc(hidden)]
pub mod causes;
pub mod client;
#[cfg(feature = "compression")]
mod compression;
#[cfg(any(feature = "compression", feature = "files"))]
mod content_coding;
mod error;
mod extract;
mod field;
#[cfg(feature = "files")]
mod files;
mod limits;
#[cfg(any(feature = "compression", feature = "files"))]
mod media_types;
mod message;
pub mod protocol;
mod proxy;
mod route_config;
mod server;
mod sse;
#[cfg(feature = "testing")]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "testing")))]
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;

#[cfg(feature = "compression")]
pub use compression::Compressed;
pub use error::BodyError;
#[cfg(feature = "multipart")]
pub use extract::multipart::{Field, Multipart};
pub use extract::rejection::Rejection;
#[cfg(feature = "files")]
pub use files::Files;
pub use limits::Limits;
pub use message::access_record::{AccessLog, AccessRecord};
pub use message::body::Body;
pub use message::client_gone::ClientGone;
pub use message::content_connection::ContentConnection;
pub use message::content_stream::{ContentPiece, ContentStream, ContentWriter, LocalBoxFuture, StreamError};
pub use message::head::RequestHead;
pub use message::into_response::IntoResponse;
pub use message::on_upgrade::OnUpgrade;
pub use message::request::Request;
pub use message::response::{Response, ResponseBody};
#[cfg(feature = "proxy")]
pub use proxy::trusted::ForwardedFields;
pub use route_config::RouteConfig;
pub use server::Server;
pub use server::builder::ServerBuilder;
pub use server::config::HttpConfig;
pub use server::handler::{Handler, Reply, SharedAcrossThreads, SyncHandler, sync_handler};
pub use server::handler_error::{HandlerError, HandlerFailure, Result};
#[doc(hidden)]
pub use server::handler_name::HandlerName;
pub use server::on_response::RequestInfo;
pub use server::pattern::percent_decode;
pub use server::route_handler::RouteHandler;
pub use server::router::Router;
pub use server::state_router::{StateHandler, StateRouter};
pub use server::status::{StatusHandler, status_handler};
pub use server::task::{HttpService, serve};
#[cfg(feature = "tls")]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "tls")))]
pub use server::tls::Hsts;
pub use sse::event::{Event, EventError, InvalidEvent};
pub use sse::sender::EventSender;
pub use sse::stream::EventStream;

/// The PROXY protocol: the types of the `proxy-header` crate.
#[cfg(feature = "proxy")]
pub use proxy_header;

/// Cookies: the types of the `cookie` crate.
#[cfg(feature = "cookies")]
pub use cookie;

/// For the websocket crate alone: not part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::field::{Host, list_elements, split_host, token};
    pub use crate::server::pattern::to_matchit_syntax;
    pub use tidegate_engine::panic_message;
}

/// The README's program, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
