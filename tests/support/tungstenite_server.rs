//! An echo server with tokio-tungstenite, on a thread.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// The server. It ends with the process.
pub struct TungsteniteServer {
    address: SocketAddr,
}

impl TungsteniteServer {
    pub fn start() -> Self {
        let (ready, address) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(echo(stream));
                }
            });
        });
        Self { address: address.recv().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }
}

/// Echoes, and follows the commands of the servers in `tests/peers`.
async fn echo(stream: TcpStream) {
    let Ok(mut ws) = accept_async(stream).await else { return };
    while let Some(Ok(message)) = ws.next().await {
        let answer = match message {
            Message::Text(text) if text == "ping me" => Message::Ping(Bytes::from_static(b"tide")),
            Message::Text(text) if text == "close me" => {
                Message::Close(Some(CloseFrame { code: 4321.into(), reason: "as you wish".into() }))
            }
            Message::Pong(payload) if payload == "tide" => Message::text("pong"),
            Message::Text(_) | Message::Binary(_) => message,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => continue,
        };
        if ws.send(answer).await.is_err() {
            return;
        }
    }
}
