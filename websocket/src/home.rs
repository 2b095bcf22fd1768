//! Where a WebSocket returns to when its handler is done with it.
//!
//! A handler owns its [`WebSocket`](crate::WebSocket) and may drop it anywhere; what must still happen on it (the close
//! frame that the handler's result asks for, the wait for the peer's) is the business of the task around the handler.
//! Dropping a WebSocket leaves its session here for that task; without one it is closed at once.

use std::sync::{Mutex, PoisonError};

use crate::close::CloseCode;
use crate::session::Session;

/// One WebSocket's place of return.
#[derive(Debug, Default)]
pub(crate) struct Home(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Nobody waits for the WebSocket.
    #[default]
    Unattended,
    /// The handler is running and its task will ask.
    Attended,
    Returned(Box<Session>),
}

impl Home {
    pub(crate) fn attended() -> Self {
        Self(Mutex::new(State::Attended))
    }

    pub(crate) fn give_back(&self, session: Box<Session>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Attended) && !std::thread::panicking() {
            *state = State::Returned(session);
            return;
        }
        drop(state);
        let code = if std::thread::panicking() { CloseCode::INTERNAL_ERROR } else { CloseCode::NORMAL };
        session.close_and_forget(code);
    }

    /// Ends the attendance: what was returned, or `None` if the handler has put the WebSocket somewhere else.
    pub(crate) fn take(&self) -> Option<Box<Session>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *state) {
            State::Returned(session) => Some(session),
            State::Attended | State::Unattended => None,
        }
    }
}
