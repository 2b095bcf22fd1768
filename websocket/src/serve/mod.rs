//! WebSocketTask WebSockets: the upgrade of a request, the task around a handler, and its hooks.

pub(crate) mod hooks;
pub(crate) mod task;
pub(crate) mod upgrade;
