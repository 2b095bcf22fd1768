//! A client for the WebSockets of the examples.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::example::Example;

/// A WebSocket client, made of tungstenite.
pub struct Client(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub async fn open(example: &Example, target: &str) -> Self {
        let (stream, _response) = connect_async(format!("ws://{}{target}", example.address)).await.unwrap();
        Self(stream)
    }

    pub async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.unwrap();
    }

    /// Returns the next message that is not a ping or a pong.
    pub async fn next(&mut self) -> Message {
        loop {
            let message = self.0.next().await.expect("a message before the end").unwrap();
            if !message.is_ping() && !message.is_pong() {
                return message;
            }
        }
    }

    /// Returns the next message, which must be text.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Expects this text next.
    pub async fn expect(&mut self, text: &str) {
        assert_eq!(self.text().await, text);
    }

    /// Sends a text and expects this answer.
    pub async fn ask(&mut self, question: &str, answer: &str) {
        self.send(question).await;
        self.expect(answer).await;
    }

    /// Expects a close frame with this code and reason, then the end.
    pub async fn expect_close(mut self, code: u16, reason: &str) {
        let message = self.next().await;
        let Message::Close(Some(frame)) = &message else { panic!("expected close {code}, got {message:?}") };
        assert_eq!((u16::from(frame.code), &*frame.reason), (code, reason));
        self.expect_end().await;
    }

    /// Closes with 1000 and expects the end.
    pub async fn close(mut self) {
        self.0.close(None).await.unwrap();
        self.expect_end().await;
    }

    /// Expects nothing more but pings and the close frame.
    async fn expect_end(&mut self) {
        while let Some(message) = self.0.next().await {
            let message = message.unwrap();
            assert!(message.is_close() || message.is_ping(), "{message:?} after the close frame");
        }
    }
}
