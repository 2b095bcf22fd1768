//! The client: opens a WebSocket to a server.
//!
//! `builder` is what the application asks for; `opening` performs the handshakes, on a connection that `transport`
//! makes, directly or through a `proxy`. `target` is a parsed URL, `redirect` the next one. `blocking` and
//! `reconnecting` are built on top.

pub mod blocking;
mod builder;
#[cfg(feature = "compression")]
mod compression;
mod error;
mod opening;
mod proxy;
mod reconnecting;
mod redirect;
mod settings;
mod target;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/absent.rs"]
mod tls;
mod transport;

pub use builder::Connect;
pub use error::{ConnectError, RefusedResponse};
pub use proxy::InvalidProxy;
pub use reconnecting::{Backoff, Reconnecting, ReconnectingSender};

/// Opens a WebSocket to a server: `connect("ws://host[:port]/path?query").await`.
///
/// The builder sets headers, subprotocols, compression, timeouts and a proxy. Awaiting it resolves the name, connects,
/// and performs the opening handshake. It gives the [`WebSocket`](crate::WebSocket), of the same type as a server's,
/// and the server's response.
///
/// ```no_run
/// use tidegate_websocket as websocket;
///
/// /// In a handler, or in any other future on a handler's thread.
/// async fn first_price() -> Result<String, Box<dyn std::error::Error>> {
///     let (mut ws, _response) = websocket::connect("ws://prices.example/stream").bearer("secret").await?;
///     ws.send("subscribe EURUSD").await?;
///     let message = ws.recv().await?.ok_or("closed")?;
///     let price = message.as_text().unwrap_or_default().to_owned();
///     ws.close(websocket::CloseCode::NORMAL, "").await?;
///     Ok(price)
/// }
/// ```
///
/// | Where | How |
/// |---|---|
/// | in a handler, `spawn_local`, or `Running::spawn` | await it: the connection belongs to the worker of that thread |
/// | on any other thread or executor, beside a running engine | [`Connect::on_engine`], then await it or `block_on` it |
/// | in a program that is only a client | an engine from `Engine::client`, then as above |
/// | in a script or a test | [`blocking::connect`](blocking::connect()), which needs no engine |
///
/// Default settings are those of [`WebSocketConfig::client`](crate::WebSocketConfig::client): a ping every 10 s, and
/// 10 s for the server to answer a close frame.
pub fn connect(url: impl Into<String>) -> Connect {
    Connect::new(url.into())
}
