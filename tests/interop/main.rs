//! An echo server on every engine and placement, against other projects' clients; and our client against their servers.

mod browser;
mod https;
mod proxies;
mod servers;
mod tls;
mod wss;

#[path = "../support"]
mod support {
    pub mod certificates;
    pub mod example;
    pub mod pages;
    pub mod peer_server;
    pub mod peers;
    pub mod proxy;
    pub mod servers;
    pub mod tungstenite;
    pub mod tungstenite_server;
}

use support::peers;
use support::servers::{TestServer, echo, on_every_engine};
use support::tungstenite;
use tidegate::prelude::*;
use tidegate::websocket::{DeflateConfig, Upgrade};
use tokio_tungstenite::Connector;

#[test]
fn python_websockets() {
    against_an_echo_server(|url| peers::run("peer.py", &[url]));
}

#[test]
fn node_ws() {
    against_an_echo_server(|url| peers::run("peer.mjs", &[url]));
}

#[test]
fn tokio_tungstenite() {
    against_an_echo_server(tungstenite::run);
}

#[test]
fn python_websockets_compressed() {
    against_a_compressing_server(|url| peers::run("peer.py", &[url, "compressed"]));
}

#[test]
fn node_ws_compressed() {
    against_a_compressing_server(|url| peers::run("peer.mjs", &[url, "compressed"]));
}

/// It does not support compression, so it offers none.
#[test]
fn tokio_tungstenite_beside_compression() {
    against_a_compressing_server(tungstenite::run);
}

#[test]
fn members_of_a_hub() {
    on_every_engine(|setup| {
        let server = TestServer::start(setup, Router::new().get("/ws", members()));
        tungstenite::run_hub(&format!("ws://{}/ws", server.address), Connector::Plain, 30);
        server.finish();
    });
}

/// Sends each message to all connections.
fn members() -> Upgrade {
    let hub: Hub = Hub::default();
    websocket::upgrade(async move |mut ws: WebSocket| {
        let _member = hub.register(&ws)?;
        while let Some(message) = ws.recv().await? {
            hub.broadcast(message).queue().await?;
        }
        Ok(())
    })
}

/// Calls `client` with servers that keep contexts, and with servers that do not.
fn against_a_compressing_server(client: impl Fn(&str)) {
    let keeping = DeflateConfig::default().own_context_takeover(true).peer_context_takeover(true);
    on_every_engine(|setup| {
        for deflate in [keeping, DeflateConfig::default()] {
            let upgrade = websocket::upgrade(echo).compression(deflate);
            let server = TestServer::start(setup, Router::new().get("/ws", upgrade));
            client(&format!("ws://{}/ws", server.address));
            server.finish();
        }
    });
}

/// Calls `client` with the address of an echo server on each engine and placement.
fn against_an_echo_server(client: impl Fn(&str)) {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        client(&format!("ws://{}/ws", server.address));
        server.finish();
    });
}
