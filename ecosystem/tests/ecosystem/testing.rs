//! Applications of the ecosystem in memory, under `web::testing`. The tests of handlers wait for the threads of tokio.

use axum::extract::Path;
use axum::routing::get;
use tidegate::axum::WebSocketUpgrade;
use tidegate::prelude::*;
use tidegate::web::testing::TestServer;
use tidegate::web::tower::HandlerExt;
use tidegate::websocket::testing::WebSocketClients;
use tokio::runtime::Handle;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::support::woken_by_a_timer_of_tokio;

async fn answer(_request: Request) -> web::Result<&'static str> {
    woken_by_a_timer_of_tokio().await;
    Ok(tokio::task::spawn_blocking(|| "from tokio").await?)
}

/// A runtime of the server, in a test without one.
#[test]
fn handlers_use_tokio() {
    let server = TestServer::start(Server::builder(answer).tokio_default().unwrap()).unwrap();
    assert_eq!(server.get("/").send().text(), "from tokio");
}

/// The runtime of the test, whose other threads drive its timers while the test waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_use_the_runtime_of_the_test() {
    let server = TestServer::start(Server::builder(answer).tokio(Handle::current())).unwrap();
    assert_eq!(server.get("/").send().text(), "from tokio");
}

#[test]
fn a_layer_is_around_handlers() {
    let name = tidegate::http::HeaderName::from_static("x-layer");
    let layer = SetResponseHeaderLayer::overriding(name, tidegate::http::HeaderValue::from_static("1"));
    let server = TestServer::new((async |_request: Request| "Hello").layer(layer));
    let response = server.get("/").send();
    assert_eq!((response.text(), response.header("x-layer")), ("Hello", Some("1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_axum_application_runs_in_memory() {
    let echo = |ws: WebSocketUpgrade| async {
        ws.on_upgrade(async |mut socket: WebSocket| -> websocket::Result {
            while let Some(message) = socket.recv().await? {
                socket.send(message).await?;
            }
            Ok(())
        })
    };
    let app = axum::Router::new()
        .route("/hello/{name}", get(|Path(name): Path<String>| async move { format!("Hello, {name}") }))
        .route("/ws", get(echo));
    let server = TestServer::start(tidegate::axum::server(app)).unwrap();
    assert_eq!(server.get("/hello/Ann").send().text(), "Hello, Ann");
    let mut client = server.websocket("/ws").connect();
    client.send("through axum");
    assert_eq!(client.recv_text(), "through axum");
}
