//! The receiving side against whole conversations, through the public API, in both roles.

mod common;
mod deflate;
mod memory;
mod messages;
mod violations;
