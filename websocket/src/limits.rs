//! The bounds of the protocol: those that RFC 6455 fixes, and the defaults of those it leaves open.
//!
//! The *number* of fragments of a message is not bounded: its bytes are, and a bound on the count would only refuse
//! honest peers.

/// Maximum payload bytes of a control frame (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// Maximum bytes of a close reason: those of a control frame minus the two bytes of the close code (RFC 6455 section
/// 5.5.1).
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// The bytes of the longest frame header: two bytes, a 64-bit length and a masking key (RFC 6455 section 5.2).
pub const FRAME_HEADER_BYTES_MAX: usize = 14;

/// The default bound on the bytes of a message: 64 MiB, far above the messages of applications and far below what would
/// let one peer exhaust a machine.
pub const MESSAGE_BYTES_MAX_DEFAULT: usize = 64 << 20;
