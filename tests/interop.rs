//! An echo server on every engine and placement, against clients that others wrote.

mod support {
    pub mod peers;
    pub mod servers;
    pub mod tungstenite;
}

use support::peers;
use support::servers::{TestServer, on_every_engine};
use support::tungstenite;

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

/// Calls `client` with the address of an echo server on each engine and placement.
fn against_an_echo_server(client: impl Fn(&str)) {
    on_every_engine(|setup| {
        let server = TestServer::echo(setup);
        client(&format!("ws://{}/ws", server.address));
        server.finish();
    });
}
