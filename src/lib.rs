//! Tidegate: a Linux io_uring thread-per-core HTTP/1.1 and WebSocket engine, for applications that hold very many
//! connections. Where io_uring is not available, the same handlers run unchanged on std sockets.
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
//! | `proxy` | no | `ServerBuilder::trusted_proxies` and `proxy_protocol`: the client behind proxies |
//! | `cookies` | no | `RequestHead::cookies`, `Response::with_cookie` |
//! | `futures` | no | `Stream` and `Sink` for WebSockets |
//! | `tungstenite` | no | conversions between `Message` and the messages of the `tungstenite` crate |

// Modules rather than re-exported crates: the compiler then names `tidegate::web::Request` in its errors, not
// `tidegate::tidegate_http::Request`, which nobody can write.

/// The engine: workers, connections and flow control, without a protocol.
pub mod engine {
    #[doc(inline)]
    pub use tidegate_engine::*;
}

/// HTTP/1.1: server, router, requests and responses.
pub mod web {
    #[doc(inline)]
    pub use tidegate_http::*;
}

/// WebSockets (RFC 6455).
pub mod websocket {
    #[doc(inline)]
    pub use tidegate_websocket::*;
}

pub use engine::Error;
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

/// The guide's blocks, compiled as this package's own are.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
