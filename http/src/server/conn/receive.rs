//! The receiving half of a connection: bytes into the protocol machine, until the head of the next request is complete.
//!
//! Owns the received chunk and the read deadline. [`content`](super::content) receives the rest of a request through
//! it.

use std::task::{Context, Poll};

use bytes::Bytes;
use tidegate_engine::{Connection, ReceiveError};

use super::{ConnectionLost, Ends, ReadDeadline, State, date_now};
use crate::error::RequestError;
use crate::message::access_record::AccessRecord;
use crate::message::head::RequestHead;
use crate::message::head_memory::Addresses;
use crate::protocol::Protocol;
use crate::protocol::event::{Event, Next};

/// What the received bytes began with.
pub(super) enum Input {
    Nothing,
    Head(RequestHead),
    Piece(Bytes),
}

impl State {
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<RequestHead>> {
        loop {
            if let Some(head) = self.take_whole_head() {
                return Poll::Ready(Some(head));
            }
            let next = self.protocol.advance();
            if matches!(next, Next::Close | Next::Respond) {
                return Poll::Ready(None);
            }
            match self.consume() {
                Ok(Some(Input::Head(head))) => return Poll::Ready(Some(self.begin_request(head))),
                Ok(Some(Input::Nothing | Input::Piece(_))) => continue,
                Ok(None) => {}
                Err(error) => return self.refuse(error),
            }
            let deadline = match next {
                Next::Drain => ReadDeadline::Drain,
                _ if self.request == 0 || self.protocol.is_in_head() => ReadDeadline::Head,
                _ => ReadDeadline::KeepAlive,
            };
            match self.poll_receive(deadline, cx) {
                // Checked after the waker is set: a shutdown that begins later wakes it, an earlier one is seen here.
                Poll::Pending if self.is_over(deadline) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    if let Err(error) = self.protocol.receive_end() {
                        return self.refuse(error);
                    }
                }
                Poll::Ready(Err(ReceiveError::Deadline)) if self.protocol.is_in_head() => {
                    return self.refuse(RequestError::Timeout);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(None),
            }
        }
    }

    /// Returns the head of the next request if the last one is answered and the chunk begins with the complete head.
    pub(super) fn take_whole_head(&mut self) -> Option<RequestHead> {
        let chunk = self.chunk.as_mut()?;
        let (head, length) = self.protocol.try_receive_next(chunk)?;
        chunk.advance(length);
        if chunk.is_empty() {
            self.chunk = None;
        }
        Some(self.begin_request(head))
    }

    fn begin_request(&mut self, mut head: RequestHead) -> RequestHead {
        self.clear_read_deadline();
        self.request += 1;
        if self.protocol.has_content() {
            self.ends.insert(Ends::BODY);
            self.failure = None;
            if let Some(extra) = &mut self.extra {
                extra.trailers = None;
            }
        }
        if let Some(connection) = &self.connection {
            head.set_addresses(Addresses { peer: connection.peer_addr(), local: connection.local_addr() });
            #[cfg(feature = "tls")]
            if let Some(tls) = connection.tls() {
                head.set_tls(tls.clone());
            }
        }
        head
    }

    /// Whether a graceful shutdown ends the wait: no part of another request was received.
    fn is_over(&self, deadline: ReadDeadline) -> bool {
        let idle = deadline == ReadDeadline::KeepAlive || !self.protocol.is_in_head();
        idle && self.connection.as_ref().is_none_or(Connection::is_draining)
    }

    fn refuse(&mut self, error: RequestError) -> Poll<Option<RequestHead>> {
        log::debug!("request of {} refused with {}: {error}", self.peer(), error.status());
        if let Some(connection) = &self.connection {
            // Fails only if the connection is lost, and then needs no answer.
            let mut response = Protocol::refusal(error);
            if let Some(on_response) = self.config.observer() {
                on_response.observe_refusal(error, connection, &mut response);
            }
            let mut content_bytes = 0;
            let answered = connection.sender().append(|out| {
                let start = out.len();
                self.protocol.refuse_with(response, date_now(), out);
                let head = out[start..].windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |end| end + 4);
                content_bytes = out.len() - start - head;
            });
            if self.config.access_log.is_some() {
                let mut record = AccessRecord::of_refused(Some(connection.peer_addr()));
                record.status = Some(error.status());
                record.content_bytes = content_bytes as u64;
                record.is_complete = answered.is_ok();
                self.write_to_log(record);
            }
        }
        Poll::Ready(None)
    }

    /// Passes received bytes to the protocol machine; `None` if there are none.
    pub(super) fn consume(&mut self) -> Result<Option<Input>, RequestError> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(None);
        };
        let progress = self.protocol.receive(chunk)?;
        let whole = progress.consumed == chunk.len();
        let input = match progress.event {
            None => Input::Nothing,
            Some(Event::Head(head)) => Input::Head(head),
            Some(Event::Content(range)) if whole && range == (0..chunk.len()) => {
                // Only content: moved without a copy if the chunk owns its memory.
                let chunk = self.chunk.take();
                return Ok(chunk.map(|chunk| Input::Piece(chunk.into_vec().into())));
            }
            Some(Event::Content(range)) => Input::Piece(Bytes::copy_from_slice(&chunk[range])),
            Some(Event::End(trailers)) => {
                if trailers.is_some() {
                    self.extra.get_or_insert_default().trailers = trailers;
                }
                Input::Nothing
            }
        };
        if whole {
            self.chunk = None;
        } else {
            chunk.advance(progress.consumed);
        }
        Ok(Some(input))
    }

    /// Waits for bytes: `true` if some arrived, `false` at the end of the stream.
    pub(super) fn poll_receive(
        &mut self,
        deadline: ReadDeadline,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, ReceiveError>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Ok(false));
        };
        self.date = None;
        match connection.poll_receive(cx) {
            Poll::Pending => {
                if self.read_deadline != deadline {
                    let timeout = match deadline {
                        ReadDeadline::KeepAlive => self.config.keep_alive_timeout,
                        ReadDeadline::Content | ReadDeadline::Drain => self.config.content_timeout,
                        ReadDeadline::Head | ReadDeadline::None => self.config.header_timeout,
                    };
                    connection.set_read_deadline_in(timeout);
                    self.read_deadline = deadline;
                }
                Poll::Pending
            }
            Poll::Ready(Ok(Some(chunk))) => {
                // The time for a head, or for the rest of unread content, is not renewed by its bytes.
                if !matches!(deadline, ReadDeadline::Head | ReadDeadline::Drain) {
                    self.clear_read_deadline();
                }
                self.chunk = Some(chunk).filter(|chunk| !chunk.is_empty());
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(false)),
            Poll::Ready(Err(error)) => {
                self.clear_read_deadline();
                Poll::Ready(Err(error))
            }
        }
    }

    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionLost> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(ConnectionLost);
        };
        // Content that another task reads: the connection has one waker for received bytes, and that is the reader's.
        if self.reader.as_ref().is_some_and(|reader| !reader.will_wake(cx.waker())) {
            let polled = connection.sender().poll_peer_end(cx);
            return if self.config.half_close { Poll::Pending } else { polled.map(|()| ConnectionLost) };
        }
        let polled = if self.config.half_close { connection.poll_failure(cx) } else { connection.poll_peer_end(cx) };
        polled.map(|()| ConnectionLost)
    }
}
