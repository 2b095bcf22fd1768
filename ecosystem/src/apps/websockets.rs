//! WebSockets with all kinds of messages, subprotocols and the peer's address.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::any;

/// Returns the application.
pub fn app() -> Router {
    Router::new().route("/ws", any(ws_handler)).route("/protocols", any(protocols)).route("/large", any(large))
}

async fn ws_handler(
    ws: WebSocketUpgrade,
    headers: HeaderMap,
    ConnectInfo(addr): ConnectInfo<SocketAddr>,
) -> impl IntoResponse {
    let user_agent = headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or("unknown").to_owned();
    ws.on_upgrade(move |socket| handle_socket(socket, addr, user_agent))
}

async fn handle_socket(mut socket: WebSocket, who: SocketAddr, user_agent: String) {
    if socket.send(Message::text(format!("{user_agent} at {}", who.ip()))).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Text(text) if text == "close" => {
                let frame = CloseFrame { code: 4000, reason: "Goodbye".into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
            Message::Text(_) | Message::Binary(_) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return,
        }
    }
}

async fn protocols(ws: WebSocketUpgrade) -> impl IntoResponse {
    ws.protocols(["two", "one"]).on_upgrade(|mut socket| async move {
        let protocol = socket.protocol().and_then(|name| name.to_str().ok()).unwrap_or("none").to_owned();
        let _ = socket.send(Message::text(protocol)).await;
    })
}

async fn large(ws: WebSocketUpgrade) -> impl IntoResponse {
    ws.on_upgrade(|mut socket| async move {
        for length in [1, 70_000, 3_000_000] {
            if socket.send(Message::binary(vec![7; length])).await.is_err() {
                return;
            }
        }
        while let Some(Ok(_)) = socket.recv().await {}
    })
}
