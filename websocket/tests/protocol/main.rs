//! The receiving side in whole conversations, through the public API, in both roles.

mod common;
#[cfg(feature = "compression")]
mod deflate;
#[cfg(feature = "compression")]
mod deflate_memory;
mod memory;
mod messages;
mod violations;
