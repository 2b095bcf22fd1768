//! The builder of a server: its handler, its addresses, and its settings.
//!
//! Settings are checked when the server starts; the engine owns everything that runs.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;

use tidegate_engine::{Config, Engine, EngineKind, Error, HandlerPlacement, Running, Shutdown};

use crate::server::config::HttpConfig;
use crate::server::handler::Handler;
use crate::server::task::{HttpService, serve};

/// A server being configured, from [`Server::builder`](crate::Server::builder).
///
/// Bind at least one address, then call [`run`](ServerBuilder::run), which serves until SIGINT or SIGTERM, or
/// [`start`](ServerBuilder::start), which returns at once. The order of the other calls does not matter.
///
/// ```no_run
/// use std::time::Duration;
///
/// use tidegate_engine::{Config, HandlerPlacement};
/// use tidegate_http::{HttpConfig, Request, Router, Server};
///
/// # fn main() -> Result<(), tidegate_engine::Error> {
/// let app = Router::new().get("/health", |_req: Request| async { "ok" });
/// Server::builder(app)
///     .bind("0.0.0.0:9001")?
///     .bind_unix("/run/app.sock")
///     .workers(4)
///     .placement(HandlerPlacement::Inline)
///     .config(Config::default().connections_max(100_000))
///     .http(HttpConfig::default().header_timeout(Duration::from_secs(5)))
///     .run()
/// # }
/// ```
#[must_use = "a server does nothing until `run` or `start` is called"]
pub struct ServerBuilder<H> {
    handler: H,
    http: HttpConfig,
    config: Config,
    /// The three settings of `config` that have setters here. They override it, whichever is called first.
    engine: Option<EngineKind>,
    workers: Option<usize>,
    placement: Option<HandlerPlacement>,
    shutdown: Shutdown,
    addresses: Vec<SocketAddr>,
    paths: Vec<PathBuf>,
    listeners: Vec<TcpListener>,
}

impl<H: Handler> ServerBuilder<H> {
    pub(crate) fn new(handler: H) -> Self {
        ServerBuilder {
            handler,
            http: HttpConfig::default(),
            config: Config::default(),
            engine: None,
            workers: None,
            placement: None,
            shutdown: Shutdown::default(),
            addresses: Vec::new(),
            paths: Vec::new(),
            listeners: Vec::new(),
        }
    }

    /// Adds a TCP address, or all that a name resolves to; port 0 asks for a free port. The sockets are bound by
    /// [`start`](ServerBuilder::start).
    ///
    /// # Errors
    /// [`Error::Bind`] if the address does not resolve.
    pub fn bind(mut self, address: impl ToSocketAddrs + fmt::Debug) -> Result<Self, Error> {
        let resolved = address.to_socket_addrs().map_err(|error| Error::bind(format!("{address:?}"), error))?;
        self.addresses.extend(resolved);
        Ok(self)
    }

    /// Adds a Unix-domain socket at this path, which [`start`](ServerBuilder::start) creates.
    pub fn bind_unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Adds a listening socket that is bound already, such as one inherited from systemd.
    pub fn bind_inherited(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Sets the engine. Overrides [`Config::engine`]. Default: io_uring if it is available, std sockets otherwise.
    pub fn engine(mut self, kind: EngineKind) -> Self {
        self.engine = Some(kind);
        self
    }

    /// Sets the number of workers. Overrides [`Config::workers`]. Default 0: one for each core.
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = Some(count);
        self
    }

    /// Sets where handlers run. Overrides [`Config::placement`]. Default: on one thread per worker, on the worker's
    /// core.
    pub fn placement(mut self, placement: HandlerPlacement) -> Self {
        self.placement = Some(placement);
        self
    }

    /// Sets all settings of the engine, except those set by [`engine`](ServerBuilder::engine),
    /// [`workers`](ServerBuilder::workers) and [`placement`](ServerBuilder::placement), before or after this call.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets all settings of HTTP.
    pub fn http(mut self, config: HttpConfig) -> Self {
        self.http = config;
        self
    }

    /// Sets how [`run`](ServerBuilder::run) shuts down after a signal. Default: responses in flight have 30 s to
    /// complete.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Starts serving and returns at once.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range, [`Error::Bind`] for an address that cannot be bound,
    /// [`Error::NoListener`] without an address, and the others of [`Error`] if the engine cannot be started.
    pub fn start(self) -> Result<Running, Error> {
        self.http.check()?;
        let mut engine = Engine::new(self.engine_config());
        for address in self.addresses {
            engine = engine.bind(address)?;
        }
        for path in self.paths {
            engine = engine.bind_unix(path);
        }
        for listener in self.listeners {
            engine = engine.bind_inherited(listener);
        }
        let service = HttpService::new(self.handler, self.http);
        engine.start(move |connection| serve(connection, &service))
    }

    /// Serves until SIGINT or SIGTERM, then shuts down gracefully. A second signal ends it at once.
    ///
    /// # Errors
    /// As [`start`](ServerBuilder::start), and if signal handlers cannot be installed.
    pub fn run(self) -> Result<(), Error> {
        let shutdown = self.shutdown;
        let report = self.start()?.run_until_signal(shutdown)?;
        log::info!("shut down: {} connections drained, {} reset", report.drained, report.forced);
        Ok(())
    }

    fn engine_config(&self) -> Config {
        let mut config = self.config.clone();
        config.engine = self.engine.unwrap_or(config.engine);
        config.workers = self.workers.unwrap_or(config.workers);
        config.placement = self.placement.unwrap_or(config.placement);
        config
    }
}

impl<H> fmt::Debug for ServerBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("addresses", &self.addresses)
            .field("paths", &self.paths)
            .field("config", &self.config)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::router::Router;

    #[test]
    fn settings_do_not_depend_on_the_order_of_calls() {
        let config = Config::default().workers(7).backlog(5);
        let before = ServerBuilder::new(Router::new()).workers(2).engine(EngineKind::Std).config(config.clone());
        let after = ServerBuilder::new(Router::new()).config(config.clone()).engine(EngineKind::Std).workers(2);
        for builder in [before, after] {
            let merged = builder.engine_config();
            assert_eq!((merged.workers, merged.backlog, merged.engine), (2, 5, EngineKind::Std));
            assert_eq!(merged.placement, config.placement);
        }
        let without = ServerBuilder::new(Router::new()).config(config).engine_config();
        assert_eq!((without.workers, without.backlog), (7, 5));
    }
}
