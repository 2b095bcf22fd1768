//! The builder of a server: its handler, its addresses, and its settings.
//!
//! Settings are checked when the server starts; the engine owns everything that runs.

use std::fmt;
use std::net::ToSocketAddrs;
#[cfg(unix)]
use std::path::PathBuf;
#[cfg(feature = "proxy")]
use std::sync::Arc;

use socket2::Socket;
#[cfg(feature = "proxy")]
use tidegate_engine::ConfigError;
use tidegate_engine::{Config, Engine, EngineKind, Error, HandlerPlacement, Running, Shutdown};

use crate::message::access_record::AccessLog;
#[cfg(feature = "proxy")]
use crate::proxy::trusted::{ForwardedFields, TrustedProxies};
use crate::server::config::HttpConfig;
use crate::server::handler::Handler;
use crate::server::logged::LoggedHandler;
#[cfg(feature = "proxy")]
use crate::server::proxied::{ProxiedService, serve_proxied};
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
    /// The addresses. It gets its settings when it starts.
    engine: Engine,
    config: Config,
    /// The three settings of `config` that have setters here. They override it, whichever is called first.
    kind: Option<EngineKind>,
    workers: Option<usize>,
    placement: Option<HandlerPlacement>,
    shutdown: Shutdown,
    #[cfg(feature = "proxy")]
    proxies: Proxies,
}

/// The settings for proxies.
#[cfg(feature = "proxy")]
#[derive(Default)]
struct Proxies {
    trusted: TrustedProxies,
    /// The listeners that expect the PROXY protocol, by number.
    proxy_protocol: Vec<bool>,
    /// The number of the first listener that the last call added.
    last_call: usize,
}

impl<H: Handler> ServerBuilder<H> {
    pub(crate) fn new(handler: H) -> Self {
        ServerBuilder {
            handler,
            http: HttpConfig::default(),
            engine: Engine::new(Config::default()),
            config: Config::default(),
            kind: None,
            workers: None,
            placement: None,
            shutdown: Shutdown::default(),
            #[cfg(feature = "proxy")]
            proxies: Proxies::default(),
        }
    }

    /// Adds a TCP address, or all that a name resolves to; port 0 asks for a free port, which
    /// [`Running::local_addr`] returns. The sockets are bound by [`start`](ServerBuilder::start). A port that another
    /// server has is an error, unless both set [`Config::reuse_port`].
    ///
    /// # Errors
    /// [`Error::Bind`] if the address does not resolve.
    pub fn bind(mut self, address: impl ToSocketAddrs + fmt::Debug) -> Result<Self, Error> {
        self.begin_listeners();
        self.engine = self.engine.bind(address)?;
        Ok(self)
    }

