//! This crate's WebSockets in axum applications.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use tidegate::axum::{WebSocketUpgrade, server};
use tidegate::websocket::{self, CloseCode, Hub, HubConfig, WebSocket};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::*;

async fn echo(ws: WebSocketUpgrade) -> Response {
    ws.protocols(["v2", "v1"]).max_message_size(1000).on_upgrade(async |mut socket: WebSocket| -> websocket::Result {
        let chosen = socket.subprotocol().unwrap_or("none").to_owned();
        socket.send(chosen).await?;
        while let Some(message) = socket.recv().await? {
            if message.as_text() == Some("fail") {
                return Err(websocket::HandlerError::close(CloseCode::new(4001), "as asked"));
            }
            socket.send(message).await?;
        }
        Ok(())
    })
}

/// The future of the callback is not `Send`.
async fn joins(State(hub): State<Hub<()>>, ws: WebSocketUpgrade) -> impl IntoResponse {
    ws.on_upgrade(move |mut socket| async move {
        let mark = std::rc::Rc::new(());
        let _member = hub.register(&socket).expect("the hub has space");
        let _ = socket.send("joined").await;
        while let Ok(Some(_)) = socket.recv().await {}
        drop(mark);
    })
}

fn app(hub: Hub<()>) -> Router {
    Router::new().route("/echo", any(echo)).route("/hub", any(joins)).with_state(hub)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extractor_opens_websockets_of_this_crate() {
    on_every_engine(async |setup| {
        let layer = tower_http::set_header::SetResponseHeaderLayer::overriding(
            http::HeaderName::from_static("x-stamp"),
            http::HeaderValue::from_static("1"),
        );
        let server = TestServer::of(&setup, server(app(Hub::new(HubConfig::default())).layer(layer)));
        let mut request = format!("ws://{}/echo", server.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "v1, v2".parse().unwrap());
        let (mut ws, response) = tokio_tungstenite::connect_async(request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "v2");
        assert_eq!(response.headers()["x-stamp"], "1");
        assert_eq!(ws.next().await.unwrap().unwrap().into_text().unwrap(), "v2");
        for message in [Message::text("text"), Message::binary(vec![1; 1000])] {
            ws.send(message.clone()).await.unwrap();
            assert_eq!(ws.next().await.unwrap().unwrap(), message);
        }
        ws.send(Message::text("fail")).await.unwrap();
        let Message::Close(Some(frame)) = ws.next().await.unwrap().unwrap() else { panic!("a close frame") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "as asked"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extractor_joins_hubs() {
    on_every_engine(async |setup| {
        let hub = Hub::new(HubConfig::default());
        let server = TestServer::of(&setup, server(app(hub.clone())));
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (mut ws, _) = tokio_tungstenite::connect_async(format!("ws://{}/hub", server.address)).await.unwrap();
            assert_eq!(ws.next().await.unwrap().unwrap().into_text().unwrap(), "joined");
            clients.push(ws);
        }
        hub.broadcast("news").try_queue().unwrap();
        for client in &mut clients {
            assert_eq!(client.next().await.unwrap().unwrap().into_text().unwrap(), "news");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_and_other_origins_are_refused() {
    on_every_engine(async |setup| {
        let server = TestServer::of(&setup, server(app(Hub::new(HubConfig::default()))));
        assert_eq!(get(server.url("/echo")).await.0, 400);
        let mut request = format!("ws://{}/echo", server.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", "http://elsewhere.example".parse().unwrap());
        let refused = tokio_tungstenite::connect_async(request).await.unwrap_err().to_string();
        assert!(refused.contains("403"), "{refused}");
    })
    .await;
}

/// On hyper the extractor says why it cannot work.
#[tokio::test(flavor = "multi_thread")]
async fn the_extractor_needs_this_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app(Hub::new(HubConfig::default()))).into_future());
    let refused = tokio_tungstenite::connect_async(format!("ws://{address}/echo")).await.unwrap_err().to_string();
    assert!(refused.contains("500"), "{refused}");
}

/// WebSockets as tokio's streams and those of the futures crates: one run of bytes in each direction.
#[tokio::test(flavor = "multi_thread")]
async fn websockets_are_streams_of_bytes() {
    use tidegate::prelude::{Router, websocket};
    on_every_engine(async |setup| {
        let of_tokio = websocket::upgrade(async |ws| {
            let (mut read, mut write) = tokio::io::split(ws.into_byte_io());
            tokio::io::copy(&mut read, &mut write).await?;
            Ok(())
        });
        let of_futures = websocket::upgrade(async |ws| {
            let (read, mut write) = futures_util::AsyncReadExt::split(ws.into_byte_io());
            futures_util::io::copy(read, &mut write).await?;
            Ok(())
        });
        let closes = websocket::upgrade(async |ws| {
            let mut io = ws.into_byte_io();
            tokio::io::AsyncWriteExt::write_all(&mut io, b"last words").await?;
            tokio::io::AsyncWriteExt::shutdown(&mut io).await?;
            Ok(())
        });
        let app = Router::new().get("/tokio", of_tokio).get("/futures", of_futures).get("/closes", closes);
        let server = TestServer::start(&setup, app);
        for path in ["tokio", "futures"] {
            let (ws, _) = tokio_tungstenite::connect_async(format!("ws://{}/{path}", server.address)).await.unwrap();
            let (mut sink, mut stream) = ws.split();
            let sent: Vec<u8> = (0..2_000_000_u32).map(|byte| (byte * 31 >> 3) as u8).collect();
            let messages = sent.clone();
            let sending = tokio::spawn(async move {
                for message in messages.chunks(300_000) {
                    sink.send(Message::binary(message.to_vec())).await.unwrap();
                }
                sink
            });
            let mut received = Vec::new();
            while received.len() < sent.len() {
                received.extend_from_slice(&stream.next().await.unwrap().unwrap().into_data());
            }
            assert!(received == sent, "the echo differs");
            sending.await.unwrap().close().await.unwrap();
            assert!(stream.next().await.unwrap().unwrap().is_close());
        }
        let (mut ws, _) = tokio_tungstenite::connect_async(format!("ws://{}/closes", server.address)).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap().into_data(), "last words");
        let Message::Close(Some(frame)) = ws.next().await.unwrap().unwrap() else { panic!("a close frame") };
        assert_eq!(u16::from(frame.code), 1000);
    })
    .await;
}
