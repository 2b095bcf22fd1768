//! What a connection has that most have not: extensions, the request kept, whoever waits for its end or is told of it.
//!
//! A connection without any of it shares its configuration with all others of its upgrade. One with some has a copy of
//! its own, and there they are: so an idle connection pays nothing, not even a pointer. The context live as long as the
//! session and the task that runs the handler; the last of the two to go ends them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tidegate_engine::Address;
use tidegate_http::RequestHead;

use crate::close::CloseFrame;
use crate::close_code::CloseCode;
use crate::config::WebSocketConfig;
use crate::conn::closed::ClosedSource;
use crate::conn::extensions::Extensions;
use crate::serve::hooks::{Disconnected, Hooks};
use crate::sync::lock;

/// The context of one connection.
#[derive(Default)]
pub(crate) struct ConnContext {
    pub(crate) request: Option<RequestHead>,
    pub(crate) extensions: Extensions,
    pub(crate) closed: ClosedSource,
    ending: Mutex<Ending>,
}

/// What is known of the end.
#[derive(Default)]
struct Ending {
    /// The code of the peer's close frame, once it has come.
    code: Option<CloseCode>,
    panicked: bool,
    /// Who is told: once the connection has connected.
    connected: Option<(Address, Arc<Hooks>)>,
}

impl ConnContext {
    /// From now on there is somebody who is connected, and whose end is told.
    pub(crate) fn connect(&self, peer: Address, hooks: Arc<Hooks>) {
        lock(&self.ending).connected = Some((peer, hooks));
    }

    pub(crate) fn note_close(&self, frame: Option<&CloseFrame>) {
        lock(&self.ending).code = Some(frame.map_or(CloseCode::NO_STATUS, CloseFrame::code));
        self.closed.end();
    }

    pub(crate) fn note_panic(&self) {
        lock(&self.ending).panicked = true;
    }
}

impl Drop for ConnContext {
    fn drop(&mut self) {
        self.closed.end();
        let Ending { code, panicked, connected } = std::mem::take(&mut *lock(&self.ending));
        let Some((peer, hooks)) = connected else { return };
        let Some(disconnect) = &hooks.disconnect else { return };
        // The code as the application sees it (RFC 6455 sections 7.1.5 and 7.4.1).
        let code = code.unwrap_or(CloseCode::ABNORMAL);
        let disconnected = Disconnected::new(peer, code, panicked, self);
        // A panic must not leave here: during another one it would end the process.
        if catch_unwind(AssertUnwindSafe(|| disconnect(&disconnected))).is_err() {
            log::error!("an on_disconnect hook panicked");
        }
    }
}

impl fmt::Debug for ConnContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("request", &self.request)
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}

/// A configuration for one connection alone, with its context.
pub(crate) fn with_context(config: &WebSocketConfig, context: Arc<ConnContext>) -> Arc<WebSocketConfig> {
    let mut own = config.clone();
    own.context = Some(context);
    Arc::new(own)
}

/// The context of the connection that has this configuration; it gets some if it has none.
pub(crate) fn context_of(config: &mut Arc<WebSocketConfig>) -> &ConnContext {
    if config.context.is_none() {
        *config = with_context(config, Arc::default());
    }
    config.context.as_ref().expect("they were made above")
}
