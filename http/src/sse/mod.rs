//! Event streams (`text/event-stream`), also called server-sent events: the HTML standard, section 9.2.
//!
//! `event` writes events. `stream` is a response's content that an async function writes, with keep-alive comments, and
//! ends with the server's drain. `sender` lets other threads send too: each event is queued as one whole chunk of the
//! response, so that it can stand between any two others. The fan-out of a hub works the same way.

pub(crate) mod event;
pub(crate) mod sender;
pub(crate) mod stream;
