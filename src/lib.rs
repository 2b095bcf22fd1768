//! Tidegate: a Linux io_uring thread-per-core HTTP/1.1 and WebSocket engine, for applications that hold very many
//! connections. Where io_uring is not available, the same handlers run unchanged on epoll or kqueue.
//!
//! ```no_run
//! use tidegate::prelude::*;
//!
//! fn main() -> tidegate::Result<()> {
//!     let echo = websocket::upgrade(async |mut ws| {
//!         while let Some(message) = ws.recv().await? {
//!             ws.send(message).await?;
//!         }
//!         Ok(())
//!     });
//!     let app = Router::new().get("/plaintext", async |_request| "Hello, World!").get("/ws", echo);
//!     let server = Server::builder(app).bind("127.0.0.1:9001")?.start()?;
//!     println!("listening on {}", server.summary());
//!     server.run_until_signal(Shutdown::default())?;
//!     Ok(())
//! }
//! ```
//!
//! This package re-exports three others, each usable alone: [`engine`] (rings, flow control, connections; no protocol),
//! [`web`] (HTTP/1.1) and [`websocket`] (RFC 6455), and the two crates whose types their functions take: [`http`]
//! (methods, statuses, field names and values) and [`bytes`].
//!
//! # Features
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `compression` | yes | compression of WebSocket messages: permessage-deflate (RFC 7692), `Upgrade::compression` |
//! | `json` | no | JSON in requests and responses (`Request::json`, `Response::json`) and in WebSocket messages (`recv_json`, `send_json`), and WebSocket requests by method and path (`TextRoutes`) |
//! | `form` | no | queries and urlencoded forms as serde types (`query_as`, `form`) |
//! | `multipart` | no | forms with files (`Request::multipart`) |
//! | `cookies` | no | `RequestHead::cookies`, `Response::with_cookie` |
//! | `proxy` | no | `ServerBuilder::trusted_proxies` and `proxy_protocol`: the client behind proxies |
//! | `files` | no | the files of a folder as responses: `web::Files`, `Router::files` |
//! | `http-compression` | no | compressed responses: `web::Compressed`, with gzip and deflate; `http-compression-brotli` and `http-compression-zstd` add a coding each |
//! | `tls` | no | `https` and `wss`: `ServerBuilder::bind_tls`, `engine::Tls`, certificates of clients; `engine::TlsClient`, and `wss` URLs of WebSocket clients |
//! | `tls_aws_lc` | no | TLS with the cryptography of aws-lc-rs in place of ring |
//! | `futures` | no | `Stream` and `Sink` for WebSockets; `AsyncRead` and `AsyncWrite` of the futures crates for connections and WebSockets |
//! | `tokio` | no | a tokio runtime in handlers (`ServerBuilder::tokio`): timers, sockets, reqwest, sqlx; tokio's `AsyncRead` and `AsyncWrite` |
//! | `tower` | no | tower services as handlers, layers around handlers: `web::tower`, `Router::layer` |
//! | `axum` | no | axum applications on this server: `axum::serve`, `axum::server`; includes `tokio` and `tower` |
//! | `socks` | no | SOCKS5 proxies for WebSocket clients |
//! | `testing` | no | tests of applications without sockets and without waiting: `web::testing`, `websocket::testing`, `engine::testing` |
//! | `tungstenite` | no | conversions between `Message` and the messages of the `tungstenite` crate |
#![cfg_attr(tidegate_docs, feature(doc_cfg))]

// Modules rather than re-exported crates: the compiler then names `tidegate::web::Request` in its errors, not
// `tidegate::tidegate_http::Request`, which nobody can write.

/// The engine: workers, connections and flow control, without a protocol.
pub mod engine {
    #[doc(inline)]
    pub use tidegate_engine::*;
}

#[cfg(all(feature = "axum", unix))]
pub mod axum;

/// HTTP/1.1: server, router, requests and responses.
pub mod web {
    #[doc(inline)]
    pub use tidegate_http::*;
}

/// WebSockets (RFC 6455).
pub mod websocket {
    #[doc(inline)]
    pub use tidegate_websocket::*;
    // Named as well, because a glob drops the labels of features.
    #[cfg(feature = "compression")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
    #[doc(inline)]
    pub use tidegate_websocket::{CompressionLevel, CompressionStatus, DeflateConfig, WindowBits};
    #[cfg(feature = "json")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "json")))]
    #[doc(inline)]
    pub use tidegate_websocket::{IntoTextResponse, InvalidBody, TextRequest, TextResponse, TextRoutes};
    #[cfg(feature = "futures")]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "futures")))]
    #[doc(inline)]
    pub use tidegate_websocket::{MessageSink, MessageStream};
}

pub use engine::{Error, spawn_local};
pub use {bytes, http};

/// The result of starting and running a server.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// The names that most applications need, in one import.
// Stays last: of two paths of the same length, the compiler names the one declared first.
pub mod prelude {
    pub use crate::engine::{Config, EngineKind, HandlerPlacement, Shutdown};
    pub use crate::web::{self, HttpConfig, IntoResponse, Request, Response, Router, Server, sync_handler};
    pub use crate::websocket::{self, CloseCode, Hub, Message, MessageRef, PayloadRef, WebSocket, WebSocketConfig};
}

/// The blocks of the chapter on clients, compiled as this package's own are.
#[cfg(doctest)]
#[doc = include_str!("../docs/client.md")]
struct ClientChapter;

/// The blocks of the chapter on files.
#[cfg(doctest)]
#[doc = include_str!("../docs/files.md")]
struct FilesChapter;

/// The blocks of the guide.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;

/// The blocks of the chapter on proxies.
#[cfg(doctest)]
#[doc = include_str!("../docs/proxies.md")]
struct Proxies;

/// The blocks of the chapter on tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/testing.md")]
struct Testing;

/// The blocks of the chapter on a whole application.
#[cfg(doctest)]
#[doc = include_str!("../docs/app.md")]
struct App;

/// The blocks of the chapter on TLS.
#[cfg(doctest)]
#[doc = include_str!("../docs/tls.md")]
struct TlsGuide;

/// The blocks of the chapter on event handlers of WebSockets.
#[cfg(doctest)]
#[doc = include_str!("../docs/event-sessions.md")]
struct EventSessions;
