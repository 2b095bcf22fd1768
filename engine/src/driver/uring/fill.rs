//! Receiving once into memory of the reader, which the slot owns until the completion.

use io_uring::{opcode, types};

use super::UringDriver;
use super::op::{Op, Token, next_sequence};
use super::slot::{FILLING, SlotState};
use crate::driver::{Event, ReceiveEnd};
use crate::shared::fill::MemoryFill;
use crate::shared::key::ConnKey;

impl UringDriver {
    pub(super) fn fill(&mut self, key: ConnKey, fill: Box<MemoryFill>) {
        let Some(slot) = self.slot(key).filter(|slot| slot.state == SlotState::Open) else { return };
        debug_assert!(!slot.receiving, "one receive is armed at a time");
        slot.receiving = true;
        slot.flags.set(FILLING);
        slot.sequence = next_sequence(slot.sequence);
        self.colds.of(key.index).fill = Some(fill);
        self.submit_fill(key);
    }

    fn submit_fill(&mut self, key: ConnKey) {
        let fd = types::Fd(self.fd(key));
        let Some(slot) = self.slot(key) else { return };
        let token = Token::new(Op::MemoryFill, key).with_sequence(slot.sequence);
        let Some(fill) = &mut self.colds.of(key.index).fill else { return };
        let place = fill.place();
        let entry = opcode::Recv::new(fd, place.as_mut_ptr().cast(), place.len() as u32).build();
        // SAFETY: the fill stays untouched in its slot until the completion is reaped, and the slot is not closed
        // before. Moving the slot or the box does not move the heap memory that the kernel was given.
        unsafe { self.push(token, entry) };
    }

    pub(super) fn on_fill(&mut self, token: Token, result: i32, events: &mut Vec<Event>) {
        let key = token.key;
        let current = self.slot(key).filter(|slot| slot.sequence == token.sequence && slot.receiving);
        let Some(slot) = current else {
            debug_assert!(false, "a fill of a slot's former connection outlived it");
            return;
        };
        let ending = slot.state != SlotState::Open;
        if !ending && matches!(-result, libc::EINTR | libc::EAGAIN) {
            return self.submit_fill(key);
        }
        slot.receiving = false;
        slot.flags.clear(FILLING);
        let fill = self.colds.take_fill(key.index);
        if ending {
            return self.advance_close(key);
        }
        match (fill, result) {
            (Some(mut fill), 1..) => {
                debug_assert!(result as usize <= fill.place().len());
                let memory = fill.memory_mut();
                // SAFETY: the kernel has written this many bytes to the place, which begins at the memory's length.
                unsafe { memory.set_len(memory.len() + result as usize) };
                events.push(Event::Filled { key, fill });
            }
            (_, 0..) => events.push(Event::ReceiveEnded { key, end: ReceiveEnd::Eof }),
            (_, _) => events.push(Event::ReceiveEnded { key, end: ReceiveEnd::Failed(-result) }),
        }
    }
}
