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

mod body;
mod channel;
mod config;
mod date;
mod encode;
mod error;
mod event;
mod exchange;
mod framing;
mod handler;
mod head;
mod limits;
mod parse;
mod pattern;
mod protocol;
mod request;
mod response;
mod router;
mod scan;
mod serve;
mod server;
mod stream;
mod target;
mod upgrade;

pub use config::HttpConfig;
pub use date::{DateCache, HttpDate};
pub use error::{BodyError, RequestError, ResponseError};
pub use event::{Event, Next, Progress};
pub use handler::{Handler, Ready, Reply, ready};
pub use head::RequestHead;
pub use limits::{FIELDS_CEILING, HEAD_BYTES_CEILING, Limits, LimitsError, TARGET_BYTES_CEILING};
pub use pattern::percent_decode;
pub use protocol::Protocol;
pub use request::{Body, Request};
pub use response::{IntoResponse, Response, ResponseBody};
pub use router::Router;
pub use serve::{Service, serve};
pub use server::{Server, ServerBuilder};
pub use stream::{ContentStream, ContentWriter, LocalBoxFuture, StreamError};
pub use upgrade::Takeover;
