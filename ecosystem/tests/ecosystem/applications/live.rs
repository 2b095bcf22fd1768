//! Server-sent events and WebSockets.

use futures_util::{SinkExt, StreamExt};
use tidegate_ecosystem::apps;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::*;

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(site: &Site, path: &str) -> Client {
    connect_async(site.ws_url(path)).await.unwrap().0
}

async fn text(client: &mut Client) -> String {
    client.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn sse() {
    on_every_server(apps::sse::app, async |site| {
        let response = client().get(site.url("/sse")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (mut received, mut pieces) = (String::new(), response.bytes_stream());
        while !received.contains("data: hi 5\n\n") {
            received.push_str(std::str::from_utf8(&pieces.next().await.unwrap().unwrap()).unwrap());
        }
        assert!(received.starts_with("event: tick\nid: 0\ndata: hi 0\n\nevent: tick\nid: 1\n"), "{received}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chat() {
    on_every_server(apps::chat::app, async |site| {
        let mut ann = connect(&site, "/websocket").await;
        ann.send(Message::text("ann")).await.unwrap();
        assert_eq!(text(&mut ann).await, "ann joined.");
        let mut taken = connect(&site, "/websocket").await;
        taken.send(Message::text("ann")).await.unwrap();
        assert_eq!(text(&mut taken).await, "Username already taken.");
        let mut bob = connect(&site, "/websocket").await;
        bob.send(Message::text("bob")).await.unwrap();
        for client in [&mut ann, &mut bob] {
            assert_eq!(text(client).await, "bob joined.");
        }
        bob.send(Message::text("hello")).await.unwrap();
        for client in [&mut ann, &mut bob] {
            assert_eq!(text(client).await, "bob: hello");
        }
        drop(bob);
        assert_eq!(text(&mut ann).await, "bob left.");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets() {
    on_every_server(apps::websockets::app, async |site| {
        let mut request = site.ws_url("/ws").into_client_request().unwrap();
        request.headers_mut().insert("user-agent", "test".parse().unwrap());
        let (mut ws, _) = connect_async(request).await.unwrap();
        assert_eq!(text(&mut ws).await, "test at 127.0.0.1");
        for message in [Message::text("äöü"), Message::binary(vec![1, 2, 3]), Message::binary(vec![5; 2_000_000])] {
            ws.send(message.clone()).await.unwrap();
            assert_eq!(ws.next().await.unwrap().unwrap(), message);
        }
        ws.send(Message::Ping(Bytes::from_static(b"p"))).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"p")));
        ws.send(Message::text("close")).await.unwrap();
        let frame = CloseFrame { code: 4000.into(), reason: "Goodbye".into() };
        assert_eq!(ws.next().await.unwrap().unwrap(), Message::Close(Some(frame)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_select_a_subprotocol() {
    on_every_server(apps::websockets::app, async |site| {
        for (offered, selected) in [("one, two", "two"), ("one", "one"), ("three", "none")] {
            let mut request = site.ws_url("/protocols").into_client_request().unwrap();
            request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
            let connected = connect_async(request).await;
            if selected == "none" {
                // The client refuses a server that speaks none of its protocols.
                assert!(connected.is_err());
                continue;
            }
            let (mut ws, response) = connected.unwrap();
            assert_eq!(response.headers()["sec-websocket-protocol"], selected);
            assert_eq!(text(&mut ws).await, selected);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_send_large_messages() {
    on_every_server(apps::websockets::app, async |site| {
        let mut ws = connect(&site, "/large").await;
        for length in [1, 70_000, 3_000_000] {
            let message = ws.next().await.unwrap().unwrap();
            assert!(message.len() == length && message.into_data().iter().all(|byte| *byte == 7));
        }
        ws.close(None).await.unwrap();
        while ws.next().await.is_some_and(|message| message.is_ok()) {}
    })
    .await;
}

/// What is no opening handshake is refused as on hyper.
#[tokio::test(flavor = "multi_thread")]
async fn websockets_refuse_other_requests() {
    on_every_server(apps::websockets::app, async |site| {
        assert_eq!(get(site.url("/ws")).await.0, 400);
        let upgrade = client().get(site.url("/ws")).header("connection", "upgrade").header("upgrade", "websocket");
        let response = upgrade.header("sec-websocket-version", "12").send().await.unwrap();
        assert_eq!(response.status(), 400);
    })
    .await;
}
