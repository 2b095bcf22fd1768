//! The content of the current request, pulled out of the connection by its [`Body`](crate::Body).
//!
//! Owns the wait for content: its reader's waker, its deadline, and its failure. Nothing is received for a body that is
//! not polled.

use std::cell::RefMut;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use tidegate_engine::{ByteSender, Gathering, ReceiveError, SendError};

use super::receive::Input;
use super::{Conn, Ends, ReadDeadline, State};
use crate::error::{BodyError, RequestError};
use crate::message::access_record::AccessRecord;
use crate::message::body::ContentSource;
use crate::route_config::RouteConfig;

impl ContentSource for Conn {
    fn poll_content(&self, request: u64, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        match self.state_of(request) {
            Some(mut state) => state.poll_content(cx),
            None => Poll::Ready(Err(BodyError::Finished)),
        }
    }

    fn remaining(&self, request: u64) -> Option<u64> {
        match self.state_of(request) {
            Some(state) => state.protocol.content_remaining(),
            None => Some(0),
        }
    }

    fn take_trailers(&self, request: u64) -> Option<Box<HeaderMap>> {
        self.state_of(request)?.extra.as_mut()?.trailers.take()
    }

    fn cancel_wait(&self, request: u64) {
        // Called from a drop, which can happen at any time. If the state is borrowed, the wait ends with the request.
        if let Ok(mut state) = self.0.try_borrow_mut()
            && state.request == request
        {
            state.reader = None;
            state.clear_content_deadline();
        }
    }

    #[cfg(feature = "tower")]
    fn has_arrived(&self, request: u64) -> bool {
        self.state_of(request).is_some_and(|state| state.chunk.is_some())
    }

    fn gathering(&self, request: u64) -> Option<Gathering> {
        self.state_of(request)?.connection.as_ref().map(Gathering::new)
    }

    fn give_up(&self, request: u64, error: BodyError) {
        if let Some(mut state) = self.state_of(request) {
            // The rest of the content can still arrive, so the connection cannot be used again.
            state.protocol.close_after_response();
            state.failure = Some(error);
        }
    }

    fn sender(&self, request: u64) -> Option<ByteSender> {
        self.state_of(request)?.sender().cloned()
    }

    fn apply_route_config(&self, request: u64, config: &RouteConfig) {
        if let Some(mut state) = self.state_of(request) {
            state.apply_route_config(config);
        }
    }

    fn observe(&self, request: u64, record: AccessRecord) {
        if let Some(mut state) = self.state_of(request) {
            state.observe(record);
        }
    }
}

impl Conn {
    /// The state, if `request` is the current one and the connection was not closed or upgraded.
    fn state_of(&self, request: u64) -> Option<RefMut<'_, State>> {
        let state = self.0.borrow_mut();
        (state.request == request && state.connection.is_some()).then_some(state)
    }
}

impl State {
    /// Ends the current request: a body that still exists reads nothing more. Returns the waker of its reader.
    pub(super) fn end_request(&mut self) -> Option<Waker> {
        let ends = std::mem::take(&mut self.ends);
        if ends == Ends::default() {
            return None;
        }
        if ends.contains(Ends::EXTRA) {
            self.end_extra();
        }
        if !ends.contains(Ends::BODY) {
            return None;
        }
        self.failure.get_or_insert(BodyError::Finished);
        self.clear_content_deadline();
        self.reader.take()
    }

    /// Stops the content timeout, as nothing waits for content any longer.
    fn clear_content_deadline(&mut self) {
        if self.read_deadline == ReadDeadline::Content && self.protocol.has_content() {
            self.clear_read_deadline();
        }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let polled = self.poll_piece(cx);
        match (&mut self.reader, &polled) {
            (Some(reader), Poll::Pending) => reader.clone_from(cx.waker()),
            (reader, Poll::Pending) => *reader = Some(cx.waker().clone()),
            (reader, Poll::Ready(_)) => *reader = None,
        }
        polled
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        if let Some(failure) = &self.failure {
            return Poll::Ready(Err(failure.clone()));
        }
        while self.protocol.has_content() {
            match self.consume() {
                Ok(Some(Input::Piece(piece))) => return Poll::Ready(Ok(Some(piece))),
                Ok(Some(Input::Nothing | Input::Head(_))) => continue,
                Ok(None) => {}
                Err(error) => return self.refuse_content(error),
            }
            if let Err(error) = self.send_continue() {
                return self.fail(error.into());
            }
            match self.poll_receive(ReadDeadline::Content, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    if let Err(error) = self.protocol.receive_end() {
                        return self.refuse_content(error);
                    }
                }
                Poll::Ready(Err(ReceiveError::Deadline)) => {
                    // The rest of the content can still arrive, so the connection cannot be used again.
                    self.protocol.close_after_response();
                    return self.refuse_content(RequestError::Timeout);
                }
                Poll::Ready(Err(error)) => {
                    return self.fail(error.into());
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    fn refuse_content(&mut self, error: RequestError) -> Poll<Result<Option<Bytes>, BodyError>> {
        log::debug!("content of a request of {} refused with {}: {error}", self.peer(), error.status());
        self.fail(error.into())
    }

    fn fail(&mut self, failure: BodyError) -> Poll<Result<Option<Bytes>, BodyError>> {
        self.failure = Some(failure.clone());
        Poll::Ready(Err(failure))
    }

    fn send_continue(&mut self) -> Result<(), SendError> {
        if self.protocol.awaits_continue()
            && let Some(connection) = &self.connection
        {
            connection.sender().append(|out| {
                self.protocol.send_continue(out);
            })?;
        }
        Ok(())
    }
}
