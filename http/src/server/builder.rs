//! A server being put together: its handler, the addresses it is bound to, and the settings.
//!
//! Settings are checked when the server starts; the engine owns everything that runs.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;

use tidegate_engine::{Config, Engine, EngineKind, Error, HandlerPlacement, Running, Shutdown};

use crate::server::config::HttpConfig;
use crate::server::handler::Handler;
use crate::server::task::{Service, serve};

/// A server being put together.
pub struct ServerBuilder<H> {
    handler: H,
    http: HttpConfig,
    engine: Config,
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
            engine: Config::default(),
            shutdown: Shutdown::default(),
            addresses: Vec::new(),
            paths: Vec::new(),
            listeners: Vec::new(),
        }
    }

    /// Listens on a TCP address, and on all that it resolves to; port 0 asks for a free one. May be called several
    /// times. The socket is bound by [`start`](ServerBuilder::start).
    ///
    /// # Errors
    /// [`Error::Listen`] if the address does not resolve.
    pub fn bind(mut self, address: impl ToSocketAddrs + fmt::Debug) -> Result<Self, Error> {
        let resolved =
            address.to_socket_addrs().map_err(|source| Error::Listen { address: format!("{address:?}"), source })?;
        self.addresses.extend(resolved);
        Ok(self)
    }

    /// Listens on a Unix-domain socket to be made at this path.
    pub fn bind_unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Listens on a socket that was bound elsewhere, such as by systemd.
    pub fn bind_inherited(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// The engine to use. Default: io_uring where it can be had.
    pub fn engine(mut self, kind: EngineKind) -> Self {
        self.engine.engine = kind;
        self
    }

    /// The number of workers. Default 0: one for each core.
    pub fn workers(mut self, count: usize) -> Self {
        self.engine.workers = count;
        self
    }

    /// Where handlers run. Default: on a thread beside each worker, on its core.
    pub fn placement(mut self, placement: HandlerPlacement) -> Self {
        self.engine.placement = placement;
        self
    }

    /// All settings of the engine, in place of what was set before.
    pub fn config(mut self, config: Config) -> Self {
        self.engine = config;
        self
    }

    /// All settings of HTTP.
    pub fn http(mut self, config: HttpConfig) -> Self {
        self.http = config;
        self
    }

    /// What a signal does to [`run`](ServerBuilder::run). Default: 30 s for responses in flight, then force.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Starts serving and returns at once.
    ///
    /// # Errors
    /// A setting is out of its bounds, an address cannot be bound, or the engine cannot be had.
    pub fn start(self) -> Result<Running, Error> {
        self.http.limits.check().map_err(|error| tidegate_engine::ConfigError {
            setting: "http.limits",
            value: error.to_string(),
            rule: "see tidegate_http::Limits",
        })?;
        let mut engine = Engine::new(self.engine);
        for address in self.addresses {
            engine = engine.listen(address)?;
        }
        for path in self.paths {
            engine = engine.listen_unix(path)?;
        }
        for listener in self.listeners {
            engine = engine.listen_inherited(listener);
        }
        let service = Service::new(self.handler, self.http);
        engine.start(move |connection| serve(connection, &service))
    }

    /// Serves until SIGINT or SIGTERM, then shuts down gracefully; a second signal ends it at once.
    ///
    /// # Errors
    /// As [`start`](ServerBuilder::start), and if signal handlers cannot be installed.
    pub fn run(self) -> Result<(), Error> {
        let shutdown = self.shutdown;
        let report = self.start()?.run_until_signal(shutdown)?;
        log::info!("shut down: {} connections drained, {} reset", report.drained, report.forced);
        Ok(())
    }
}

impl<H> fmt::Debug for ServerBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("addresses", &self.addresses)
            .field("paths", &self.paths)
            .field("engine", &self.engine)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
