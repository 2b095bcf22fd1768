//! Tidegate's API as the targets use it: one file per target, and no other names it.

pub mod client_handshake;
pub mod deflate_round_trip;
pub mod handshake;
pub mod http;
pub mod inflater;
pub mod negotiation;
pub mod router;
pub mod text_routes;
pub mod tls;
pub mod websocket;
