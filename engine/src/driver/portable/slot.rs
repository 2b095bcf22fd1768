//! One connection: its socket, its readiness and its operations.

use socket2::Socket;

use super::system;

/// No bytes wait for the socket to be writable.
pub(super) const NOTHING_UNSENT: u32 = u32::MAX;

/// A receive without a budget.
pub(super) const UNBOUNDED: u32 = u32::MAX;

/// In place of a budget while no receive is armed, but a fill.
const FILLING: u32 = u32::MAX - 1;

/// A slot. Kept small, because most are idle.
pub(super) struct Slot {
    /// `None` in a free slot.
    pub(super) socket: Option<Socket>,
    pub(super) generation: u32,
    /// Bytes that the armed receive may still deliver, or `UNBOUNDED`.
    pub(super) budget: u32,
    /// The number of the batch that waits for the socket to be writable, or `NOTHING_UNSENT`.
    pub(super) unsent: u32,
    /// A receive is armed.
    pub(super) receiving: bool,
    /// The socket can have unread bytes or an unread end.
    pub(super) readable: bool,
    /// Reads can stop at urgent data before they have taken everything.
    pub(super) urgent: bool,
    /// In the list of ready connections.
    pub(super) queued: bool,
    /// The registration includes writability, as of the first send that had to wait.
    pub(super) watches_writability: bool,
    pub(super) end: PeerEnd,
    pub(super) watch: Watch,
    /// Reads to come into large buffers, unless they need them again.
    pub(super) large_reads: u8,
}

const _: () = assert!(size_of::<Option<Slot>>() <= 24);

/// The peer's end as far as it is known, possibly behind unread bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerEnd {
    None,
    Fin,
    /// The connection has failed.
    Error,
}

/// What the worker asked to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    Nothing,
    Errors,
    ErrorsAndFin,
}

impl Slot {
    pub(super) fn free() -> Self {
        Self {
            socket: None,
            generation: 0,
            budget: 0,
            unsent: NOTHING_UNSENT,
            receiving: false,
            readable: false,
            urgent: system::MAYBE_URGENT,
            queued: false,
            watches_writability: false,
            end: PeerEnd::None,
            watch: Watch::Nothing,
            large_reads: 0,
        }
    }

    /// Returns whether its receive is a fill, which is in the driver's table.
    pub(super) fn is_filling(&self) -> bool {
        !self.receiving && self.budget == FILLING
    }

    /// Begins or ends a fill.
    pub(super) fn set_filling(&mut self, filling: bool) {
        self.budget = if filling { FILLING } else { 0 };
    }

    /// Frees the slot for the next connection, which gets another generation. Returns the socket.
    pub(super) fn release(&mut self) -> Option<Socket> {
        let freed = Self { generation: self.generation.wrapping_add(1), ..Self::free() };
        std::mem::replace(self, freed).socket
    }

    /// Records that the peer has ended, or that the connection has failed.
    pub(super) fn note_end(&mut self, failed: bool) {
        if failed {
            self.end = PeerEnd::Error;
        } else if self.end == PeerEnd::None {
            self.end = PeerEnd::Fin;
        }
    }
}
