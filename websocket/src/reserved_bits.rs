//! The reserved bits in the first byte of a frame (RFC 6455 section 5.2).

use std::fmt;
use std::ops::BitOr;

/// A set of the three reserved bits of a frame's first byte (RFC 6455 section 5.2).
///
/// ```
/// use tidegate_websocket::ReservedBits;
/// let bits = ReservedBits::RSV1 | ReservedBits::RSV3;
/// assert!(bits.contains(ReservedBits::RSV1) && !bits.contains(ReservedBits::RSV2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ReservedBits(pub(crate) u8);

impl ReservedBits {
    /// No bits.
    pub const NONE: Self = Self(0);
    /// The first bit, 0x40 of the byte; used by permessage-deflate (RFC 7692).
    pub const RSV1: Self = Self(0x40);
    /// The second bit, 0x20 of the byte.
    pub const RSV2: Self = Self(0x20);
    /// The third bit, 0x10 of the byte.
    pub const RSV3: Self = Self(0x10);

    /// Returns the reserved bits of a frame's first byte.
    #[inline]
    pub(crate) const fn of_first_byte(byte: u8) -> Self {
        Self(byte & 0x70)
    }

    /// Returns whether all bits of `other` are set.
    #[must_use]
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Returns whether no bit is set.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns these bits without those of `other`.
    #[must_use]
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for ReservedBits {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for ReservedBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (bit, name) in [(Self::RSV1, "RSV1"), (Self::RSV2, "RSV2"), (Self::RSV3, "RSV3")] {
            if self.contains(bit) {
                write!(f, "{separator}{name}")?;
                separator = "+";
            }
        }
        if self.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for ReservedBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReservedBits({self})")
    }
}
