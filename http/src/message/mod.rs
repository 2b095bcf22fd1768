//! Messages: the requests that handlers are given, and the responses that they answer with.
//!
//! Plain values and their content. Nothing here parses or writes HTTP: `protocol` does.

pub(crate) mod access_record;
pub(crate) mod body;
pub(crate) mod client_gone;
mod collecting;
pub(crate) mod conclusion;
pub(crate) mod content_connection;
pub(crate) mod content_stream;
mod conversions;
pub(crate) mod head;
pub(crate) mod head_memory;
pub(crate) mod into_response;
mod kinds;
pub(crate) mod on_upgrade;
pub(crate) mod request;
pub(crate) mod response;
