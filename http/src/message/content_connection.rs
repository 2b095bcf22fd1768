//! The connection that a response's content is sent on, as its stream sees it.

use std::fmt;
use std::rc::Rc;
#[cfg(feature = "files")]
use std::task::{Context, Poll};

use tidegate_engine::ByteSender;
use tidegate_engine::time::Timer;

/// The connection that streamed content is sent on, given to [`ContentStream::begin`](crate::ContentStream::begin).
///
/// It stays valid after the response, and then says nothing more.
#[derive(Clone)]
pub struct ContentConnection {
    connection: Rc<dyn ContentSink>,
    request: u64,
    /// Whether another stream changes the content on its way to the connection.
    is_wrapped: bool,
}

/// The connection behind a [`ContentConnection`]. `request` is the request's number on it.
pub(crate) trait ContentSink {
    /// Returns whether a graceful shutdown has begun.
    fn is_draining(&self, request: u64) -> bool;

    /// Returns the timer of the connection's worker.
    fn timer(&self, request: u64) -> Option<Timer>;

    /// Returns the connection's writing side.
    #[cfg(feature = "files")]
    fn sender(&self, request: u64) -> Option<ByteSender>;

    /// Returns the connection's writing side, for content that others send too.
    fn share(&self, request: u64) -> Option<SharedContent>;
}

/// The writing side of a connection whose content several senders send. Each append must be complete content: a whole
/// chunk if the content is chunked.
pub(crate) struct SharedContent {
    pub(crate) sender: ByteSender,
    pub(crate) is_chunked: bool,
}

impl ContentConnection {
    pub(crate) fn new(connection: Rc<dyn ContentSink>, request: u64) -> ContentConnection {
        ContentConnection { connection, request, is_wrapped: false }
    }

    /// Returns whether a graceful shutdown of the server has begun. The stream is polled when it begins.
    pub fn is_draining(&self) -> bool {
        self.connection.is_draining(self.request)
    }

    /// Returns the timer of the connection's worker; `None` after the response.
    pub fn timer(&self) -> Option<Timer> {
        self.connection.timer(self.request)
    }

    /// Lets others send content too. The connection then ends with the response.
    pub(crate) fn share(&self) -> Option<SharedContent> {
        if self.is_wrapped { None } else { self.connection.share(self.request) }
    }

    /// Returns the connection for a stream whose content is changed on its way.
    #[cfg(feature = "compression")]
    pub(crate) fn wrapped(self) -> ContentConnection {
        ContentConnection { is_wrapped: true, ..self }
    }

    /// Returns whether parts of files are sent without a copy.
    #[cfg(feature = "files")]
    pub(crate) fn sends_files(&self) -> bool {
        !self.is_wrapped && self.connection.sender(self.request).is_some_and(|sender| sender.sends_files())
    }

    /// Waits until everything queued was given to the kernel, or the connection has failed.
    #[cfg(feature = "files")]
    pub(crate) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.sender(self.request).map_or(Poll::Ready(()), |sender| sender.poll_flush(cx).map(|_| ()))
    }
}

impl fmt::Debug for ContentConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentConnection").field("is_draining", &self.is_draining()).finish_non_exhaustive()
    }
}
