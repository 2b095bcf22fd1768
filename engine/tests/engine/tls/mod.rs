//! TLS, against clients of rustls: every engine and placement, TLS 1.2 and 1.3.

mod certificates;
mod clients;
mod deadlines;
mod ends;
mod handshakes;
mod peer;
mod records;
