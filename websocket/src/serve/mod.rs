//! Serving WebSockets: the upgrade of a request, the task around a handler, and its hooks.

#[cfg(feature = "compression")]
mod compression;
mod control;
pub(crate) mod handler_error;
pub(crate) mod hooks;
mod opening;
pub(crate) mod task;
pub(crate) mod upgrade;
