//! The builder of a server: its handler, its addresses, and its settings.
//!
//! Settings are checked when the server starts; the engine owns everything that runs.

use std::fmt;
use std::net::ToSocketAddrs;
#[cfg(unix)]
use std::path::PathBuf;

use socket2::Socket;
#[cfg(feature = "testing")]
use tidegate_engine::testing::{TestConfig, TestEngine};
use tidegate_engine::{Config, Engine, EngineKind, Error, HandlerPlacement, Running, Shutdown, ThreadHooks};

use crate::message::access_record::AccessLog;
use crate::message::response::Response;
#[cfg(feature = "proxy")]
use crate::proxy::trusted::{ForwardedFields, TrustedProxies};
use crate::server::config::HttpConfig;
use crate::server::handler::Handler;
#[cfg(feature = "testing")]
use crate::server::launch::InMemory;
use crate::server::launch::{Launch, Start};
use crate::server::on_response::{Observed, OnResponse, RequestInfo};
#[cfg(feature = "tls")]
use crate::server::tls::Hsts;

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
    pub(super) engine: Engine,
    config: Config,
    /// The three settings of `config` that have setters here. They override it, whichever is called first.
    kind: Option<EngineKind>,
    workers: Option<usize>,
    placement: Option<HandlerPlacement>,
    /// Hooks inside those of `config`.
    thread_hooks: ThreadHooks,
    on_response: Option<OnResponse>,
    #[cfg(feature = "tls")]
    pub(super) hsts: Option<Hsts>,
    shutdown: Shutdown,
    #[cfg(feature = "proxy")]
    proxies: Proxies,
}

/// The settings for proxies.
#[cfg(feature = "proxy")]
#[derive(Default)]
pub(super) struct Proxies {
    pub(super) trusted: TrustedProxies,
    /// The listeners that expect the PROXY protocol, by number.
    pub(super) proxy_protocol: Vec<bool>,
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
            thread_hooks: ThreadHooks::default(),
            on_response: None,
            #[cfg(feature = "tls")]
            hsts: None,
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

    /// Sets the engine. Overrides [`Config::engine`]. Default: io_uring if it is available, otherwise the portable
    /// engine.
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

    /// Calls `observe` for every response before it is sent, whoever made it: handlers and middleware, or the server
    /// itself, which answers requests that it refuses (400, 408, 413, 431 and others), panics (500), handlers that take
    /// too long (503) and upgrades that are not possible (426). It can change the status and the fields: for logs, ids
    /// and fields that no response can be without. Of several calls the last one counts.
    ///
    /// It runs on the connection's thread and must not block. A panic in it is only logged. While none is set, nothing
    /// is done for it. The content of the server's own answers can be replaced by other bytes, not by a stream.
    ///
    /// ```
    /// use http::{HeaderValue, header};
    /// use tidegate_http::{Request, RequestInfo, Response, Router, Server};
    ///
    /// let app = Router::new().get("/", async |_request: Request| "Hello");
    /// let server = Server::builder(app).on_response(|request: &RequestInfo, response: &mut Response| {
    ///     let target = request.head().map_or("?", |head| head.target());
    ///     println!("{:?} {target} {}", request.peer_addr(), response.status());
    ///     response.set_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    /// });
    /// ```
    pub fn on_response(mut self, observe: impl Fn(&RequestInfo, &mut Response) + Send + Sync + 'static) -> Self {
        self.on_response = Some(OnResponse::new(observe));
        self
    }

    /// Calls `start` on each thread that runs handlers, before [`start`](ServerBuilder::start) returns, and drops its
    /// result when the thread ends. Can be called several times; see [`ThreadHooks`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tidegate_engine::{spawn_local, time};
    /// use tidegate_http::{Request, Router, Server};
    ///
    /// let app = Router::new().get("/", async |_request: Request| "Hello");
    /// let server = Server::builder(app).on_handler_thread_start(|| {
    ///     spawn_local(async {
    ///         loop {
    ///             time::sleep(Duration::from_secs(60)).await;
    ///             println!("one more minute");
    ///         }
    ///     });
    /// });
    /// ```
    pub fn on_handler_thread_start<G>(mut self, start: impl Fn() -> G + Send + Sync + 'static) -> Self {
        self.thread_hooks = self.thread_hooks.on_start(start);
        self
    }

    /// Enters a tokio runtime on each thread that runs handlers, so that tokio's timers, sockets, `spawn` and
    /// `spawn_blocking` work in handlers, and with them crates such as reqwest and sqlx. See [`ThreadHooks::tokio`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use tidegate_http::{Request, Router, Server};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), tidegate_engine::Error> {
    ///     let app = Router::new().get("/", async |_request: Request| {
    ///         tokio::time::sleep(Duration::from_millis(1)).await;
    ///         "Hello"
    ///     });
    ///     let runtime = tokio::runtime::Handle::current();
    ///     let running = Server::builder(app).bind("127.0.0.1:9001")?.tokio(runtime).start()?;
    ///     running.stopped().await;
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "tokio")]
    pub fn tokio(mut self, runtime: tokio::runtime::Handle) -> Self {
        self.thread_hooks = self.thread_hooks.tokio(runtime);
        self
    }

    /// As [`tokio`](ServerBuilder::tokio), with a new runtime of two threads that ends with the server.
    ///
    /// # Errors
    /// If the runtime cannot be created.
    #[cfg(feature = "tokio")]
    pub fn tokio_default(mut self) -> Result<Self, Error> {
        self.thread_hooks = self.thread_hooks.tokio_default().map_err(Error::Worker)?;
        Ok(self)
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
        self.launch(Engine::config)
    }

    /// Starts serving in memory.
    #[cfg(feature = "testing")]
    pub(crate) fn start_in_memory(self, network: TestConfig) -> Result<TestEngine, Error> {
        self.launch(|_, config| InMemory { config, network })
    }

    /// Starts serving on the engine that `ready` makes of the addresses and the settings.
    fn launch<L: Launch>(self, ready: impl FnOnce(Engine, Config) -> L) -> Result<L::Running, Error> {
        self.http.check()?;
        let config = self.engine_config();
        let on_response = self.on_response;
        #[cfg(feature = "tls")]
        let on_response = match self.hsts {
            Some(hsts) => Some(hsts.before(on_response)),
            None => on_response,
        };
        let http = self.http.with_on_response(on_response);
        let start = Start {
            engine: ready(self.engine, config),
            #[cfg(feature = "proxy")]
            proxies: self.proxies,
        };
        match http.observer() {
            None => start.with(self.handler, http),
            Some(on_response) => {
                let handler = Observed::new(self.handler, on_response.clone());
                start.with(handler, http)
            }
        }
    }

    /// Notes that a call begins to add listeners.
    fn begin_listeners(&mut self) {
        #[cfg(feature = "proxy")]
        {
            self.proxies.last_call = self.engine.bound_listeners();
        }
    }

    /// Serves until SIGINT or SIGTERM, then shuts down gracefully. A second signal resets the connections still open.
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
        config.thread_hooks = config.thread_hooks.with(self.thread_hooks.clone());
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
