//! Servers behind proxies: who the client is, as trusted proxies say.
//!
//! `client` is what handlers ask, with or without the Cargo feature `proxy`. With it, `trusted` is the set of proxies
//! that are believed, `forwarded` reads their fields, and `header` receives the PROXY protocol. A server without
//! trusted proxies does nothing of this.

pub(crate) mod client;
#[cfg(feature = "proxy")]
pub(crate) mod forwarded;
#[cfg(feature = "proxy")]
pub(crate) mod header;
#[cfg(feature = "proxy")]
pub(crate) mod trusted;
