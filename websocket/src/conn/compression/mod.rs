//! Sending compressed messages, on the connections that agreed on it.

mod compressor;
mod send_deflated;

pub(crate) use compressor::Compression;
pub use compressor::CompressionStatus;
pub(crate) use send_deflated::DeflateJob;
