//! The name of the handler that runs on this thread, for the log.
//!
//! The router knows which route a request takes, but others log: the task of the connection, the protocol after an
//! upgrade, and the engine, whose watchdog names handlers that hold their thread. A name is a number, so that passing
//! it on costs a store per request: the engine's label of the thread. Its text is looked up only when it is logged.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_engine::handler_label;

/// The name of a handler: that of its route, such as `the handler of /rooms/:room`.
///
/// Public for the websocket crate alone, and hidden from the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerName(u32);

/// The texts of all names; the name `n` has the text at `n - 1`. There are as many as different routes were registered.
static TEXTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl HandlerName {
    /// The name of a handler that no router calls.
    pub(crate) const UNKNOWN: HandlerName = HandlerName(handler_label::UNKNOWN);

    /// Returns the name with this text.
    pub(crate) fn new(text: String) -> HandlerName {
        handler_label::name_by(|label| HandlerName(label).to_string());
        let mut texts = texts();
        let index = texts.iter().position(|known| *known == text).unwrap_or_else(|| {
            texts.push(text);
            texts.len() - 1
        });
        HandlerName(index as u32 + 1)
    }

    /// Returns the name of the handler that was entered last on this thread. Within [`Handler::handle`], and while the
    /// server polls the future of a response or an upgraded connection, this is the one that runs.
    ///
    /// [`Handler::handle`]: crate::Handler::handle
    #[inline]
    pub fn current() -> HandlerName {
        HandlerName(handler_label::get())
    }

    /// Makes it the current name of this thread.
    #[inline]
    pub fn enter(self) {
        handler_label::set(self.0);
    }
}

impl fmt::Display for HandlerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(1).and_then(|index| texts().get(index as usize).cloned()) {
            Some(text) => f.write_str(&text),
            None => f.write_str("a handler"),
        }
    }
}

fn texts() -> MutexGuard<'static, Vec<String>> {
    TEXTS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_name() {
        let first = HandlerName::new("the handler of /first".into());
        let second = HandlerName::new("the handler of /second".into());
        assert_eq!(first, HandlerName::new("the handler of /first".into()));
        assert_eq!(
            (first.to_string(), second.to_string()),
            ("the handler of /first".into(), "the handler of /second".into())
        );
        second.enter();
        assert_eq!(HandlerName::current(), second);
        HandlerName::UNKNOWN.enter();
        assert_eq!(HandlerName::current().to_string(), "a handler");
    }
}
