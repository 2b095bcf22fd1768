//! State that few connections have: the request's head, extensions, and tasks and hooks that wait for the end.
//!
//! The session and the handler's task share them. The last of the two to be dropped drops them, so `on_disconnect` runs
//! exactly once: after a panic, an abort, a shutdown, and for a WebSocket that was given to a thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tidegate_engine::Address;
use tidegate_http::__private::panic_message;
use tidegate_http::RequestHead;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::conn::closed::ClosedSource;
use crate::conn::disconnected::{Disconnected, OnDisconnect};
use crate::conn::extensions::Extensions;
use crate::sync::lock;

/// The attachments of one connection.
#[derive(Default)]
pub(crate) struct Attachments {
    pub(crate) request: Option<RequestHead>,
    pub(crate) extensions: Extensions,
    pub(crate) closed: ClosedSource,
    ending: Mutex<Ending>,
}

/// How the connection ended, as far as it is known.
#[derive(Default)]
struct Ending {
    /// The code of the peer's close frame, once it has come.
    code: Option<CloseCode>,
    panicked: bool,
    /// The hook to call and the peer to report, once the connection has connected.
    on_disconnect: Option<(Address, Arc<OnDisconnect>)>,
}

impl Attachments {
    /// Calls `hook` when the connection ends.
    pub(crate) fn set_on_disconnect(&self, peer: Address, hook: Arc<OnDisconnect>) {
        lock(&self.ending).on_disconnect = Some((peer, hook));
    }

    /// Notes that the peer's close frame has come.
    pub(crate) fn note_close(&self, frame: Option<&CloseFrame>) {
        lock(&self.ending).code = Some(frame.map_or(CloseCode::NO_STATUS, CloseFrame::code));
        self.closed.end();
    }

    /// Notes that the handler has panicked.
    pub(crate) fn note_panic(&self) {
        lock(&self.ending).panicked = true;
    }
}

impl Drop for Attachments {
    fn drop(&mut self) {
        self.closed.end();
        let Ending { code, panicked, on_disconnect } = std::mem::take(&mut *lock(&self.ending));
        let Some((peer, hook)) = on_disconnect else { return };
        // The code as the application sees it (RFC 6455 sections 7.1.5 and 7.4.1).
        let code = code.unwrap_or(CloseCode::ABNORMAL);
        let disconnected = Disconnected::new(peer, code, panicked, self.request.as_ref(), &self.extensions);
        // A panic must not leave here: during another one it would end the process.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(&disconnected))) {
            log::error!("an on_disconnect hook panicked: {}", panic_message(&*panic));
        }
    }
}

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachments")
            .field("request", &self.request)
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}
