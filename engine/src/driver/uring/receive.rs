//! Receiving on a ring: multishot receives into provided buffers, so that a connection without input holds none.
//!
//! A receive draws from one of two groups of buffers. A connection begins with the small ones; when most received
//! chunks fill them, its next receive draws from the large ones, and returns to the small ones when few do. A large
//! buffer saves the completions, and the handler's work for each chunk, of eight small ones. A receive that finds no
//! large buffer free ends and is armed again with small ones, so no connection waits for a large one.

use io_uring::cqueue;

use super::UringDriver;
use super::buffer_size_hint::BufferSizeHint;
use super::op::{Op, Token, next_sequence};
use super::slot::{FILLING, Slot, SlotState};
use crate::driver::{Event, ReceiveEnd, Received};
use crate::shared::key::ConnKey;

impl Slot {
    /// Returns the token of the last armed receive.
    pub(super) fn receive_token(&self, key: ConnKey) -> Token {
        let op = match self.size_hint.large {
            _ if self.flags.has(FILLING) => Op::MemoryFill,
            true => Op::ReceiveLarge,
            false => Op::Receive,
        };
        Token::new(op, key).with_sequence(self.sequence)
    }
}

impl UringDriver {
    pub(super) fn arm_receive(&mut self, key: ConnKey, budget: Option<u32>) {
        let large_bytes = self.buffers.large_bytes();
        let Some(slot) = self.slot(key) else { return };
        debug_assert!(!slot.receiving && slot.state == SlotState::Open);
        slot.receiving = true;
        slot.sequence = next_sequence(slot.sequence);
        if let Some(large_bytes) = large_bytes {
            slot.size_hint.choose();
            // The last buffer can be filled past the budget; keep that small.
            if budget.is_some_and(|budget| (budget as usize) < large_bytes / 2) {
                slot.size_hint.large = false;
            }
        }
        let (token, large) = (slot.receive_token(key), slot.size_hint.large);
        self.push_receive(token, self.fd(key), large, budget);
    }

    pub(super) fn cancel_receive(&mut self, key: ConnKey) {
        let Some(slot) = self.slot(key) else { return };
        if slot.receiving {
            let token = slot.receive_token(key);
            self.cancel(token);
        }
    }

    pub(super) fn on_receive(&mut self, token: Token, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let (result, more) = (completion.result(), cqueue::more(completion.flags()));
        let (key, large) = (token.key, token.op == Op::ReceiveLarge);
        let buffer = cqueue::buffer_select(completion.flags()).map(|buffer| {
            if self.buffers.filled(large) {
                events.push(Event::Burst);
            }
            Received::Buffer { buffer, large, len: result.max(0) as u32 }
        });
        let small_bytes = self.buffers.small_bytes();
        let endless = self.buffers.large_bytes().is_some() && !self.features.receive_budget;
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
        let token_to_cancel = slot.receive_token(key);
        match buffer {
            Some(data) if result > 0 && !ending => events.push(Event::Received { key, data, more }),
            unread => {
                // The connection is ending, or the buffer came without bytes (on some kernels, at the end of the
                // stream).
                unread.into_iter().for_each(|buffer| self.buffers.recycle(buffer));
                if !more && !ending {
                    let end = self.receive_end(key, result);
                    events.push(Event::ReceiveEnded { key, end });
                }
            }
        }
        if overdue {
            self.cancel(token_to_cancel);
        }
        if !more {
            self.advance_close(key);
        }
    }

    /// Returns the meaning of the result of a receive without bytes.
    fn receive_end(&mut self, key: ConnKey, result: i32) -> ReceiveEnd {
        match -result {
            0 => ReceiveEnd::Eof,
            libc::ENOBUFS => {
                if let Some(slot) = self.slot(key) {
                    // Start again with small buffers.
                    slot.size_hint = BufferSizeHint::default();
                }
                ReceiveEnd::Starved
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => ReceiveEnd::Cancelled,
            errno => ReceiveEnd::Failed(errno),
        }
    }
}
