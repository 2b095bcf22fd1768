//! One slot of a ring's file table: a connection's socket and its operations in flight.

use crate::shared::command::SocketTask;
use crate::shared::fill::MemoryFill;

use super::accept::Arriving;
use super::buffer_size_hint::BufferSizeHint;

/// No send is in flight.
pub(super) const NO_SEND: u32 = u32::MAX;

/// A slot. Kept small, because most are idle; state that only some connections need, or only for a short time, is in
/// [`Cold`].
pub(super) struct Slot {
    /// The number of the direct or regular descriptor.
    pub(super) fd: i32,
    pub(super) generation: u32,
    /// Index into the table of sends, or `NO_SEND`.
    pub(super) send: u32,
    /// Sequence number of the last armed receive.
    pub(super) sequence: u16,
    pub(super) state: SlotState,
    pub(super) receiving: bool,
    /// A poll for the peer's end is in flight.
    pub(super) watching: bool,
    /// The peer's address is being looked up.
    pub(super) naming: bool,
    pub(super) shutting_down: bool,
    /// A step of its attempt to connect is in flight.
    pub(super) connecting: bool,
    /// Choice of the receive buffers.
    pub(super) size_hint: BufferSizeHint,
    cold: Option<Box<Cold>>,
}

const _: () = assert!(size_of::<Slot>() <= 32);

#[derive(Default)]
pub(super) struct Cold {
    /// Tasks to run on the socket once its descriptor is installed, oldest first.
    pub(super) fd_tasks: Vec<SocketTask>,
    /// An accepted connection that is not yet reported, because its addresses are being looked up. The kernel writes to
    /// it.
    pub(super) arriving: Option<Arriving>,
    /// The attempt to connect that it belongs to, until that is over.
    pub(super) attempt: Option<u32>,
    /// The fill in flight, which is the slot's receive. The kernel writes to its memory.
    pub(super) fill: Option<Box<MemoryFill>>,
}

/// ```text
///   Free ── opened ──▶ Open ── close ──▶ Ending (operations end) ──▶ Closing (close submitted) ──▶ Free
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotState {
    Free,
    Open,
    Ending,
    Closing,
}

impl Slot {
    pub(super) fn free() -> Self {
        Self {
            fd: -1,
            generation: 0,
            send: NO_SEND,
            sequence: 0,
            state: SlotState::Free,
            receiving: false,
            watching: false,
            naming: false,
            shutting_down: false,
            connecting: false,
            size_hint: BufferSizeHint::default(),
            cold: None,
        }
    }

    /// Returns whether an operation of this slot is in flight.
    pub(super) fn is_busy(&self) -> bool {
        let fd_tasks = self.cold.as_ref().is_some_and(|cold| !cold.fd_tasks.is_empty());
        let opening = self.naming || self.connecting;
        self.receiving || self.watching || opening || self.shutting_down || self.send != NO_SEND || fd_tasks
    }

    /// Returns the cold state, allocating it if needed.
    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    pub(super) fn arriving(&mut self) -> Option<&mut Arriving> {
        self.cold.as_mut()?.arriving.as_mut()
    }

    pub(super) fn take_fd_task(&mut self) -> Option<SocketTask> {
        let fd_tasks = &mut self.cold.as_mut()?.fd_tasks;
        let task = (!fd_tasks.is_empty()).then(|| fd_tasks.remove(0));
        self.free_cold_if_unused();
        task
    }

    pub(super) fn take_arriving(&mut self) -> Option<Arriving> {
        let arriving = self.cold.as_mut()?.arriving.take();
        self.free_cold_if_unused();
        arriving
    }

    /// Returns the attempt to connect that it belongs to.
    pub(super) fn attempt(&self) -> Option<u32> {
        self.cold.as_ref()?.attempt
    }

    /// Returns whether its receive is a fill.
    pub(super) fn is_filling(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.fill.is_some())
    }

    pub(super) fn take_fill(&mut self) -> Option<Box<MemoryFill>> {
        let fill = self.cold.as_mut()?.fill.take();
        self.free_cold_if_unused();
        fill
    }

    /// Ends the attempt with an open connection.
    pub(super) fn end_attempt(&mut self) {
        if let Some(cold) = &mut self.cold {
            cold.attempt = None;
        }
        self.free_cold_if_unused();
    }

    /// Keeps memory that the kernel can still write to allocated for the rest of the process.
    pub(super) fn leak(&mut self) {
        if self.arriving().is_some() || self.is_filling() {
            std::mem::forget(self.cold.take());
        }
    }

    /// Frees the cold state if none of it is in use.
    fn free_cold_if_unused(&mut self) {
        let done = |cold: &Cold| {
            cold.fd_tasks.is_empty() && cold.arriving.is_none() && cold.attempt.is_none() && cold.fill.is_none()
        };
        if !self.naming && self.cold.as_deref().is_some_and(done) {
            self.cold = None;
        }
    }

    /// Frees the slot for the next connection, which gets another generation.
    pub(super) fn release(&mut self, next_generation: u32) {
        *self = Self { generation: next_generation, sequence: self.sequence, ..Self::free() };
    }
}
