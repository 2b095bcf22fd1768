//! The bounds every request is held to.
//!
//! Owns the numbers and their check, nothing else. The parser and the protocol machine read them; a server parses its
//! configuration into a [`Limits`] once, calls [`Limits::check`], and shares it between all connections.

use thiserror::Error;

/// The most fields a head can be allowed to have, whatever [`Limits::fields_max`] asks for: the parser keeps its
/// field table on the stack.
pub const FIELDS_CEILING: usize = 256;

/// The longest request-target that can be allowed: what `http::Uri` can hold.
pub const TARGET_BYTES_CEILING: usize = 65_534;

/// The largest head that can be allowed. Positions in a head are 32 bits wide, and a head is held in memory whole.
pub const HEAD_BYTES_CEILING: usize = 16 * 1024 * 1024;

/// The bounds of one request.
///
/// All have defaults; override single ones with struct update syntax.
///
/// ```
/// use tidegate_http::Limits;
/// let limits = Limits { body_bytes_max: 1024, ..Limits::default() };
/// assert!(limits.check().is_ok());
/// assert_eq!(limits.fields_max, 100);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line and all fields, line ends included. Beyond: 431. Default 64 KiB.
    pub head_bytes_max: usize,
    /// Fields in one head, and in one trailer section. Beyond: 431. Default 100, at most [`FIELDS_CEILING`].
    pub fields_max: usize,
    /// Bytes of the request-target. Beyond: 414. Default 8 KiB, which is what RFC 9110, section 4.1 asks for.
    pub target_bytes_max: usize,
    /// Bytes of a request's content, after decoding the transfer coding. Beyond: 413. Default 100 MiB.
    pub body_bytes_max: u64,
    /// Bytes of one chunk-size line with its extensions. Beyond: 400. Default 1 KiB.
    pub chunk_line_bytes_max: usize,
    /// Bytes of chunk extensions in one request. They are skipped unread, so a body made of them would be work for
    /// nothing. Beyond: 400. Default 16 KiB.
    pub chunk_extension_bytes_max: usize,
    /// Bytes of a trailer section, line ends included. Beyond: 431. Default 8 KiB.
    pub trailer_bytes_max: usize,
    /// Bytes of content read and thrown away when a handler answered without reading all of it, so that the
    /// connection can be used again. Beyond: the connection closes. Default 256 KiB, about what a peer has already
    /// put on the way.
    pub drain_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 64 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
            body_bytes_max: 100 * 1024 * 1024,
            chunk_line_bytes_max: 1024,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 8 * 1024,
            drain_bytes_max: 256 * 1024,
        }
    }
}

impl Limits {
    /// Checks that the bounds make sense together.
    ///
    /// The protocol machine works with unchecked limits too, and treats a value above its ceiling as the ceiling.
    ///
    /// # Errors
    /// The first bound that is zero or above its ceiling.
    pub fn check(&self) -> Result<(), LimitsError> {
        within("head_bytes_max", self.head_bytes_max, HEAD_BYTES_CEILING)?;
        within("fields_max", self.fields_max, FIELDS_CEILING)?;
        within("target_bytes_max", self.target_bytes_max, TARGET_BYTES_CEILING)?;
        within("chunk_line_bytes_max", self.chunk_line_bytes_max, HEAD_BYTES_CEILING)?;
        within("trailer_bytes_max", self.trailer_bytes_max, HEAD_BYTES_CEILING)?;
        if self.target_bytes_max >= self.head_bytes_max {
            return Err(LimitsError::TargetAboveHead);
        }
        Ok(())
    }
}

/// A bound that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LimitsError {
    /// The bound of this name must be between 1 and its ceiling.
    #[error("{name} must be between 1 and {ceiling}")]
    OutOfRange {
        /// The field of [`Limits`].
        name: &'static str,
        /// The largest value it may have.
        ceiling: usize,
    },
    /// A target of the allowed length would not fit in a head of the allowed length.
    #[error("target_bytes_max must be below head_bytes_max")]
    TargetAboveHead,
}

fn within(name: &'static str, value: usize, ceiling: usize) -> Result<(), LimitsError> {
    if (1..=ceiling).contains(&value) { Ok(()) } else { Err(LimitsError::OutOfRange { name, ceiling }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn zero_and_too_large_are_named() {
        let limits = Limits { fields_max: FIELDS_CEILING + 1, ..Limits::default() };
        assert_eq!(limits.check(), Err(LimitsError::OutOfRange { name: "fields_max", ceiling: FIELDS_CEILING }));
        let limits = Limits { head_bytes_max: 0, ..Limits::default() };
        assert!(matches!(limits.check(), Err(LimitsError::OutOfRange { name, .. }) if name == "head_bytes_max"));
    }

    #[test]
    fn the_target_fits_in_the_head() {
        let limits = Limits { head_bytes_max: 1024, target_bytes_max: 1024, ..Limits::default() };
        assert_eq!(limits.check(), Err(LimitsError::TargetAboveHead));
    }
}
