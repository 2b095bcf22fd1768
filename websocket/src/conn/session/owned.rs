//! A session on the heap, and its end.

use std::ops::{Deref, DerefMut};

use super::Session;
use crate::close_code::CloseCode;

/// A session on the heap, one pointer. Dropping it ends the session.
#[derive(Debug)]
pub(crate) struct OwnedSession(Box<Session>);

impl OwnedSession {
    pub(crate) fn new(session: Box<Session>) -> Self {
        Self(session)
    }

    /// Closes without waiting for the peer's close frame.
    pub(crate) fn close_and_forget(mut self, code: CloseCode) {
        self.close_at_end(code);
    }
}

impl Deref for OwnedSession {
    type Target = Session;

    #[inline]
    fn deref(&self) -> &Session {
        &self.0
    }
}

impl DerefMut for OwnedSession {
    #[inline]
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0
    }
}

impl Drop for OwnedSession {
    fn drop(&mut self) {
        self.0.end();
    }
}
