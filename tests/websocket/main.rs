//! Black-box tests of WebSocket servers: the facade's public API on one side, a raw socket and a WebSocket client of
//! the tests' own on the other, on every engine and placement.
//!
//! Bug numbers in the tests' comments count the mistakes of other servers that each of them would show.

mod backpressure;
mod closing;
mod combinators;
mod compression;
mod control;
mod deadlines;
mod endings;
mod handler;
mod handshake;
mod hooks;
mod hub;
mod json;
mod keepalive;
mod memory;
mod messages;
mod shutdown;
mod streams;
mod text_routes;
mod users;
mod violations;

#[path = "../support"]
mod support {
    pub mod client;
    pub mod servers;
}
