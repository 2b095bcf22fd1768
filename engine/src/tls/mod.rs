//! TLS below the byte stream of a connection, with rustls.
//!
//! Sans-I/O: [`pump`] turns received bytes into plaintext and plaintext into records, in any pieces; the worker moves
//! the bytes (`worker/tls`). `server` is the [`Tls`] of a listener, with `certificates` from PEM and `watch`, which
//! reloads them; `client` is the [`TlsClient`] of outbound connections,
//! `client_handshake` one of theirs; `info` is what a handshake agreed on;
//! `provider` names the cryptography.

pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod client_handshake;
pub(crate) mod info;
mod provider;
pub(crate) mod pump;
pub(crate) mod server;
mod watch;

pub use client::TlsClient;
pub use info::{TlsInfo, TlsVersion};
pub use server::Tls;
