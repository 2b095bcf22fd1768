//! A chat over WebSockets: the first message is the name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;

struct AppState {
    user_set: Mutex<HashSet<String>>,
    tx: broadcast::Sender<String>,
}

/// Returns the application.
pub fn app() -> Router {
    let (tx, _rx) = broadcast::channel(100);
    let state = Arc::new(AppState { user_set: Mutex::new(HashSet::new()), tx });
    Router::new()
        .route("/", get(async || Html("<p>chat</p>")))
        .route("/websocket", get(websocket_handler))
        .with_state(state)
}

async fn websocket_handler(ws: WebSocketUpgrade, State(state): State<Arc<AppState>>) -> impl IntoResponse {
    ws.on_upgrade(|socket| websocket(socket, state))
}

async fn websocket(stream: WebSocket, state: Arc<AppState>) {
    let (mut sender, mut receiver) = stream.split();
    let mut username = String::new();
    while let Some(Ok(message)) = receiver.next().await {
        if let Message::Text(name) = message {
            if state.user_set.lock().unwrap().insert(name.to_string()) {
                username.push_str(&name);
                break;
            }
            let _ = sender.send(Message::Text(Utf8Bytes::from_static("Username already taken."))).await;
            return;
        }
    }
    let mut rx = state.tx.subscribe();
    let _ = state.tx.send(format!("{username} joined."));
    let mut send_task = tokio::spawn(async move {
        while let Ok(msg) = rx.recv().await {
            if sender.send(Message::text(msg)).await.is_err() {
                break;
            }
        }
    });
    let (tx, name) = (state.tx.clone(), username.clone());
    let mut recv_task = tokio::spawn(async move {
        while let Some(Ok(Message::Text(text))) = receiver.next().await {
            let _ = tx.send(format!("{name}: {text}"));
        }
    });
    tokio::select! {
        _ = &mut send_task => recv_task.abort(),
        _ = &mut recv_task => send_task.abort(),
    };
    let _ = state.tx.send(format!("{username} left."));
    state.user_set.lock().unwrap().remove(&username);
}
