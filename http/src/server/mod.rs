//! The server: a handler, the addresses it is bound to, and the engine that runs it.
//!
//! Owns the putting together; the engine owns everything that runs. Settings are checked when it starts.

pub(crate) mod builder;
pub(crate) mod config;
pub(crate) mod conn;
pub(crate) mod handler;
pub(crate) mod pattern;
pub(crate) mod router;
pub(crate) mod task;

use crate::server::builder::ServerBuilder;
use crate::server::handler::Handler;

/// An HTTP server.
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
    /// A server of this handler, usually a [`Router`](crate::Router), to be bound and started.
    pub fn builder<H: Handler>(handler: H) -> ServerBuilder<H> {
        ServerBuilder::new(handler)
    }
}
