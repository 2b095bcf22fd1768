//! Conveniences on top of WebSockets. Connections that do not use them do not pay for them.

#[cfg(any(feature = "tokio", feature = "futures"))]
pub(crate) mod async_io;
pub(crate) mod byte_stream;
#[cfg(feature = "futures")]
pub(crate) mod futures;
#[cfg(feature = "json")]
pub(crate) mod json;
#[cfg(feature = "json")]
pub(crate) mod text_routes;
#[cfg(feature = "tungstenite")]
pub(crate) mod tungstenite;
pub(crate) mod users;
