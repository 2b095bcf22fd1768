//! What applications mount next to their WebSockets: typed requests, cookies, forms, event streams, files, compression,
//! proxies.
//!
//! Over loopback on every engine and placement. Requests are sent whole, byte by byte, and with another request behind
//! them.
#![cfg(all(
    not(miri),
    feature = "json",
    feature = "form",
    feature = "multipart",
    feature = "cookies",
    feature = "proxy",
    feature = "files",
    feature = "compression-brotli",
    feature = "compression-zstd"
))]

mod access_log;
mod compression;
mod downloads;
mod events;
mod extract;
mod files;
mod proxies;
mod routes;
mod support;
