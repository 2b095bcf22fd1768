//! Black-box tests of WebSocket servers on every engine and placement: the facade's public API on one side, a raw
//! socket and the tests' own WebSocket client on the other.

mod backpressure;
mod budget;
mod client;
mod closing;
mod combinators;
mod compression;
mod control;
mod deadlines;
mod endings;
mod event_deeds;
mod event_mix;
mod event_rooms;
mod event_socket;
mod events;
mod handler;
mod handshake;
mod hooks;
mod hub;
mod hub_events;
mod json;
mod keepalive;
mod logging;
mod memory;
mod messages;
mod proxies;
mod shutdown;
mod streams;
mod text_routes;
mod tls;
mod users;
mod violations;

#[path = "../support"]
mod support {
    pub mod certificates;
    pub mod client;
    pub mod raw_server;
    pub mod servers;
}
