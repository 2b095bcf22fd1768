//! Compression of messages: permessage-deflate (RFC 7692), both roles, without I/O.
//!
//! `negotiate` agrees on the parameters in the opening handshake, `extension_list` reads the header they stand in. A message of a text or binary frame with RSV1 is then
//! a run of deflate blocks that ends with an empty one, whose last four bytes are left out: `deflater` makes such runs,
//! `inflater` reads them, `pool` lends the state of both to connections that keep none between messages.
//! [`Protocol`](crate::Protocol) inflates what comes, [`MessageDeflater`] compresses what goes.
//!
//! # What it costs
//! A connection that keeps its context from one message to the next (context takeover) holds the state for as long as it
//! lives, from the first compressed message on: [`DeflateParams::context_bytes_max`] says how much. One that does not borrows it from its
//! thread for each message: nothing is held while idle, and messages compress less well, above all small ones alike. So
//! contexts are not kept unless [`DeflateConfig`] says so.

mod deflater;
mod extension_list;
mod inflater;
mod inflation;
mod messages;
mod negotiate;
mod pool;

pub(crate) use deflater::Deflater;
pub(crate) use inflater::Inflater;
pub(crate) use inflation::Inflation;
pub(crate) use messages::DeflatedVariant;
pub use messages::MessageDeflater;
pub use negotiate::{DeflateAgreement, DeflateParams};

use crate::protocol_error::UsageError;

/// Bytes of output, or of input that is being compressed, after which a big message makes way for others.
pub(crate) const SLICE_BYTES: usize = 64 << 10;

/// Whether and how messages are compressed. Which side is meant by *own* and *peer* depends on the role: a server's own
/// window is what RFC 7692 calls `server_max_window_bits`.
///
/// ```
/// use tidegate_websocket::{CompressionLevel, DeflateConfig, WindowBits};
/// let mut config = DeflateConfig::default();
/// config.level = CompressionLevel::new(6)?;
/// config.own_context_takeover = true; // compresses better, and holds memory for each connection
/// config.own_window_bits_max = WindowBits::new(12)?;
/// # Ok::<(), tidegate_websocket::UsageError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// How hard to look for what is alike. Default 1; every connection may change its own.
    pub level: CompressionLevel,
    /// Messages of less payload are sent as they are, in bytes. Default 128: below, headers and the processor's time
    /// outweigh what is saved. Larger ones are sent compressed only if that made them smaller.
    pub threshold_bytes: usize,
    /// How far back our compressor may look. Default 15: 32 KiB.
    pub own_window_bits_max: WindowBits,
    /// How far back the peer's compressor may look. Default 15. A client is told less only if it offered to be told;
    /// otherwise this has no effect at a server. A server that does not agree to what a client asks for declines.
    pub peer_window_bits_max: WindowBits,
    /// Whether our compressor keeps its context between messages, unless the peer forbids it. Default no.
    pub own_context_takeover: bool,
    /// Whether the peer's compressor may keep its context between messages, for which we keep a window. Default no: a
    /// server tells its clients so, and a client asks its server for it.
    pub peer_context_takeover: bool,
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            level: CompressionLevel::FASTEST,
            threshold_bytes: 128,
            own_window_bits_max: WindowBits::MAX,
            peer_window_bits_max: WindowBits::MAX,
            own_context_takeover: false,
            peer_context_takeover: false,
        }
    }
}

/// How hard the compressor looks for what is alike, from -2 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompressionLevel(i8);

impl CompressionLevel {
    /// -2: looks for nothing alike; common bytes take fewer bits than rare ones.
    pub const HUFFMAN_ONLY: Self = Self(-2);
    /// -1: what zlib does if nothing is said, level 6.
    pub const LIBRARY_DEFAULT: Self = Self(-1);
    /// 1, the default here.
    pub const FASTEST: Self = Self(1);
    /// 9.
    pub const BEST: Self = Self(9);

    /// A level from -2 to 9. At 0 nothing is compressed, so everything is sent as it is.
    ///
    /// # Errors
    /// [`UsageError::CompressionLevel`] for any other number.
    pub const fn new(level: i32) -> Result<Self, UsageError> {
        match level {
            -2..=9 => Ok(Self(level as i8)),
            _ => Err(UsageError::CompressionLevel { level }),
        }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> i32 {
        self.0 as i32
    }
}

impl Default for CompressionLevel {
    fn default() -> Self {
        Self::FASTEST
    }
}

/// The size of a compressor's window as a power of two: `n` bits are 2^n bytes that it may look back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 9: 512 bytes.
    pub const MIN: Self = Self(9);
    /// 15: 32 KiB.
    pub const MAX: Self = Self(15);
    /// What a peer may say, and our compressor cannot do.
    const EIGHT: Self = Self(8);

    /// A window of 9 to 15 bits. RFC 7692 knows windows of 8 bits, too, but zlib's compressors do not: a server
    /// declines to be asked for that, and a client that is told to sends its messages as they are. Peers that announce
    /// such a window of their own are understood.
    ///
    /// # Errors
    /// [`UsageError::WindowBits`] for any other number.
    pub const fn new(bits: u8) -> Result<Self, UsageError> {
        match bits {
            9..=15 => Ok(Self(bits)),
            _ => Err(UsageError::WindowBits { bits }),
        }
    }

    /// The number of bits.
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl Default for WindowBits {
    fn default() -> Self {
        Self::MAX
    }
}
