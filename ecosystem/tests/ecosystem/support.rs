//! Servers under test: every engine and placement, and hyper.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use tidegate::engine::Running;
use tidegate::prelude::*;
use tidegate::web::{Handler, ServerBuilder};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Maximum duration of a wait before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Completes when a timer of the tokio runtime has woken this task, which is what the tests check. Panics outside of a
/// runtime.
pub async fn woken_by_a_timer_of_tokio() {
    let timeout = tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>());
    timeout.await.expect_err("the future never completes");
}

/// One engine and placement under test.
#[derive(Clone)]
pub struct Setup {
    pub name: &'static str,
    config: Config,
}

/// Returns io_uring and the portable engine, each with handlers on their own thread and inline.
pub fn setups() -> Vec<Setup> {
    let table = [
        ("uring/same-core", EngineKind::Uring, HandlerPlacement::SameCore),
        ("uring/inline", EngineKind::Uring, HandlerPlacement::Inline),
        ("portable/same-core", EngineKind::Portable, HandlerPlacement::SameCore),
        ("portable/inline", EngineKind::Portable, HandlerPlacement::Inline),
    ];
    let setup = |(name, engine, placement)| {
        let config = Config::default().engine(engine).placement(placement).workers(1).pin(false);
        Setup { name, config }
    };
    table.into_iter().map(setup).collect()
}

/// A server of this crate under test, on a free port of loopback. It shuts down when it is dropped.
pub struct TestServer {
    running: Option<Running>,
    pub address: SocketAddr,
}

impl TestServer {
    /// Serves a handler inside the current tokio runtime.
    pub fn start(setup: &Setup, handler: impl Handler) -> Self {
        Self::of(setup, Server::builder(handler).tokio(Handle::current()))
    }

    /// Starts a server that is built except for its address and engine.
    pub fn of<H: Handler>(setup: &Setup, builder: ServerBuilder<H>) -> Self {
        let builder = builder.bind("127.0.0.1:0").expect("loopback resolves").config(setup.config.clone());
        let running = builder.start().expect("the server starts");
        let address = running.local_addr().expect("a TCP address");
        Self { running: Some(running), address }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the number of connections whose receiving is paused for backpressure.
    pub fn paused(&self) -> u64 {
        self.running.iter().flat_map(Running::stats).map(|worker| worker.paused).sum()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown(Shutdown::immediate());
        }
    }
}

/// Runs `test` on every engine and placement. The last name printed is the one that failed.
pub async fn on_every_engine(test: impl AsyncFn(Setup)) {
    for setup in setups() {
        println!("on {}", setup.name);
        tokio::time::timeout(PATIENCE, test(setup)).await.expect("the test hangs");
    }
}

/// Where an axum application is served.
pub struct Site {
    pub address: SocketAddr,
}

impl Site {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn ws_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

/// Runs `test` on an axum application: served by `axum::serve` on hyper, by `tidegate::axum::serve`, and by this crate
/// on every engine and placement. `app` is called for each.
pub async fn on_every_server(app: impl Fn() -> axum::Router, test: impl AsyncFn(Site)) {
    for tidegate in [false, true] {
        let name = if tidegate { "tidegate::axum::serve" } else { "axum::serve" };
        println!("on {name}");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let app = app().into_make_service_with_connect_info::<SocketAddr>();
        let (stop, stopped) = oneshot::channel::<()>();
        let signal = async { _ = stopped.await };
        let server = match tidegate {
            true => {
                let drain = Duration::from_millis(100);
                tokio::spawn(
                    tidegate::axum::serve(listener, app)
                        .with_graceful_shutdown(signal)
                        .drain_timeout(drain)
                        .into_future(),
                )
            }
            false => tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(signal).into_future()),
        };
        tokio::time::timeout(PATIENCE, test(Site { address })).await.expect("the test hangs");
        drop(stop);
        // hyper waits for its clients without a bound.
        match tidegate {
            true => server.await.expect("the server ends").expect("without an error"),
            false => server.abort(),
        }
    }
    for setup in setups() {
        println!("on {}", setup.name);
        let app = app().into_make_service_with_connect_info::<SocketAddr>();
        let server = TestServer::of(&setup, tidegate::axum::server(app));
        let site = Site { address: server.address };
        tokio::time::timeout(PATIENCE, test(site)).await.expect("the test hangs");
    }
}

/// A client without proxies, redirects and decompression.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    // A connection of one test's runtime must not be used by another test.
    CLIENT.get_or_init(|| {
        let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        builder.pool_max_idle_per_host(0).timeout(PATIENCE).build().expect("a client")
    })
}

/// Returns the status and the text of a GET.
pub async fn get(url: String) -> (u16, String) {
    let response = client().get(url).send().await.expect("a response");
    (response.status().as_u16(), response.text().await.expect("text"))
}
