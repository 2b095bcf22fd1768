//! The server: handlers, routes, and the task that serves HTTP on each connection.
//!
//! Owns everything between the engine's connections and the application. The protocol machine decides about HTTP; the
//! engine owns sockets and threads.

pub(crate) mod builder;
pub(crate) mod config;
pub(crate) mod conn;
pub(crate) mod fallback;
pub(crate) mod handler;
pub(crate) mod handler_error;
pub(crate) mod handler_name;
mod launch;
mod logged;
mod nest;
pub(crate) mod on_response;
pub(crate) mod pattern;
#[cfg(feature = "proxy")]
mod proxied;
mod route;
pub(crate) mod route_handler;
pub(crate) mod router;
pub(crate) mod state_router;
pub(crate) mod status;
pub(crate) mod task;
#[cfg(feature = "tls")]
pub(crate) mod tls;

use crate::server::builder::ServerBuilder;
use crate::server::handler::Handler;

/// An HTTP server; [`builder`](Server::builder) is its only function.
///
/// ```no_run
/// use tidegate_http::{Request, Response, Router, Server};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let app = Router::new()
///     .get("/plaintext", |_req: Request| async { Response::text("Hello, World!") });
/// Server::builder(app).bind("127.0.0.1:9001")?.run()
/// # }
/// ```
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts configuring a server for `handler`, usually a [`Router`](crate::Router).
    pub fn builder<H: Handler>(handler: H) -> ServerBuilder<H> {
        ServerBuilder::new(handler)
    }
}