    /// Adds a Unix-domain socket (unix(7)), which [`start`](ServerBuilder::start) creates at `path`, or at the abstract
    /// name behind an `@` (`@name`). A socket file on which nobody listens any more is replaced; one in use is an
    /// error. The file is removed when the server stops listening. [`Config::unix_mode`] sets its permissions:
    ///
    /// ```no_run
    /// use tidegate_engine::Config;
    /// use tidegate_http::{Request, Router, Server};
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let app = Router::new().get("/health", |_req: Request| async { "ok" });
    /// Server::builder(app).bind_unix("/run/app.sock").config(Config::default().unix_mode(0o660)).run()
    /// # }
    /// ```
    #[cfg(unix)]
    pub fn bind_unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.begin_listeners();
        self.engine = self.engine.bind_unix(path);
        self
    }

    /// Adds a socket that already listens, such as one of a parent process: a `TcpListener`, a `UnixListener` or an
    /// `OwnedFd`. See [`Engine::bind_inherited`] for what happens to its options.
    pub fn bind_inherited(mut self, listener: impl Into<Socket>) -> Self {
        self.begin_listeners();
        self.engine = self.engine.bind_inherited(listener);
        self
    }

    /// Adds the sockets, TCP or Unix, that systemd or another manager passed to this process (`LISTEN_FDS`,
    /// sd_listen_fds(3)). They can be taken once.
    ///
    /// ```no_run
    /// use tidegate_http::{Request, Router, Server};
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let app = Router::new().get("/health", |_req: Request| async { "ok" });
    /// Server::builder(app).bind_systemd()?.run()
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Bind`] if none were passed, or one does not listen.
    #[cfg(target_os = "linux")]
    pub fn bind_systemd(mut self) -> Result<Self, Error> {
        self.begin_listeners();
        self.engine = self.engine.bind_systemd()?;
        Ok(self)
    }

    /// Sets the engine. Overrides [`Config::engine`]. Default: io_uring if it is available, std sockets otherwise.
    pub fn engine(mut self, kind: EngineKind) -> Self {
        self.kind = Some(kind);
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

    /// Sets the log of requests and their answers, as [`HttpConfig::access_log`](field@HttpConfig::access_log) does.
    /// Default: none.
    pub fn access_log(mut self, log: AccessLog) -> Self {
        self.http.access_log = Some(log);
        self
    }

    /// Sets how [`run`](ServerBuilder::run) shuts down after a signal. Default: responses in flight have 30 s to
    /// complete.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Believes what these proxies say about their clients, in addition to those named before: networks such as
    /// `10.0.0.0/8`, addresses, and `unix` for all Unix-domain sockets. Default: none.
    ///
    /// [`client_addr`](crate::RequestHead::client_addr), [`client_scheme`](crate::RequestHead::client_scheme) and
    /// [`client_host`](crate::RequestHead::client_host) then answer for the client, and so does the origin check of
    /// WebSockets. [`forwarded_fields`](ServerBuilder::forwarded_fields) chooses the fields.
    ///
    /// Only name proxies that replace or extend these fields in every request: others pass on what the client made up.
    ///
    /// # Errors
    /// [`Error::Config`] if one is not a network, an address or `unix`.
    #[cfg(feature = "proxy")]
    pub fn trusted_proxies<P: AsRef<str>>(mut self, proxies: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        for proxy in proxies {
            self.proxies.trusted.add(proxy.as_ref())?;
        }
        Ok(self)
    }

    /// Sets which fields the trusted proxies set. Default: [`ForwardedFields::Either`].
    #[cfg(feature = "proxy")]
    pub fn forwarded_fields(mut self, fields: ForwardedFields) -> Self {
        self.proxies.trusted.fields = fields;
        self
    }

    /// Makes the listeners that the last `bind` call added expect the PROXY protocol, version 1 or 2, at the beginning
    /// of each connection. A connection that does not come from a trusted proxy, or does not begin with a header within
    /// [`header_timeout`](field@HttpConfig::header_timeout), is reset.
    ///
    /// ```no_run
    /// use tidegate_http::{Request, Server};
    ///
    /// # fn main() -> Result<(), tidegate_engine::Error> {
    /// let app = async |request: Request| format!("{:?}", request.client_addr());
    /// Server::builder(app)
    ///     .bind("127.0.0.1:9001")? // without
    ///     .bind("0.0.0.0:9002")?
    ///     .proxy_protocol()
    ///     .trusted_proxies(["10.0.0.0/8"])?
    ///     .run()
    /// # }
    /// ```
    ///
    /// [`proxy_header`](crate::RequestHead::proxy_header) returns the header.
    #[cfg(feature = "proxy")]
    pub fn proxy_protocol(mut self) -> Self {
        self.proxies.proxy_protocol.resize(self.proxies.last_call, false);
        self.proxies.proxy_protocol.resize(self.engine.bound_listeners(), true);
        self
    }

    /// Starts serving and returns at once.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of range, [`Error::Bind`] for an address that cannot be bound,
    /// [`Error::NoListener`] without an address, and the others of [`Error`] if the engine cannot be started.
    pub fn start(self) -> Result<Running, Error> {
        self.http.check()?;
        let config = self.engine_config();
        #[cfg(feature = "proxy")]
        if !self.proxies.trusted.is_empty() || !self.proxies.proxy_protocol.is_empty() {
            return self.start_proxied(config);
        }
        if self.http.access_log.is_some() {
            let service = HttpService::new(LoggedHandler(Box::new(self.handler)), self.http);
            return self.engine.config(config).start(move |connection| serve(connection, &service));
        }
        let service = HttpService::new(self.handler, self.http);
        self.engine.config(config).start(move |connection| serve(connection, &service))
    }

    #[cfg(feature = "proxy")]
    fn start_proxied(self, config: Config) -> Result<Running, Error> {
        let Proxies { trusted, proxy_protocol, .. } = self.proxies;
        if trusted.is_empty() {
            let rule = "the proxies that may use the PROXY protocol";
            return Err(ConfigError::new("trusted_proxies", "[]", rule).into());
        }
        let handler: Box<dyn Handler> = match self.http.access_log {
            Some(_) => Box::new(LoggedHandler(Box::new(self.handler))),
            None => Box::new(self.handler),
        };
        let service = Arc::new(ProxiedService::new(handler, self.http, trusted, proxy_protocol));
        self.engine.config(config).start(move |connection| serve_proxied(connection, Arc::clone(&service)))
    }

    /// Notes that a call begins to add listeners.
    fn begin_listeners(&mut self) {
        #[cfg(feature = "proxy")]
        {
            self.proxies.last_call = self.engine.bound_listeners();
        }
    }

    /// Serves until SIGINT or SIGTERM, then shuts down gracefully. A second signal ends it at once.
    ///
    /// # Errors
    /// As [`start`](ServerBuilder::start); [`Error::Signal`] if signal handlers cannot be installed, and
    /// [`Error::WorkerFailed`] if a worker failed.
    pub fn run(self) -> Result<(), Error> {
        let shutdown = self.shutdown;
        let report = self.start()?.run_until_signal(shutdown)?;
        log::info!("shut down: {} connections drained, {} reset", report.drained, report.forced);
        Ok(())
    }

    fn engine_config(&self) -> Config {
        let mut config = self.config.clone();
        config.engine = self.kind.unwrap_or(config.engine);
        config.workers = self.workers.unwrap_or(config.workers);
        config.placement = self.placement.unwrap_or(config.placement);
        config
    }
}

impl<H> fmt::Debug for ServerBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).field("http", &self.http).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::router::Router;

    #[test]
    fn settings_do_not_depend_on_the_order_of_calls() {
        let config = Config::default().workers(7).backlog(5);
        let before = ServerBuilder::new(Router::new()).workers(2).engine(EngineKind::Portable).config(config.clone());
        let after = ServerBuilder::new(Router::new()).config(config.clone()).engine(EngineKind::Portable).workers(2);
        for builder in [before, after] {
            let merged = builder.engine_config();
            assert_eq!((merged.workers, merged.backlog, merged.engine), (2, 5, EngineKind::Portable));
            assert_eq!(merged.placement, config.placement);
        }
        let without = ServerBuilder::new(Router::new()).config(config).engine_config();
        assert_eq!((without.workers, without.backlog), (7, 5));
    }
}
