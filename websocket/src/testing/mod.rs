//! WebSocket clients in memory, for tests of applications (feature `testing`).
//!
//! ```
//! use tidegate_http::Router;
//! use tidegate_http::testing::TestServer;
//! use tidegate_websocket::testing::WebSocketClients;
//! use tidegate_websocket::{CloseCode, upgrade};
//!
//! let echo = upgrade(async |mut ws| {
//!     while let Some(message) = ws.recv().await? {
//!         ws.send(message).await?;
//!     }
//!     Ok(())
//! });
//! let server = TestServer::new(Router::new().get("/ws", echo));
//! let mut client = server.websocket("/ws").connect();
//! client.send("hello");
//! assert_eq!(client.recv_text(), "hello");
//! assert_eq!(client.close(CloseCode::NORMAL, "bye"), Some(CloseCode::NORMAL));
//! ```
//!
//! The client speaks RFC 6455 with the protocol of this crate in the role of a client, and checks what it receives. It
//! answers pings unless it is [told not to](TestWebSocket::answer_pings). Hubs, keepalive, compression and deadlines
//! work as in production; [`TestServer::advance`] moves their clock.

mod client;
mod request;

use tidegate_http::testing::TestServer;

pub use client::TestWebSocket;
pub use request::{TestConnectError, TestUpgrade};

/// Opens WebSockets to a [`TestServer`].
pub trait WebSocketClients {
    /// Begins to open a WebSocket to this target: a path with its query, percent-encoded.
    fn websocket(&self, target: &str) -> TestUpgrade;
}

impl WebSocketClients for TestServer {
    fn websocket(&self, target: &str) -> TestUpgrade {
        TestUpgrade::new(self.clone(), target)
    }
}

/// With the cookies of the client.
impl WebSocketClients for tidegate_http::testing::TestClient {
    fn websocket(&self, target: &str) -> TestUpgrade {
        let upgrade = TestUpgrade::new(self.server().clone(), target);
        match self.cookies() {
            cookies if cookies.is_empty() => upgrade,
            cookies => upgrade.header("cookie", cookies),
        }
    }
}
