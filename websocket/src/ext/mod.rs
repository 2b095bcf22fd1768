//! What stands on the public API of a WebSocket alone.

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
