//! What becomes of a WebSocket when its handler is done with it.
//!
//! A handler owns its [`WebSocket`](crate::WebSocket) and drops it, mostly when it returns. The close frame then depends
//! on the handler's result, and somebody must wait for the peer's: the future around the handler. So while that future
//! polls the handler it *attends*: sessions that are dropped meanwhile are kept for it. Elsewhere a dropped session is
//! closed at once. (A place of return in each session would cost every idle connection a heap block.)

use std::cell::RefCell;

use crate::close::CloseCode;
use crate::session::Session;

type Sessions = Vec<Box<Session>>;

thread_local! {
    /// The sessions dropped while a handler is being polled on this thread; `None` while none is.
    static DROPPED: RefCell<Option<Sessions>> = const { RefCell::new(None) };
}

/// Polls a handler and returns the sessions it dropped meanwhile.
pub(crate) fn attend<R>(poll: impl FnOnce() -> R) -> (R, Sessions) {
    /// Ends the attendance, however the poll ends.
    struct Attendance {
        outer: Option<Sessions>,
    }

    impl Attendance {
        fn end(&mut self) -> Sessions {
            DROPPED.with(|dropped| dropped.replace(self.outer.take())).unwrap_or_default()
        }
    }

    impl Drop for Attendance {
        fn drop(&mut self) {
            for session in self.end() {
                session.close_and_forget(CloseCode::INTERNAL_ERROR);
            }
        }
    }

    let mut attendance = Attendance { outer: DROPPED.with(|dropped| dropped.replace(Some(Vec::new()))) };
    let result = poll();
    let sessions = attendance.end();
    std::mem::forget(attendance);
    (result, sessions)
}

/// A WebSocket was dropped.
pub(crate) fn give_back(session: Box<Session>) {
    let mut session = Some(session);
    if !std::thread::panicking() {
        // An error means that the thread is ending: nobody attends.
        let _ = DROPPED.try_with(|dropped| {
            if let Some(sessions) = &mut *dropped.borrow_mut() {
                sessions.extend(session.take());
            }
        });
    }
    if let Some(session) = session {
        let code = if std::thread::panicking() { CloseCode::INTERNAL_ERROR } else { CloseCode::NORMAL };
        session.close_and_forget(code);
    }
}
