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
//! [`web`] (HTTP/1.1) and [`websocket`] (RFC 6455), and the two crates whose types their functions take: [`http`]
//! (methods, statuses, field names and values) and [`bytes`].
//!
//! Features, none of them on by default: `json` (WebSocket messages as JSON, and text request routes), `futures`
//! (`Stream` and `Sink` for WebSockets), `tungstenite` (messages to and from those of that crate).

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
