//! The asynchronous connection: the WebSocket an application sees, its sending half, and the session below both.

// First, because the documentation lists methods in the order of the modules: those of a `WebSocket` begin with
// reading.
pub(crate) mod websocket;

pub(crate) mod attachments;
pub(crate) mod closed;
#[cfg(feature = "compression")]
pub(crate) mod compression;
#[cfg(not(feature = "compression"))]
#[path = "compression/absent.rs"]
pub(crate) mod compression;
pub(crate) mod context;
pub(crate) mod control_handlers;
pub(crate) mod disconnected;
pub(crate) mod encoding;
pub(crate) mod extensions;
pub(crate) mod frame_queue;
pub(crate) mod handler_scope;
pub(crate) mod message_writer;
pub(crate) mod prepared;
pub(crate) mod recv;
pub(crate) mod recv_ref;
pub(crate) mod recv_stream;
pub(crate) mod send;
pub(crate) mod send_deadline;
pub(crate) mod send_stream;
pub(crate) mod sender;
pub(crate) mod session;
