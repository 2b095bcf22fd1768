//! What applications mount next to their WebSockets: typed requests, cookies, forms, event streams, proxies.
//!
//! Over loopback on every engine and placement. Requests are sent whole, byte by byte, and with another request behind
//! them.
#![cfg(all(
    not(miri),
    feature = "json",
    feature = "form",
    feature = "multipart",
    feature = "cookies",
    feature = "proxy"
))]

mod access_log;
mod events;
mod extract;
mod proxies;
mod routes;
mod support;
