//! In-process servers on every engine and placement, for tests that use only their address.

use std::net::SocketAddr;

use tidegate::engine::Running;
use tidegate::prelude::*;
use tidegate::web::{ServerBuilder, SharedAcrossThreads};
use tidegate::websocket::{EventHandler, EventSocket};

/// One engine and placement under test.
#[derive(Clone)]
pub struct Setup {
    pub name: &'static str,
    pub config: Config,
    /// Echoes are event handlers, otherwise async ones.
    pub events: bool,
}

/// Returns every engine with every placement, and the fallback for kernels without a receive budget.
pub fn setups() -> Vec<Setup> {
    let table = [
        ("uring/same-core", EngineKind::Uring, HandlerPlacement::SameCore),
        ("uring/inline", EngineKind::Uring, HandlerPlacement::Inline),
        ("uring/threads", EngineKind::Uring, HandlerPlacement::Threads(2)),
        ("uring/cancel", EngineKind::Uring, HandlerPlacement::SameCore),
        ("portable/same-core", EngineKind::Portable, HandlerPlacement::SameCore),
        ("portable/inline", EngineKind::Portable, HandlerPlacement::Inline),
    ];
    table
        .into_iter()
        .map(|(name, engine, placement)| {
            let mut config = Config::default().engine(engine).placement(placement).workers(1).pin(false);
            config.uring.receive_budget = name != "uring/cancel";
            Setup { name, config, events: false }
        })
        .collect()
}

/// Runs `test` on every setup. The last name printed is the one that failed.
pub fn on_every_engine(test: impl Fn(&Setup)) {
    for setup in setups() {
        println!("on {}", setup.name);
        test(&setup);
    }
}

/// A server under test, on a free port of loopback.
pub struct TestServer {
    pub running: Running,
    pub address: SocketAddr,
}

impl TestServer {
    /// Serves `app`.
    pub fn start(setup: &Setup, app: Router) -> Self {
        Self::run(setup, Server::builder(app).bind("127.0.0.1:0").expect("loopback resolves"))
    }

    /// Runs a server that is bound to a port of loopback.
    pub fn run(setup: &Setup, builder: ServerBuilder<Router>) -> Self {
        let running = builder.config(setup.config.clone()).start().expect("the server starts");
        let address = running.local_addr().expect("a TCP address");
        Self { running, address }
    }

    /// Serves `handler` as the WebSocket at `/ws`.
    pub fn serve<F>(setup: &Setup, config: WebSocketConfig, handler: F) -> Self
    where
        F: AsyncFn(WebSocket) -> websocket::Result + SharedAcrossThreads,
    {
        Self::start(setup, Router::new().get("/ws", websocket::upgrade(handler).config(config)))
    }

    /// Serves an echo at `/ws`.
    pub fn echo(setup: &Setup) -> Self {
        Self::echo_with(setup, WebSocketConfig::default())
    }

    /// Serves an echo at `/ws`, with these settings.
    pub fn echo_with(setup: &Setup, config: WebSocketConfig) -> Self {
        if setup.events { Self::serve_events(setup, config, Echo) } else { Self::serve(setup, config, echo) }
    }

    /// Serves an event handler as the WebSocket at `/ws`.
    pub fn serve_events(setup: &Setup, config: WebSocketConfig, handler: impl EventHandler) -> Self {
        Self::start(setup, Router::new().get("/ws", websocket::upgrade_events(handler).config(config)))
    }

    /// Shuts the server down, and checks that no connection is reset: the clients must have closed theirs.
    pub fn finish(self) {
        let report = self.running.shutdown(Shutdown::default());
        assert_eq!(report.forced, 0, "connections had to be reset at shutdown");
    }
}

/// Sends every message back, as an event handler.
pub struct Echo;

impl EventHandler for Echo {
    type State = ();

    fn on_open(&self, _ws: &mut EventSocket<'_, Self>) -> websocket::Result {
        Ok(())
    }

    fn on_message(&self, ws: &mut EventSocket<'_, Self>, _: &mut (), message: MessageRef<'_>) -> websocket::Result {
        Ok(ws.send(message)?)
    }
}

/// Sends every message back.
pub async fn echo(mut ws: WebSocket) -> websocket::Result {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
