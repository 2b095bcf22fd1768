//! Content of one response that several senders send: the connection's task, other threads, fan-outs.
//!
//! Each of them queues whole chunks, and the queue keeps their order. The last chunk ends the queue in the same step,
//! so that nothing of the others can follow it: a connection whose content was shared serves no further request.

use std::task::{Context, Poll};

use http::HeaderMap;
use tidegate_engine::time::Timer;
use tidegate_engine::{ByteSender, Connection};

use super::respond::SendFailure;
use super::{Conn, ConnectionLost, State};
use crate::message::content_connection::{ContentSink, SharedContent};

impl ContentSink for Conn {
    fn is_draining(&self, request: u64) -> bool {
        self.of_request(request, |state| state.connection.as_ref().is_some_and(Connection::is_draining))
    }

    fn timer(&self, request: u64) -> Option<Timer> {
        self.of_request(request, |state| state.connection.as_ref().map(Connection::timer))
    }

    #[cfg(feature = "files")]
    fn sender(&self, request: u64) -> Option<ByteSender> {
        self.of_request(request, |state| state.sender().cloned())
    }

    fn share(&self, request: u64) -> Option<SharedContent> {
        self.of_request(request, |state| {
            let is_chunked = state.protocol.is_content_chunked()?;
            let sender = state.sender()?.clone();
            state.shares_content = true;
            state.protocol.close_after_response();
            Some(SharedContent { sender, is_chunked })
        })
    }
}

impl Conn {
    /// As [`poll_lost`](Conn::poll_lost), while content is sent: also once somebody else has ended content that is
    /// shared, as a fan-out does for a slow member.
    pub(crate) fn poll_content_lost(&self, cx: &mut Context<'_>) -> Poll<ConnectionLost> {
        let lost = self.poll_lost(cx);
        let state = self.0.borrow();
        if state.shares_content && state.sender().is_none_or(ByteSender::is_finished) {
            return Poll::Ready(ConnectionLost);
        }
        lost
    }

    /// Ends the content, and with it the sending side of the connection.
    #[cold]
    pub(super) fn send_shared_end(&self, trailers: Option<&HeaderMap>) -> Result<(), ConnectionLost> {
        self.send(|protocol, sender, _| {
            let mut ended = Ok(());
            sender.append_last(|out| ended = protocol.finish(trailers, out))?;
            ended.map_err(SendFailure::from)
        })
    }

    /// Asks the state about this request; the default if it is over.
    fn of_request<T: Default>(&self, request: u64, ask: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.borrow_mut();
        if state.request == request { ask(&mut state) } else { T::default() }
    }
}
