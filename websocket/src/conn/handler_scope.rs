//! What becomes of a WebSocket when its handler is done with it.
//!
//! A handler owns its [`WebSocket`](crate::WebSocket) and drops it, mostly when it returns. The close frame then depends
//! on the handler's result, and somebody must wait for the peer's: the future around the handler. So while that future
//! polls the handler it *attends*: sessions that are dropped meanwhile are kept for it. Elsewhere a dropped session is
//! closed at once. (A place of return in each session would cost every idle connection a heap block.)

use std::cell::{Cell, RefCell};

use crate::close_code::CloseCode;
use crate::conn::session::Session;

type Sessions = Vec<Box<Session>>;

thread_local! {
    /// Whether a handler is being polled on this thread.
    static ATTENDED: Cell<bool> = const { Cell::new(false) };
    /// The sessions dropped meanwhile.
    static DROPPED: RefCell<Sessions> = const { RefCell::new(Vec::new()) };
}

/// Polls a handler and returns the sessions it dropped meanwhile.
#[inline]
pub(crate) fn handler_scope<R>(poll: impl FnOnce() -> R) -> (R, Sessions) {
    let mut attendance = HandlerScope::begin();
    let result = poll();
    let sessions = attendance.end();
    attendance.restore();
    std::mem::forget(attendance);
    (result, sessions)
}

/// Ends the attendance, however the poll ends.
struct HandlerScope {
    /// Another handler is being polled around this one; its sessions are kept apart.
    outer: Option<Sessions>,
}

impl HandlerScope {
    #[inline]
    fn begin() -> Self {
        let outer = ATTENDED.replace(true).then(|| DROPPED.take());
        Self { outer }
    }

    #[inline]
    fn end(&self) -> Sessions {
        ATTENDED.set(self.outer.is_some());
        DROPPED.with_borrow_mut(|dropped| if dropped.is_empty() { Vec::new() } else { std::mem::take(dropped) })
    }
}

impl HandlerScope {
    #[inline]
    fn restore(&mut self) {
        if let Some(outer) = self.outer.take() {
            DROPPED.set(outer);
        }
    }
}

impl Drop for HandlerScope {
    fn drop(&mut self) {
        for session in self.end() {
            session.close_and_forget(CloseCode::INTERNAL_ERROR);
        }
        self.restore();
    }
}

/// A WebSocket was dropped.
pub(crate) fn return_session(session: Box<Session>) {
    let mut session = Some(session);
    // (An error means that the thread is ending: nobody attends.)
    if !std::thread::panicking() && ATTENDED.try_with(Cell::get) == Ok(true) {
        let _ = DROPPED.try_with(|dropped| dropped.borrow_mut().extend(session.take()));
    }
    if let Some(session) = session {
        let code = if std::thread::panicking() { CloseCode::INTERNAL_ERROR } else { CloseCode::NORMAL };
        session.close_and_forget(code);
    }
}
