//! Returns the session of a dropped WebSocket to the task of its handler.
//!
//! A handler owns its [`WebSocket`](crate::WebSocket) and drops it, usually when it returns. The close frame then
//! depends on the handler's result, and the task around the handler waits for the peer's. So the task polls the handler
//! inside a *handler scope*: sessions dropped within the scope are returned to the task. A session dropped elsewhere is
//! closed at once. (A way back in each session would cost every idle connection a heap block.)

use std::cell::{Cell, RefCell};

use crate::close_code::CloseCode;
use crate::conn::session::Session;

type Sessions = Vec<Box<Session>>;

thread_local! {
    /// Whether this thread is inside a handler scope.
    static IN_SCOPE: Cell<bool> = const { Cell::new(false) };
    /// The sessions dropped within the scope.
    static DROPPED: RefCell<Sessions> = const { RefCell::new(Vec::new()) };
}

/// Polls a handler and returns the sessions that were dropped meanwhile.
#[inline]
pub(crate) fn handler_scope<R>(poll: impl FnOnce() -> R) -> (R, Sessions) {
    let mut scope = HandlerScope::begin();
    let result = poll();
    let sessions = scope.end();
    scope.restore();
    std::mem::forget(scope);
    (result, sessions)
}

/// A handler scope. Dropping it, after a panic, closes the sessions of the scope with 1011.
struct HandlerScope {
    /// The sessions of the scope around this one.
    outer: Option<Sessions>,
}

impl HandlerScope {
    #[inline]
    fn begin() -> Self {
        let outer = IN_SCOPE.replace(true).then(|| DROPPED.take());
        Self { outer }
    }

    #[inline]
    fn end(&self) -> Sessions {
        IN_SCOPE.set(self.outer.is_some());
        DROPPED.with_borrow_mut(|dropped| if dropped.is_empty() { Vec::new() } else { std::mem::take(dropped) })
    }

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

/// Hands the session of a dropped WebSocket to the scope around it. Closes it with 1000 if there is no scope, with 1011
/// during a panic.
pub(crate) fn return_session(session: Box<Session>) {
    let mut session = Some(session);
    // (An error means that the thread is ending: there is no scope.)
    if !std::thread::panicking() && IN_SCOPE.try_with(Cell::get) == Ok(true) {
        let _ = DROPPED.try_with(|dropped| dropped.borrow_mut().extend(session.take()));
    }
    if let Some(session) = session {
        let code = if std::thread::panicking() { CloseCode::INTERNAL_ERROR } else { CloseCode::NORMAL };
        session.close_and_forget(code);
    }
}
