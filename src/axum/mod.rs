//! axum applications on this server (feature `axum`).
//!
//! [`serve`](serve()) takes the place of `axum::serve`; nothing else of an application changes:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new().route("/", get(|| async { "Hello, World!" }));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     tidegate::axum::serve(listener, app).await
//! }
//! ```
//!
//! [`server`] gives this crate's own builder instead, with its engines, placements, workers and addresses.
//!
//! Handlers run on the threads of the engine, inside the tokio runtime that calls `serve`. What they spawn runs on the
//! runtime's threads. axum's own `WebSocketUpgrade` works; [`WebSocketUpgrade`] of this module has the same shape and
//! gives this crate's [`WebSocket`](crate::websocket::WebSocket), which stays on the connection's thread and costs
//! less. The guide lists what differs from hyper.

mod app;
mod handshake;
mod incoming;
mod listener;
mod serve;
mod upgrade_io;
mod websocket;

pub use app::{App, server};
pub use incoming::IncomingStream;
pub use listener::Listener;
pub use serve::{Serve, ServeFuture, WithGracefulShutdown, serve};
pub use websocket::{Outcome, UpgradeRejection, WebSocketUpgrade};
