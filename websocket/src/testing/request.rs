//! The opening handshake as a test builds it.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue, Version};
use thiserror::Error;
use tidegate_http::testing::{TestError, TestResponse, TestServer, UpgradeFailure};

use super::client::TestWebSocket;
#[cfg(feature = "compression")]
use crate::deflate::DeflateConfig;
use crate::handshake::{ClientHandshake, Nonce, UpgradeResponseError, UriError};

/// A WebSocket that is being opened. [`connect`](TestUpgrade::connect) opens it.
///
/// ```
/// use tidegate_http::Router;
/// use tidegate_http::testing::TestServer;
/// use tidegate_websocket::testing::WebSocketClients;
/// use tidegate_websocket::upgrade;
///
/// let chat = upgrade(async |mut ws| {
///     ws.send("welcome").await?;
///     Ok(())
/// });
/// let server = TestServer::new(Router::new().get("/chat", chat.subprotocols(["chat.v2"])));
/// let mut client = server.websocket("/chat").subprotocol("chat.v1").subprotocol("chat.v2").connect();
/// assert_eq!(client.subprotocol(), Some("chat.v2"));
/// assert_eq!(client.recv_text(), "welcome");
/// ```
#[derive(Debug)]
#[must_use = "a WebSocket is opened by `connect`"]
pub struct TestUpgrade {
    server: TestServer,
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    subprotocols: Vec<String>,
    #[cfg(feature = "compression")]
    deflate: Option<DeflateConfig>,
}

/// The reason why a test gets no WebSocket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TestConnectError {
    /// The server has refused it, with this response.
    #[error("the server refused the WebSocket with {}: {:?}", .0.status(), String::from_utf8_lossy(.0.bytes()))]
    Refused(Box<TestResponse>),
    /// The server has answered with a 101 that is not one for this request.
    #[error(transparent)]
    Handshake(#[from] UpgradeResponseError),
    /// The target or a subprotocol cannot be in a request.
    #[error(transparent)]
    Request(#[from] UriError),
    /// The server has not answered.
    #[error(transparent)]
    NoResponse(#[from] TestError),
}

impl TestConnectError {
    /// Returns the response with which the server has refused the WebSocket.
    pub fn refusal(&self) -> Option<&TestResponse> {
        match self {
            Self::Refused(response) => Some(response),
            _ => None,
        }
    }
}

impl TestUpgrade {
    pub(super) fn new(server: TestServer, target: &str) -> Self {
        Self {
            server,
            target: target.to_owned(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            #[cfg(feature = "compression")]
            deflate: None,
        }
    }

    /// Adds a field, such as Origin or Authorization. Those of the handshake itself are ignored.
    ///
    /// # Panics
    /// If the name is not a token, or the value has a control character.
    #[track_caller]
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Debug>,
        V: TryInto<HeaderValue, Error: Debug>,
    {
        let name = name.try_into().expect("the name of a field is a token");
        self.headers.push((name, value.try_into().expect("the value of a field has no control characters")));
        self
    }

    /// Offers a subprotocol, after the earlier ones.
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.subprotocols.push(name.to_owned());
        self
    }

    /// Offers compression of messages, and uses it if the server agrees.
    #[cfg(feature = "compression")]
    pub fn compression(mut self, config: DeflateConfig) -> Self {
        self.deflate = Some(config);
        self
    }

    /// Opens the WebSocket.
    ///
    /// # Panics
    /// If that fails: with the text of a [`TestConnectError`].
    #[track_caller]
    pub fn connect(self) -> TestWebSocket {
        match self.try_connect() {
            Ok(client) => client,
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens the WebSocket.
    ///
    /// ```
    /// use tidegate_http::Router;
    /// use tidegate_http::testing::TestServer;
    /// use tidegate_websocket::testing::WebSocketClients;
    /// use tidegate_websocket::upgrade;
    ///
    /// let server = TestServer::new(Router::new().get("/ws", upgrade(async |_ws| Ok(()))));
    /// let refused = server.websocket("/ws").header("origin", "https://elsewhere.example").try_connect();
    /// assert_eq!(refused.unwrap_err().refusal().unwrap().status(), 403);
    /// ```
    ///
    /// # Errors
    /// [`TestConnectError`].
    pub fn try_connect(self) -> Result<TestWebSocket, TestConnectError> {
        let uri = format!("ws://localhost{}", self.target).parse().map_err(|_| UriError::Host)?;
        let mut handshake = ClientHandshake::new(&uri, nonce())?;
        for name in &self.subprotocols {
            handshake = handshake.subprotocol(name)?;
        }
        for (name, value) in &self.headers {
            handshake = handshake.header(name.clone(), value.clone());
        }
        #[cfg(feature = "compression")]
        if let Some(config) = &self.deflate {
            handshake = handshake.extensions(config.offer());
        }
        let mut head = Vec::new();
        handshake.encode(&mut head);
        let exchange = self.server.raw(head);
        let (headers, peer, received) = exchange.upgraded().map_err(|failure| match failure {
            UpgradeFailure::Response(response) => TestConnectError::Refused(response),
            UpgradeFailure::Error(error) => TestConnectError::NoResponse(error),
        })?;
        let established =
            handshake.check_response(http::StatusCode::SWITCHING_PROTOCOLS, Version::HTTP_11, &headers)?;
        #[cfg(feature = "compression")]
        let deflate = match self.deflate {
            Some(config) => config.check_response(established.extensions.as_ref())?.map(|params| (config, params)),
            None => None,
        };
        Ok(TestWebSocket::new(
            peer,
            received,
            established.subprotocol,
            headers,
            #[cfg(feature = "compression")]
            deflate,
        ))
    }
}

/// Returns a nonce that no other handshake of this process has. It need not be random here.
fn nonce() -> Nonce {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Nonce::new(bytes)
}
