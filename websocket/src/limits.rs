//! The bounds of the protocol: those RFC 6455 fixes and the defaults of those it leaves open.
//!
//! Whoever checks one of them names it from here. Nothing in this crate bounds the *number* of fragments of a
//! message: the bytes are bounded, and a bound on the count only refuses honest peers.

/// Bytes of payload a control frame may carry, so that it always fits beside other traffic (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Bytes of UTF-8 a close reason may have: a control payload less the two bytes of the close code
/// (RFC 6455 section 5.5.1).
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// Bytes of the longest frame header: two, a 64-bit length and a masking key (RFC 6455 section 5.2).
pub const FRAME_HEADER_BYTES_MAX: usize = 14;

/// Bytes of the largest message accepted unless configured otherwise: 64 MiB, far above what applications send and
/// far below what would let one peer exhaust a machine.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = 64 << 20;
