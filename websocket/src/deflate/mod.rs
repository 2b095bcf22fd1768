//! Compression of messages: permessage-deflate (RFC 7692), both roles, without I/O.
//!
//! `negotiate` agrees on the parameters in the opening handshake, `extension_list` parses their header. A message whose
//! first frame has RSV1 is then a run of deflate blocks that ends with an empty block, whose last four bytes are left
//! out. `deflater` makes such runs with `encoder`, `inflater` reads them with `decoder`, `format` has what these share,
//! `pool` lends the state of both to connections that keep none between messages.
//! [`Protocol`](crate::protocol::Protocol) inflates received messages, [`MessageDeflater`] compresses sent ones.
//!
//! # Cost
//! A connection that keeps its context from one message to the next (context takeover) holds the state from the first
//! compressed message on: [`DeflateParams::context_bytes_max`] tells how much. A connection without context takeover
//! borrows the state from its thread for each message: it holds nothing while idle, but messages compress less well,
//! above all small similar ones. So contexts are not kept unless [`DeflateConfig`] says so.

mod config;
mod decoder;
mod deflater;
mod encoder;
mod extension_list;
mod format;
mod inflater;
mod inflation;
mod messages;
mod negotiate;
mod pool;
#[cfg(all(test, not(miri)))]
mod samples;

pub use config::{CompressionLevel, DeflateConfig, WindowBits};
pub(crate) use deflater::Deflater;
pub(crate) use inflater::Inflater;
pub(crate) use inflation::Inflation;
pub(crate) use messages::DeflatedVariant;
pub use messages::MessageDeflater;
pub use negotiate::{DeflateAgreement, DeflateParams};

/// The bytes of inflated output, or of input to compress, after which a big message lets other connections work.
pub(crate) const SLICE_BYTES: usize = 64 << 10;
