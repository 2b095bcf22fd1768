//! An axum application with a text, a JSON, a spawning and two WebSocket routes, on the server that the first argument
//! names: `hyper`, `inline` or `same-core`. The second one is its address. `ci/bench-axum.sh` compares the servers.

use axum::extract::ws::WebSocketUpgrade;
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::Serialize;
use tidegate::prelude::HandlerPlacement;

#[derive(Serialize)]
struct Message {
    message: &'static str,
}

fn app() -> Router {
    let echo = async |ws: WebSocketUpgrade| {
        ws.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    let own = async |ws: tidegate::axum::WebSocketUpgrade| {
        ws.on_upgrade(async |mut socket| {
            while let Ok(Some(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    Router::new()
        .route("/plaintext", get(async || "Hello, World!"))
        .route("/json", get(async || Json(Message { message: "Hello, World!" })))
        .route("/spawn", get(async || tokio::spawn(async { "Hello, World!" }).await.unwrap_or_default()))
        .route("/ws", any(echo))
        .route("/own", any(own))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, address] = &arguments[..] else {
        return Err("usage: routes hyper|inline|same-core ADDRESS".into());
    };
    if kind == "hyper" {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await?;
            Ok(axum::serve(listener, app()).await?)
        });
    }
    let placement: HandlerPlacement = kind.parse()?;
    let builder = tidegate::axum::server(app()).bind(address.as_str())?.workers(1).placement(placement);
    Ok(builder.tokio_default()?.run()?)
}
