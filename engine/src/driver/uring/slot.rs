//! One slot of a ring's file table: a connection's socket and its operations in flight.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use super::UringDriver;
use super::accept::Arriving;
use super::buffer_size_hint::BufferSizeHint;
use crate::shared::command::SocketTask;
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;
use crate::util::flags::Flags;
use crate::util::pieces::Pieces;

/// No send is in flight.
pub(super) const NO_SEND: u32 = u32::MAX;

/// A slot. Kept small, because most are idle; state that only some connections need, or only for a short time, is in
/// [`Colds`]. Its number is that of its direct descriptor.
pub(super) struct Slot {
    pub(super) generation: u32,
    /// Index into the table of sends, or `NO_SEND`.
    pub(super) send: u32,
    /// Sequence number of the last armed receive.
    pub(super) sequence: u16,
    pub(super) state: SlotState,
    pub(super) receiving: bool,
    /// The rarer operations in flight.
    pub(super) flags: Flags,
    /// Choice of the receive buffers.
    pub(super) size_hint: BufferSizeHint,
}

const _: () = assert!(size_of::<Option<Slot>>() <= 16);

/// A poll for the peer's end is in flight.
pub(super) const WATCHING: u8 = 1;
/// The peer's address is being looked up.
pub(super) const NAMING: u8 = 1 << 1;
pub(super) const SHUTTING_DOWN: u8 = 1 << 2;
/// A step of its attempt to connect is in flight.
pub(super) const CONNECTING: u8 = 1 << 3;
/// Tasks wait for its descriptor to be installed.
pub(super) const INSTALLING: u8 = 1 << 4;

/// The receive in flight is a fill.
pub(super) const FILLING: u8 = 1 << 5;

/// FIN was sent.
pub(super) const SHUT_DOWN: u8 = 1 << 6;

const BUSY: u8 = WATCHING | NAMING | SHUTTING_DOWN | CONNECTING | INSTALLING;

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
            generation: 0,
            send: NO_SEND,
            sequence: 0,
            state: SlotState::Free,
            receiving: false,
            flags: Flags::default(),
            size_hint: BufferSizeHint::default(),
        }
    }

    /// Returns whether an operation of this slot is in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.receiving || self.flags.has(BUSY) || self.send != NO_SEND
    }

    /// Frees the slot for the next connection, which gets another generation.
    pub(super) fn release(&mut self, next_generation: u32) {
        *self = Self { generation: next_generation, sequence: self.sequence, ..Self::free() };
    }
}

/// Returns the slot of `key`, if it still belongs to that connection.
#[inline]
pub(super) fn slot_of(slots: &mut Pieces<Slot>, key: ConnKey) -> Option<&mut Slot> {
    let slot = slots.get_mut(key.index)?;
    (slot.generation == key.generation && slot.state != SlotState::Free).then_some(slot)
}

impl UringDriver {
    /// Returns the slot of `key`, if it still belongs to that connection.
    pub(super) fn slot(&mut self, key: ConnKey) -> Option<&mut Slot> {
        slot_of(&mut self.slots, key)
    }

    /// Returns the descriptor of `key` for entries that [`push`](UringDriver::push) queues: the direct one, or the
    /// regular one, which is open until the close of the slot is submitted.
    pub(super) fn fd(&self, key: ConnKey) -> i32 {
        match self.features.direct_descriptors {
            true => key.index as i32,
            false => self.sockets.get(key.index).map_or(-1, AsRawFd::as_raw_fd),
        }
    }
}

/// The state that only some slots have, by their number.
#[derive(Default)]
pub(super) struct Colds(BTreeMap<u32, Box<Cold>>);

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

impl Colds {
    /// Returns the state of a slot, which is made if needed.
    pub(super) fn of(&mut self, index: u32) -> &mut Cold {
        self.0.entry(index).or_default()
    }

    pub(super) fn arriving(&mut self, index: u32) -> Option<&mut Arriving> {
        self.0.get_mut(&index)?.arriving.as_mut()
    }

    /// Takes the oldest task of a slot. Returns it and whether others are left.
    pub(super) fn take_fd_task(&mut self, index: u32) -> Option<(SocketTask, bool)> {
        let fd_tasks = &mut self.0.get_mut(&index)?.fd_tasks;
        let task = (!fd_tasks.is_empty()).then(|| fd_tasks.remove(0));
        let are_left = !fd_tasks.is_empty();
        self.free_if_unused(index);
        Some((task?, are_left))
    }

    /// Takes the connection that is reported now. The kernel must not write to it any more.
    pub(super) fn take_arriving(&mut self, index: u32) -> Option<Arriving> {
        let arriving = self.0.get_mut(&index)?.arriving.take();
        self.free_if_unused(index);
        arriving
    }

    /// Takes the fill of a slot. The kernel must not write to it any more.
    pub(super) fn take_fill(&mut self, index: u32) -> Option<Box<MemoryFill>> {
        let fill = self.0.get_mut(&index)?.fill.take();
        self.free_if_unused(index);
        fill
    }

    /// Returns the attempt to connect that a slot belongs to.
    pub(super) fn attempt(&self, index: u32) -> Option<u32> {
        self.0.get(&index)?.attempt
    }

    /// Ends the attempt of a slot with an open connection.
    pub(super) fn end_attempt(&mut self, index: u32) {
        if let Some(cold) = self.0.get_mut(&index) {
            cold.attempt = None;
        }
        self.free_if_unused(index);
    }

    /// Removes the state of a slot that is free again. Returns the attempt to connect that it belonged to.
    pub(super) fn remove(&mut self, index: u32) -> Option<u32> {
        if self.0.is_empty() { None } else { self.0.remove(&index)?.attempt }
    }

    /// Takes all tasks.
    pub(super) fn take_all_fd_tasks(&mut self) -> Vec<SocketTask> {
        self.0.values_mut().flat_map(|cold| std::mem::take(&mut cold.fd_tasks)).collect()
    }

    /// Keeps memory that the kernel can still write to allocated for the rest of the process.
    pub(super) fn leak(&mut self) {
        let is_written = |cold: &Cold| cold.arriving.is_some() || cold.fill.is_some();
        std::mem::take(&mut self.0).into_values().filter(|cold| is_written(cold)).for_each(std::mem::forget);
    }

    fn free_if_unused(&mut self, index: u32) {
        let is_unused = |cold: &Cold| {
            cold.fd_tasks.is_empty() && cold.arriving.is_none() && cold.attempt.is_none() && cold.fill.is_none()
        };
        if self.0.get(&index).is_some_and(|cold| is_unused(cold)) {
            self.0.remove(&index);
        }
    }
}
