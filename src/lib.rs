//! Tidegate: a Linux io_uring thread-per-core HTTP/1.1 and WebSocket engine, for applications that hold very many
//! connections; the same handlers run unchanged on std sockets where io_uring cannot be had.
//!
//! ```no_run
//! use tidegate::prelude::*;
//!
//! fn main() -> tidegate::Result<()> {
//!     let app = Router::new()
//!         .get("/plaintext", |_req: Request| async { Response::text("Hello, World!") })
//!         .get("/ws", websocket::upgrade(|mut ws: WebSocket| async move {
//!             while let Some(message) = ws.recv().await? { ws.send(message).await?; }
//!             Ok(())
//!         }));
//!     let server = Server::builder(app).bind("127.0.0.1:9001")?.start()?;
//!     println!("listening on {}", server.summary());
//!     server.run_until_signal(Shutdown::default())?;
//!     Ok(())
//! }
//! ```
//!
//! This package re-exports three others, each usable alone: [`engine`] (rings, flow control, connections; no protocol),
//! [`http`] (HTTP/1.1) and [`websocket`] (RFC 6455).
//!
//! Features, none of them on by default: `json` (WebSocket messages as JSON, and text request routes), `futures` (`Stream`
//! and `Sink` for WebSockets), `tungstenite` (messages to and from those of that crate).

pub use tidegate_engine as engine;
pub use tidegate_http as http;
pub use tidegate_websocket as websocket;

pub use engine::Error;

/// What starting and running a server returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What most applications need, in one line.
pub mod prelude {
    pub use crate::engine::{Config, EngineKind, HandlerPlacement, Shutdown};
    pub use crate::http::{IntoResponse, Request, Response, Router, Server, sync_handler};
    pub use crate::websocket::{self, CloseCode, Hub, Message, MessageRef, PayloadRef, WebSocket, WebSocketConfig};
}

/// The guide's blocks, compiled as this package's own are.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
struct Guide;
