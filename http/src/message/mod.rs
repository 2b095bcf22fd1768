//! Messages: what a handler is given and what it answers with. Nothing here writes or parses a byte of HTTP.

pub(crate) mod body;
pub(crate) mod conclusion;
pub(crate) mod content_stream;
pub(crate) mod head;
pub(crate) mod head_memory;
pub(crate) mod into_response;
pub(crate) mod on_upgrade;
pub(crate) mod request;
pub(crate) mod response;
