//! Strict sans-I/O HTTP/1.1 and the Tidegate HTTP server.
#![forbid(unsafe_code)]

mod body;
pub mod date;
mod encode;
pub mod error;
mod exchange;
mod framing;
mod handler;
mod head;
pub mod limits;
mod parse;
mod pattern;
mod request;
mod router;
pub use error::*;
pub use handler::*;
pub use protocol::*;
pub use request::*;
pub use router::*;

pub mod protocol;
mod response;
mod scan;
mod stream;
pub use date::*;
pub use response::*;
pub use stream::*;
mod target;
pub use head::RequestHead;
pub use limits::*;
