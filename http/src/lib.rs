//! Strict sans-I/O HTTP/1.1 and the Tidegate HTTP server.
//!
//! ```text
//! Connection ──▶ Protocol ──▶ RequestHead + Body ──▶ Router ──▶ handler
//!     ▲            │ ▲                                             │
//!     └── bytes ───┘ └──────────────── Response ◀──────────────────┘
//! ```
//!
//! * [`Server`] binds a [`Router`], or any other [`Handler`], to an address and runs it on the engine.
//! * [`Request`] and [`Response`] are what handlers see. Content goes in both directions under backpressure: a body is
//!   received when it is asked for, a response's stream is asked when there is space for what it gives.
//! * [`Response::upgrade`] hands the connection to another protocol by value.
//! * [`Protocol`] is HTTP/1.1 (RFC 9112) without I/O: bytes in, events and bytes out. What it refuses, and with which
//!   status, is listed at [`RequestError`]; the bounds are in [`Limits`].
//!
//! Methods, statuses, names and values of fields are those of the `http` crate, payloads those of `bytes`.
//!
//! Deliberately absent: HTTP/2, TLS, trust in line feeds alone (a line ends with CRLF), repair of malformed requests.

#![forbid(unsafe_code)]

mod error;
#[doc(hidden)]
pub mod field;
mod limits;
mod message;
mod protocol;
mod server;

pub use error::{BodyError, RequestError, ResponseError};
pub use limits::{FIELDS_CEILING, HEAD_BYTES_CEILING, Limits, LimitsError, TARGET_BYTES_CEILING};
pub use message::body::Body;
pub use message::content_stream::{ContentStream, ContentWriter, LocalBoxFuture, StreamError};
pub use message::head::RequestHead;
pub use message::into_response::IntoResponse;
pub use message::on_upgrade::OnUpgrade;
pub use message::request::Request;
pub use message::response::{Response, ResponseBody};
pub use protocol::Protocol;
pub use protocol::date::{DateCache, HttpDate};
pub use protocol::event::{Event, Next, Progress};
pub use server::Server;
pub use server::builder::ServerBuilder;
pub use server::config::HttpConfig;
pub use server::handler::{Handler, Reply, SyncHandler, sync_handler};
pub use server::pattern::percent_decode;
pub use server::router::Router;
pub use server::task::{Service, serve};
