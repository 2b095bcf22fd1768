//! The flags of an outbound queue, one bit each.

/// The worker is notified of queued bytes, or will check when the send in flight completes.
pub(super) const SCHEDULED: u8 = 1;
/// A sender was refused: waiters are woken at the low mark.
pub(super) const FULL: u8 = 1 << 1;
/// A flush waits for queued bytes: waiters are woken after each batch.
pub(super) const FLUSHING: u8 = 1 << 2;
/// A FIN is to follow the queued bytes.
pub(super) const FIN: u8 = 1 << 3;
/// A FIN was sent.
pub(super) const FIN_SENT: u8 = 1 << 4;
/// The connection was dropped: the command to send FIN after the queued bytes follows in the same turn.
pub(super) const ENDING: u8 = 1 << 5;
/// The peer has ended its side.
pub(super) const PEER_ENDED: u8 = 1 << 6;
