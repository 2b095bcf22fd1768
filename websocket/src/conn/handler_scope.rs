//! Returns the session of a dropped WebSocket to the task of its handler.
//!
//! A handler owns its [`WebSocket`](crate::WebSocket) and drops it, usually when it returns. The close frame then
//! depends on the handler's result, and the task around the handler waits for the peer's. So the task polls the handler
//! inside a *handler scope*: sessions dropped within the scope are returned to the task. A session dropped elsewhere is
//! closed at once. (A way back in each session would cost every idle connection a heap block.)

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::task::Context;

use crate::close_code::CloseCode;
use crate::conn::session::OwnedSession;
use crate::role::Role;

type Sessions = Vec<OwnedSession>;

thread_local! {
    /// The task whose handler scope this thread is inside; 0 outside of one.
    static TASK: Cell<usize> = const { Cell::new(0) };
    /// The sessions dropped within the scope.
    static DROPPED: RefCell<Sessions> = const { RefCell::new(Vec::new()) };
}

/// The task of a handler, by its address. An address is used again after the task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskId(NonZeroUsize);

impl TaskId {
    /// Returns the task whose handler this thread polls.
    pub(crate) fn current() -> Option<Self> {
        NonZeroUsize::new(TASK.try_with(Cell::get).unwrap_or(0)).map(Self)
    }
}

/// Polls a handler and returns the sessions that were dropped meanwhile.
#[inline]
pub(crate) fn handler_scope<R>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> (R, Sessions) {
    // (Odd, and so never 0.)
    let mut scope = HandlerScope::begin(cx.waker().data().addr() | 1);
    let result = poll(cx);
    let sessions = scope.end();
    scope.restore();
    std::mem::forget(scope);
    (result, sessions)
}

/// A handler scope. Dropping it, after a panic, closes the sessions of the scope with 1011.
struct HandlerScope {
    /// The task of the scope around this one; 0 if there is none.
    outer_task: usize,
    /// The sessions of the scope around this one.
    outer: Option<Sessions>,
}

impl HandlerScope {
    #[inline]
    fn begin(task: usize) -> Self {
        let outer_task = TASK.replace(task);
        let outer = (outer_task != 0).then(|| DROPPED.take());
        Self { outer_task, outer }
    }

    #[inline]
    fn end(&self) -> Sessions {
        TASK.set(self.outer_task);
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

/// Hands the session of a dropped WebSocket to the scope around it. Closes it with 1000 if there is no scope or it is a
/// client's, which is not the one that the task serves; with 1011 during a panic.
pub(crate) fn return_session(session: OwnedSession) {
    let mut session = Some(session);
    // (An error means that the thread is ending: there is no scope.)
    let is_served = session.as_ref().is_some_and(|session| session.closing.role() == Role::Server);
    if is_served && !std::thread::panicking() && TaskId::current().is_some() {
        let _ = DROPPED.try_with(|dropped| dropped.borrow_mut().extend(session.take()));
    }
    if let Some(session) = session {
        let code = if std::thread::panicking() { CloseCode::INTERNAL_ERROR } else { CloseCode::NORMAL };
        session.close_and_forget(code);
    }
}
