//! Receiving on a ring: which buffers a receive draws from, and what its completions bring.
//!
//! There are two groups of provided buffers. A connection begins with the small ones; when what it receives mostly fills
//! them its next receive draws from the large ones, and goes back when it does so no more. A large buffer saves the
//! completions, and what handlers do for each chunk, of eight small ones. A receive that finds no large buffer free goes
//! on with small ones, so nothing ever waits for a large one.

use std::io;
use std::sync::Arc;

use io_uring::{cqueue, opcode, squeue, types};

use super::UringDriver;
use super::buffer_size_hint::BufferSizeHint;
use super::buffers::BufferRing;
use super::op::{Op, Token, next_sequence};
use super::raw;
use super::ring::Ring;
use super::slot::{Slot, SlotState};
use crate::config::UringConfig;
use crate::driver::{Event, ReceiveEnd, Received};
use crate::shared::chunk::Chunk;
use crate::shared::key::ConnKey;
use crate::shared::signal::Signal;

const SMALL_GROUP: u16 = 0;
const LARGE_GROUP: u16 = 1;

/// One of so many buffers is not lent out. Copying a large chunk costs more, and nothing waits for a large buffer.
const SMALL_KEPT_SHARE: usize = 2;
const LARGE_KEPT_SHARE: usize = 4;

/// The buffers that receives draw from.
pub(super) struct BufferGroups {
    /// `None` where the kernel has no such rings: receives bring their own.
    small: Option<BufferRing>,
    /// `None` also where the configuration wants none.
    large: Option<BufferRing>,
    small_bytes: usize,
    large_bytes: usize,
}

impl BufferGroups {
    /// Registers the groups with `ring`, which must be dropped before them.
    pub(super) fn new(ring: &Ring, config: &UringConfig, signal: &Arc<Signal>) -> io::Result<Self> {
        let (small_bytes, large_bytes) = (config.receive_buffer_bytes, config.large_receive_buffer_bytes);
        let mut buffers = Self { small: None, large: None, small_bytes, large_bytes };
        if config.provided_buffers {
            buffers.small = provide(ring, SMALL_GROUP, config.receive_buffers, small_bytes, signal)?;
        }
        if buffers.small.is_some() && config.large_receive_buffers > 0 && large_bytes > small_bytes {
            buffers.large = provide(ring, LARGE_GROUP, config.large_receive_buffers, large_bytes, signal)?;
        }
        Ok(buffers)
    }

    pub(super) fn are_provided(&self) -> bool {
        self.small.is_some()
    }

    fn group(&mut self, large: bool) -> Option<&mut BufferRing> {
        if large { self.large.as_mut() } else { self.small.as_mut() }
    }

    pub(super) fn view<'a>(&'a self, received: &'a Received) -> &'a [u8] {
        match received {
            Received::Owned(bytes) => bytes,
            Received::Buffer { buffer, large, len } => {
                let group = if *large { &self.large } else { &self.small };
                group.as_ref().map_or(&[], |group| group.view(*buffer, *len))
            }
        }
    }

    pub(super) fn lease(&mut self, received: Received) -> Chunk {
        let (buffer, large, len) = match received {
            Received::Owned(bytes) => return Chunk::from(bytes),
            Received::Buffer { buffer, large, len } => (buffer, large, len),
        };
        match self.group(large) {
            Some(group) if group.is_plenty(if large { LARGE_KEPT_SHARE } else { SMALL_KEPT_SHARE }) => {
                Chunk::leased(group.lease(buffer, len))
            }
            _ => {
                let chunk = Chunk::from(self.view(&received).to_vec());
                self.recycle(received);
                chunk
            }
        }
    }

    pub(super) fn recycle(&mut self, received: Received) {
        if let Received::Buffer { buffer, large, .. } = received
            && let Some(group) = self.group(large)
        {
            group.recycle(buffer);
        }
    }

    /// Shows the kernel what came back.
    pub(super) fn publish(&mut self) {
        for group in [&mut self.small, &mut self.large].into_iter().flatten() {
            group.publish();
        }
    }

    /// See [`Driver::buffers_free`](crate::driver::Driver::buffers_free). Only small ones are waited for.
    pub(super) fn buffers_free_or_notify(&mut self) -> usize {
        let Some(small) = &mut self.small else { return usize::MAX };
        if small.free() == 0 {
            small.notify_on_return();
        }
        small.free()
    }

    /// Keeps the memory mapped for ever: for a ring that could not be brought to an end.
    pub(super) fn leak(&self) {
        for group in [&self.small, &self.large].into_iter().flatten() {
            group.leak();
        }
    }
}

/// Makes receive buffers and registers them as `group`; `None` where the kernel has no such rings.
fn provide(
    ring: &Ring,
    group: u16,
    count: u16,
    buffer_bytes: usize,
    signal: &Arc<Signal>,
) -> io::Result<Option<BufferRing>> {
    let buffers = BufferRing::new(count, buffer_bytes, Arc::clone(signal))?;
    // SAFETY: the table is kept by the driver, which drops it after its ring.
    match unsafe { buffers.register(ring, group) } {
        Ok(()) => Ok(Some(buffers)),
        Err(error) => {
            log::info!("no provided-buffer rings (before Linux 5.19), receiving into plain buffers: {error}");
            Ok(None)
        }
    }
}

