//! Watching for the peer's end while nothing is received: one poll that looks at no bytes.

use io_uring::{cqueue, opcode, types};

use super::UringDriver;
use super::op::{Op, Token};
use super::slot::{SlotState, WATCHING};
use crate::driver::Event;
use crate::shared::key::ConnKey;

impl UringDriver {
    pub(super) fn watch_end(&mut self, key: ConnKey, fin: bool) {
        let Some(slot) = self.slot(key).filter(|slot| slot.state == SlotState::Open && !slot.flags.has(WATCHING))
        else {
            return;
        };
        slot.flags.set(WATCHING);
        // The kernel reports errors and hang-ups of every poll, the peer's FIN included. To look beyond a FIN that is
        // known the poll must go on, and then reports changes only.
        let entry = opcode::PollAdd::new(types::Fd(self.fd(key)), libc::POLLRDHUP as u32).multi(!fin).build();
        // SAFETY: names no memory; the slot is not closed before this has completed.
        unsafe { self.push(Token::new(Op::Watch, key), entry) };
    }

    pub(super) fn on_watch(&mut self, key: ConnKey, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let more = cqueue::more(completion.flags());
        let Some(slot) = self.slot(key) else { return };
        slot.flags.put(WATCHING, more);
        let end = meaning(completion.result().max(0), !more);
        if let Some(error) = end.filter(|_| slot.state == SlotState::Open) {
            events.push(Event::PeerEnded { key, error });
        }
        self.advance_close(key);
    }
}

/// Returns the peer's end by the events of a poll, if they tell of one: `Some(None)` for a FIN, which counts only with
/// `fin`, or the error of the connection.
fn meaning(events: i32, fin: bool) -> Option<Option<i32>> {
    if events & i32::from(libc::POLLERR) != 0 {
        return Some(Some(libc::ECONNRESET));
    }
    (fin && events != 0).then_some(None)
}
