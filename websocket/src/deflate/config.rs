//! The settings of compression: the level, the windows and what is kept between messages.

use crate::usage_error::UsageError;

tidegate_engine::__settings! {
    /// The settings of compression. *Own* and *peer* depend on the role: a server's own window is
    /// `server_max_window_bits` of RFC 7692.
    ///
    /// ```
    /// use tidegate_websocket::{CompressionLevel, DeflateConfig, WindowBits};
    /// let config = DeflateConfig::default()
    ///     .level(CompressionLevel::new(6)?)
    ///     .own_context_takeover(true) // compresses better, and holds memory for each connection
    ///     .own_window_bits_max(WindowBits::new(12)?);
    /// # Ok::<(), tidegate_websocket::UsageError>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    #[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
    pub struct DeflateConfig {
        /// The compression level. Default: 1. Connections can change theirs.
        pub level: CompressionLevel,
        /// Minimum payload bytes of a message that is compressed: any number, 0 for all messages. Default: 128, below
        /// which headers and processor time outweigh the savings. Larger messages are sent compressed only if that
        /// makes them smaller.
        pub threshold_bytes: usize,
        /// The window of our compressor. Default: 15, which is 32 KiB.
        pub own_window_bits_max: WindowBits,
        /// The window of the peer's compressor. Default: 15. A server can demand less only of clients that offer it;
        /// for others this has no effect. A server that does not agree to a client's demand declines the offer.
        pub peer_window_bits_max: WindowBits,
        /// Whether our compressor keeps its context between messages, unless the peer forbids it. Default: false.
        pub own_context_takeover: bool,
        /// Whether the peer's compressor can keep its context between messages, for which we keep a window. Default:
        /// false. A server demands it of its clients, a client requests it of its server.
        pub peer_context_takeover: bool,
    }
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

/// The level of compression, from -2 to 9, with about the sizes of zlib's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
pub struct CompressionLevel(i8);

impl CompressionLevel {
    /// -2: Huffman coding only, without a search for repetitions.
    pub const HUFFMAN_ONLY: Self = Self(-2);
    /// -1: the default of zlib, level 6.
    pub const LIBRARY_DEFAULT: Self = Self(-1);
    /// 1: the default of this crate.
    pub const FASTEST: Self = Self(1);
    /// 9: the best compression.
    pub const BEST: Self = Self(9);

    /// Returns a level from -2 to 9. At 0 nothing is compressed.
    ///
    /// # Errors
    /// [`UsageError::CompressionLevel`] for any other number.
    pub const fn new(level: i32) -> Result<Self, UsageError> {
        match level {
            -2..=9 => Ok(Self(level as i8)),
            _ => Err(UsageError::CompressionLevel { level }),
        }
    }

    /// Returns the number.
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

/// The window of a compressor as a power of two: with `n` bits it looks back 2^n bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(tidegate_docs, doc(cfg(feature = "compression")))]
pub struct WindowBits(pub(super) u8);

impl WindowBits {
    /// 9: 512 bytes.
    pub const MIN: Self = Self(9);
    /// 15: 32 KiB.
    pub const MAX: Self = Self(15);
    /// 8: allowed for peers, but not supported by our compressor.
    pub(super) const EIGHT: Self = Self(8);

    /// Returns a window of 9 to 15 bits. RFC 7692 also has windows of 8 bits, which our compressor, like zlib's, does
    /// not support: a server declines offers that demand one, and a client of which one is demanded sends its messages
    /// uncompressed. Peers can use such a window for their own messages.
    ///
    /// # Errors
    /// [`UsageError::WindowBits`] for any other number.
    pub const fn new(bits: u8) -> Result<Self, UsageError> {
        match bits {
            9..=15 => Ok(Self(bits)),
            _ => Err(UsageError::WindowBits { bits }),
        }
    }

    /// Returns the number of bits.
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
