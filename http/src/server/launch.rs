//! The start of a server: its handler is wrapped as the settings ask for, and given to an engine.

use std::future::Future;
#[cfg(feature = "proxy")]
use std::sync::Arc;

#[cfg(feature = "testing")]
use tidegate_engine::Config;
#[cfg(feature = "proxy")]
use tidegate_engine::ConfigError;
#[cfg(feature = "testing")]
use tidegate_engine::testing::{TestConfig, TestEngine};
use tidegate_engine::{Connection, Engine, Error, Running};

#[cfg(feature = "proxy")]
use crate::server::builder::Proxies;
use crate::server::config::HttpConfig;
use crate::server::handler::Handler;
use crate::server::logged::LoggedHandler;
#[cfg(feature = "proxy")]
use crate::server::proxied::{ProxiedService, serve_proxied};
use crate::server::task::{HttpService, serve};

/// An engine that is ready to start.
pub(super) trait Launch {
    type Running;

    fn launch<H, F>(self, handler: H) -> Result<Self::Running, Error>
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static;
}

impl Launch for Engine {
    type Running = Running;

    fn launch<H, F>(self, handler: H) -> Result<Running, Error>
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.start(handler)
    }
}

/// The engine in memory with its settings.
#[cfg(feature = "testing")]
pub(super) struct InMemory {
    pub(super) config: Config,
    pub(super) network: TestConfig,
}

#[cfg(feature = "testing")]
impl Launch for InMemory {
    type Running = TestEngine;

    fn launch<H, F>(self, handler: H) -> Result<TestEngine, Error>
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + 'static,
    {
        TestEngine::start(self.config, self.network, handler)
    }
}

/// What a server needs to start besides its handler and the settings of HTTP.
pub(super) struct Start<L> {
    pub(super) engine: L,
    #[cfg(feature = "proxy")]
    pub(super) proxies: Proxies,
}

impl<L: Launch> Start<L> {
    pub(super) fn with<H: Handler>(self, handler: H, http: HttpConfig) -> Result<L::Running, Error> {
        #[cfg(feature = "proxy")]
        if !self.proxies.trusted.is_empty() || !self.proxies.proxy_protocol.is_empty() {
            return self.with_proxies(Box::new(handler), http);
        }
        if http.access_log.is_some() {
            let service = HttpService::new(LoggedHandler(Box::new(handler)), http);
            return self.engine.launch(move |connection| serve(connection, &service));
        }
        let service = HttpService::new(handler, http);
        self.engine.launch(move |connection| serve(connection, &service))
    }

    #[cfg(feature = "proxy")]
    fn with_proxies(self, handler: Box<dyn Handler>, http: HttpConfig) -> Result<L::Running, Error> {
        let Proxies { trusted, proxy_protocol, .. } = self.proxies;
        if trusted.is_empty() {
            let rule = "the proxies that may use the PROXY protocol";
            return Err(ConfigError::new("trusted_proxies", "[]", rule).into());
        }
        let handler: Box<dyn Handler> = match http.access_log {
            Some(_) => Box::new(LoggedHandler(handler)),
            None => handler,
        };
        let service = Arc::new(ProxiedService::new(handler, http, trusted, proxy_protocol));
        self.engine.launch(move |connection| serve_proxied(connection, Arc::clone(&service)))
    }
}
