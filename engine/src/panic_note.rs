//! The handler and the peer of a panic, noted where it passes, for the one line in the log where the engine catches it.
//!
//! They are noted while the panic unwinds, so that a handler that does not panic costs nothing: the peer by the
//! connection that is dropped, the handler by the layers above. Public for the http and websocket crates alone, and
//! hidden from the documentation.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;

use crate::address::Address;

thread_local! {
    static NOTE: RefCell<Note> = const { RefCell::new(Note { handler: None, peer: None }) };
}

/// The parts of the line that are known.
#[derive(Default)]
struct Note {
    handler: Option<String>,
    peer: Option<Address>,
}

/// Notes the name of the handler that panics, such as `the handler of /rooms/:room`.
pub fn note_handler(name: &dyn fmt::Display) {
    let name = name.to_string();
    let _ = NOTE.try_with(|note| note.borrow_mut().handler = Some(name));
}

/// Notes the peer of the connection that a panic drops.
pub(crate) fn note_peer(peer: Address) {
    let _ = NOTE.try_with(|note| note.borrow_mut().peer = Some(peer));
}

/// Returns the message of a caught panic.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// Returns the line for a caught panic, and forgets what was noted.
pub(crate) fn describe(panic: &(dyn Any + Send)) -> String {
    let Note { handler, peer } = NOTE.try_with(RefCell::take).unwrap_or_default();
    let text = message(panic);
    let handler = handler.as_deref().unwrap_or("a handler");
    match peer {
        Some(peer) => format!("{handler} panicked, connection of {peer} closed: {text}"),
        None => format!("{handler} panicked, its connection is closed: {text}"),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_for_one_panic() {
        note_handler(&"the handler of /ws");
        note_peer(Address::Ip(([127, 0, 0, 1], 9001).into()));
        assert_eq!(describe(&"why"), "the handler of /ws panicked, connection of 127.0.0.1:9001 closed: why");
        assert_eq!(describe(&"why".to_owned()), "a handler panicked, its connection is closed: why");
    }
}
