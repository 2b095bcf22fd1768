//! axum: its router directly on hyper, as in its example `serve-with-hyper`, because `axum::serve` cannot flush
//! pipelined responses together. Its WebSocket extractor, with replies batched through its `Sink`.

use std::net::SocketAddr;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, SERVER};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::broadcast;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;

use crate::{HELLO, Hello, MESSAGE_BYTES_MAX, Outcome, tokio_server};

pub fn serve(address: SocketAddr) -> Outcome {
    let app = Router::new()
        .route("/plaintext", get(|| async { ([(SERVER, "axum"), (CONTENT_TYPE, "text/plain")], HELLO) }))
        .route("/ws", get(echo))
        .route("/hub", get(attend))
        .route("/json", get(json).layer(CompressionLayer::new()))
        .nest_service("/files", ServeDir::new(crate::folder()))
        .with_state(tokio_server::hub());
    tokio_server::serve(address, |stream| {
        let service = TowerToHyperService::new(app.clone());
        async {
            let connection = http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service);
            // A connection error ends only this connection.
            let _ = connection.with_upgrades().await;
        }
    })
}

async fn json(Query(hello): Query<Hello>) -> Json<Hello> {
    Json(hello)
}

async fn echo(upgrade: WebSocketUpgrade) -> impl IntoResponse {
    sized(upgrade).on_upgrade(|ws| async {
        let _ = tokio_server::echo(ws, is_data).await;
    })
}

async fn attend(upgrade: WebSocketUpgrade, State(hub): State<broadcast::Sender<Message>>) -> impl IntoResponse {
    sized(upgrade).on_upgrade(|ws| async {
        let _ = tokio_server::attend(ws, hub, is_data).await;
    })
}

fn sized(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(tokio_server::TUNGSTENITE_READ_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
}

fn is_data(message: &Message) -> bool {
    matches!(message, Message::Text(_) | Message::Binary(_))
}