impl Slot {
    /// The token of the receive that was armed last.
    pub(super) fn receive_token(&self, key: ConnKey) -> Token {
        let op = if self.size_hint.large { Op::ReceiveLarge } else { Op::Receive };
        Token::new(op, key).with_sequence(self.sequence)
    }
}

impl UringDriver {
    pub(super) fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        let (features, has_large) = (self.features, self.buffers.large.is_some());
        let (small_bytes, large_bytes) = (self.buffers.small_bytes, self.buffers.large_bytes);
        let Some(slot) = self.slot(key) else { return };
        debug_assert!(!slot.receiving && slot.state == SlotState::Open);
        slot.receiving = true;
        slot.sequence = next_sequence(slot.sequence);
        if has_large {
            slot.size_hint.choose();
            // The last buffer may be filled past the budget: not by much.
            if budget.is_some_and(|budget| (budget as usize) < large_bytes / 2) {
                slot.size_hint.large = false;
            }
        }
        let (fd, token, large) = (types::Fd(slot.fd), slot.receive_token(key), slot.size_hint.large);
        let (group, buffer_bytes) = if large { (LARGE_GROUP, large_bytes) } else { (SMALL_GROUP, small_bytes) };
        let len = (budget.unwrap_or(u32::MAX) as usize).min(buffer_bytes) as u32;
        let entry = match (features.provided_buffers, features.multishot_receive, budget) {
            (true, true, Some(budget)) => raw::receive_multi_with_budget(fd, group, budget),
            (true, true, None) => opcode::RecvMulti::new(fd, group).build(),
            (true, false, _) => opcode::Recv::new(fd, std::ptr::null_mut(), len)
                .buf_group(group)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            (false, ..) => {
                let plain = &mut slot.cold().plain;
                *plain = vec![0; len as usize];
                opcode::Recv::new(fd, plain.as_mut_ptr(), len).build()
            }
        };
        // SAFETY: provided buffers live as long as the ring; a plain buffer stays in its slot, untouched, until the
        // receive has completed. `raw::fixed` keeps the flags already set.
        unsafe { self.push(token, entry) };
    }

    pub(super) fn on_receive(&mut self, token: Token, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let (result, more) = (completion.result(), cqueue::more(completion.flags()));
        let (key, large) = (token.key, token.op == Op::ReceiveLarge);
        let buffer = cqueue::buffer_select(completion.flags());
        if let (Some(_), Some(group)) = (buffer, self.buffers.group(large)) {
            group.filled();
        }
        let buffer = buffer.map(|buffer| Received::Buffer { buffer, large, len: result.max(0) as u32 });
        let small_bytes = self.buffers.small_bytes;
        let endless = self.buffers.large.is_some() && !self.features.receive_budget;
        let current = self.slot(key).filter(|slot| slot.sequence == token.sequence && slot.receiving);
        let Some(slot) = current else {
            debug_assert!(false, "a receive of a slot's former connection outlived it");
            buffer.into_iter().for_each(|buffer| self.buffers.recycle(buffer));
            return;
        };
        slot.receiving = more;
        let ending = slot.state != SlotState::Open;
        slot.size_hint.note(result as usize >= small_bytes && result > 0);
        let overdue = endless && more && !ending && slot.size_hint.is_overdue();
        let cancelled = slot.receive_token(key);
        let data = match (result, buffer) {
            (1.., Some(buffer)) => Some(buffer),
            (1.., None) => {
                let mut plain = slot.take_plain();
                plain.truncate(result as usize);
                Some(Received::Owned(plain))
            }
            (_, Some(buffer)) => {
                // No bytes came with it (the end of the stream, on some kernels).
                self.buffers.recycle(buffer);
                None
            }
            _ => None,
        };
        match data {
            Some(data) if ending => self.buffers.recycle(data),
            Some(data) => events.push(Event::Received { key, data, more }),
            None if !more && !ending => {
                let end = self.receive_end(key, result);
                events.push(Event::ReceiveEnded { key, end });
            }
            None => {}
        }
        if overdue {
            self.cancel(cancelled);
        }
        if !more {
            self.advance_close(key);
        }
    }

    /// What the result of a receive that brought nothing means.
    fn receive_end(&mut self, key: ConnKey, result: i32) -> ReceiveEnd {
        match -result {
            0 => ReceiveEnd::Eof,
            libc::ENOBUFS => {
                if let Some(slot) = self.slot(key) {
                    // Small buffers next, until they fill again.
                    slot.size_hint = BufferSizeHint::default();
                }
                ReceiveEnd::Starved
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => ReceiveEnd::Cancelled,
            errno => ReceiveEnd::Failed(errno),
        }
    }
}
