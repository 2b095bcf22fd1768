//! The opening handshake (RFC 6455 sections 1.3, 4 and 11.3), both roles, without I/O.
//!
//! It works on the `http` crate's types, so any HTTP layer can use it, and on
//! [`RequestHead`](tidegate_http::RequestHead). [`Offer`] is a client's request that passed every check, [`Acceptance`]
//! the server's answer to it; [`ClientHandshake`] builds a request and checks the response. [`Origin`] and
//! [`OriginAllowList`](crate::OriginAllowList) decide which pages may connect.
//!
//! The HTTP layer parses and sends heads and owns the timeout. It must give the bytes that follow the head, in the same
//! segment or not, to the [`Protocol`](crate::protocol::Protocol).

mod client;
mod error;
pub(crate) mod field;
mod key;
pub(crate) mod origin;
mod server;

pub use client::{ClientHandshake, Established};
pub use error::{UpgradeRequestError, UpgradeResponseError, UriError};
pub use field::Fields;
pub use key::{AcceptKey, Nonce};
pub(crate) use origin::check_same_origin_at;
pub use origin::{Origin, OriginError, check_same_origin};
pub use server::{Acceptance, Offer, is_websocket_request};

/// The only supported version of the protocol (RFC 6455 section 4.1).
pub const VERSION: &str = "13";
