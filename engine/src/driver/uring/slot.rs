//! One slot of a ring's file table: a connection's socket and which of its operations are in flight.

use crate::shared::command::SocketTask;

use super::accept::Arriving;
use super::buffer_size_hint::BufferSizeHint;

/// No send is in flight.
pub(super) const NO_SEND: u32 = u32::MAX;

/// Small: very many of them are idle. What only some connections need, or for a short time, is in [`Cold`].
pub(super) struct Slot {
    /// The direct descriptor's number, or the regular one's.
    pub(super) fd: i32,
    pub(super) generation: u32,
    /// Index into the table of sends, or `NO_SEND`.
    pub(super) send: u32,
    /// Number of the receive armed last.
    pub(super) sequence: u16,
    pub(super) state: SlotState,
    pub(super) receiving: bool,
    /// The peer's name is being looked up.
    pub(super) naming: bool,
    pub(super) shutting_down: bool,
    /// How the receives of late filled their buffers.
    pub(super) size_hint: BufferSizeHint,
    cold: Option<Box<Cold>>,
}

const _: () = assert!(size_of::<Slot>() <= 32);

#[derive(Default)]
pub(super) struct Cold {
    /// What to do with the socket once it is lent out, oldest first.
    pub(super) fd_tasks: Vec<SocketTask>,
    /// Accepted and not reported yet: its addresses are being looked up. The kernel writes to it.
    pub(super) arriving: Option<Arriving>,
}

/// ```text
///   Free ── accepted ──▶ Open ── close ──▶ Ending (operations end) ──▶ Closing (close submitted) ──▶ Free
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
            naming: false,
            shutting_down: false,
            size_hint: BufferSizeHint::default(),
            cold: None,
        }
    }

    /// Whether an operation of this slot is in flight.
    pub(super) fn is_busy(&self) -> bool {
        let fd_tasks = self.cold.as_ref().is_some_and(|cold| !cold.fd_tasks.is_empty());
        self.receiving || self.naming || self.shutting_down || self.send != NO_SEND || fd_tasks
    }

    /// What only some need, allocated now if it is not.
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

    /// Keeps what the kernel may still write to allocated for the rest of the process.
    pub(super) fn leak(&mut self) {
        if self.arriving().is_some() {
            std::mem::forget(self.cold.take());
        }
    }

    /// Frees the cold state once none of it is in use.
    fn free_cold_if_unused(&mut self) {
        let done = |cold: &Cold| cold.fd_tasks.is_empty() && cold.arriving.is_none();
        if !self.naming && self.cold.as_deref().is_some_and(done) {
            self.cold = None;
        }
    }

    /// Free for the next connection, under another name.
    pub(super) fn release(&mut self, next_generation: u32) {
        *self = Self { generation: next_generation, sequence: self.sequence, ..Self::free() };
    }
}
