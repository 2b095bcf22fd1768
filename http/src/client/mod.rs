//! The client side of HTTP/1.1 without I/O, as far as opening handshakes, tunnels through proxies and redirects need
//! it.
//!
//! [`ResponseReader`] reads one response: strict, bounded, and in any pieces. It is not a client for HTTP requests at
//! large: there is no pool of connections, and no content in requests. Use a crate such as reqwest for that.

mod error;
mod framing;
mod reader;

pub use error::InvalidResponse;
pub use reader::{ResponseEvent, ResponseProgress, ResponseReader};
