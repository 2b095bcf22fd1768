//! The identity of an operation, packed into the 64 bits of its user data.
//!
//! ```text
//!   63   60 59        48 47                    24 23                     0
//!  ┌───────┬────────────┬────────────────────────┬────────────────────────┐
//!  │  op   │  sequence  │       generation       │         index          │
//!  └───────┴────────────┴────────────────────────┴────────────────────────┘
//! ```
//! A completion is dispatched only on a full match. An index alone could hand the bytes of a slot's former connection
//! to its current one.

use crate::shared::key::ConnKey;

/// Maximum connection index of a ring.
pub(super) const INDEX_MAX: u32 = (1 << 24) - 1;
const GENERATION_MASK: u32 = (1 << 24) - 1;
const SEQUENCE_MASK: u16 = (1 << 12) - 1;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    /// An operation whose completion is ignored (cancellations, socket options).
    Ignore = 0,
    Accept = 1,
    Wake = 2,
    PeerName = 3,
    Receive = 4,
    Send = 5,
    Shutdown = 6,
    Install = 7,
    Close = 8,
    /// An install for a shutdown.
    InstallToShutDown = 9,
    /// A receive into large buffers.
    ReceiveLarge = 10,
    /// A poll for the peer's end.
    Watch = 11,
    /// A step of an attempt to connect.
    Connect = 12,
    /// An install for a send of a part of a file, and the wait until it can be sent further.
    SendFile = 13,
    /// A read of a file, whose index is its number.
    ReadFile = 14,
    /// A receive into memory of the reader.
    MemoryFill = 15,
}

impl Op {
    fn from_bits(bits: u64) -> Option<Self> {
        Some(match bits {
            0 => Self::Ignore,
            1 => Self::Accept,
            2 => Self::Wake,
            3 => Self::PeerName,
            4 => Self::Receive,
            5 => Self::Send,
            6 => Self::Shutdown,
            7 => Self::Install,
            8 => Self::Close,
            9 => Self::InstallToShutDown,
            10 => Self::ReceiveLarge,
            11 => Self::Watch,
            12 => Self::Connect,
            13 => Self::SendFile,
            14 => Self::ReadFile,
            15 => Self::MemoryFill,
            _ => return None,
        })
    }
}

/// An operation's identity: its op, its connection (or listener, or attempt to connect) and the sequence number of its
/// arming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) op: Op,
    pub(super) sequence: u16,
    pub(super) key: ConnKey,
}

impl Token {
    pub(super) fn new(op: Op, key: ConnKey) -> Self {
        Self { op, sequence: 0, key }
    }

    /// Creates a token without a connection: for a listener or an attempt by number, or the waker.
    pub(super) fn plain(op: Op, index: u32) -> Self {
        Self::new(op, ConnKey { index, generation: 0 })
    }

    pub(super) fn with_sequence(self, sequence: u16) -> Self {
        Self { sequence: sequence & SEQUENCE_MASK, ..self }
    }

    pub(super) fn pack(self) -> u64 {
        debug_assert!(self.key.index <= INDEX_MAX && self.key.generation <= GENERATION_MASK);
        (self.op as u64) << 60
            | u64::from(self.sequence & SEQUENCE_MASK) << 48
            | u64::from(self.key.generation & GENERATION_MASK) << 24
            | u64::from(self.key.index & INDEX_MAX)
    }

    pub(super) fn unpack(bits: u64) -> Option<Self> {
        Some(Self {
            op: Op::from_bits(bits >> 60)?,
            sequence: (bits >> 48) as u16 & SEQUENCE_MASK,
            key: ConnKey { index: bits as u32 & INDEX_MAX, generation: (bits >> 24) as u32 & GENERATION_MASK },
        })
    }
}

/// Returns the next generation of a slot, within the bits of a token.
pub(super) fn next_generation(generation: u32) -> u32 {
    (generation + 1) & GENERATION_MASK
}

/// Returns the next sequence number of a receive.
pub(super) fn next_sequence(sequence: u16) -> u16 {
    (sequence + 1) & SEQUENCE_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_round_trips_at_the_bounds() {
        for op in [
            Op::Ignore,
            Op::Accept,
            Op::Wake,
            Op::PeerName,
            Op::Receive,
            Op::Send,
            Op::Shutdown,
            Op::Install,
            Op::Close,
            Op::InstallToShutDown,
            Op::ReceiveLarge,
            Op::Watch,
            Op::Connect,
            Op::SendFile,
            Op::ReadFile,
            Op::MemoryFill,
        ] {
            for sequence in [0, 1, SEQUENCE_MASK] {
                for generation in [0, 1, GENERATION_MASK] {
                    for index in [0, 1, INDEX_MAX] {
                        let token = Token { op, sequence, key: ConnKey { index, generation } };
                        assert_eq!(Token::unpack(token.pack()), Some(token));
                    }
                }
            }
        }
    }

    #[test]
    fn generations_and_sequences_wrap_within_their_bits() {
        assert_eq!(next_generation(GENERATION_MASK), 0);
        assert_eq!(next_sequence(SEQUENCE_MASK), 0);
    }
}
