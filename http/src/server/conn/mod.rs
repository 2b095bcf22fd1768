//! A connection while it speaks HTTP: the engine's byte stream on one side, the protocol machine on the other.
//!
//! Owns the connection, the bytes received and not yet consumed, and the deadlines. Shared by the serving loop and the
//! body of the request under way, both on one thread and in one task; no borrow is held across an await. It decides
//! nothing about HTTP: the protocol machine does. When the conn is closed or the connection is handed over, whoever
//! still holds a body is told that its request is over.

mod coalesce;
mod respond;

use std::cell::{RefCell, RefMut};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use tidegate_engine::time::Timer;
use tidegate_engine::{ByteSender, Chunk, Connection, ReceiveError, SendError};

pub(crate) use coalesce::Coalesced;

use crate::error::{BodyError, RequestError};
use crate::protocol::Protocol;
use crate::protocol::date::{DateCache, HttpDate};
use crate::protocol::event::{Event, Next};
use crate::protocol::head::{Addresses, RequestHead};
use crate::protocol::limits::Limits;
use crate::request::ContentSource;
use crate::server::config::HttpConfig;

/// The connection is of no more use for HTTP; dropping it is all that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

pub(crate) struct Conn(RefCell<State>);

struct State {
    /// `None` once it is closed or handed over.
    connection: Option<Connection>,
    protocol: Protocol,
    /// Received and not consumed; never empty.
    chunk: Option<Chunk>,
    armed: Armed,
    /// The number of the request under way, from 1.
    request: u64,
    /// The request under way came with content, which somebody may be reading.
    with_content: bool,
    /// Why the content of the request under way cannot be read on.
    failure: Option<BodyError>,
    /// Whoever waits for content: not always the task of the connection.
    reader: Option<Waker>,
    trailers: Option<Box<HeaderMap>>,
    /// The date of responses, looked up once for what one chunk asks for.
    date: Option<HttpDate>,
    config: Arc<HttpConfig>,
}

/// What the read deadline of the connection stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armed {
    Nothing,
    /// The rest of a head. Not renewed by bytes that arrive.
    Head,
    /// The first byte of the next request.
    KeepAlive,
    /// More content.
    Content,
}

/// What was found in the received bytes.
enum Input {
    Nothing,
    Head(RequestHead),
    Piece(Bytes),
}

impl Conn {
    pub(crate) fn new(connection: Connection, config: Arc<HttpConfig>, limits: Arc<Limits>) -> Conn {
        let protocol = Protocol::new(limits).with_server(config.server.clone());
        connection.set_write_timeout(Some(config.write_timeout));
        Conn(RefCell::new(State {
            connection: Some(connection),
            protocol,
            chunk: None,
            armed: Armed::Nothing,
            request: 0,
            with_content: false,
            failure: None,
            reader: None,
            trailers: None,
            date: None,
            config,
        }))
    }

    /// The next request; `None` if there is none, and the conn is to be closed. The one before is over.
    pub(crate) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Option<RequestHead>> {
        let mut state = self.0.borrow_mut();
        if let Some(reader) = state.end_request() {
            drop(state);
            reader.wake();
            state = self.0.borrow_mut();
        }
        state.poll_head(cx)
    }

    /// The number of the request under way, if it has content.
    pub(crate) fn request_with_content(&self) -> Option<u64> {
        let state = self.0.borrow();
        state.with_content.then_some(state.request)
    }

    /// Ready if the peer has reset the connection while nobody reads from it. Does not look while content is to be
    /// read: the reader sees it then.
    pub(crate) fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<Lost> {
        let mut state = self.0.borrow_mut();
        // The handler waits: by its answer, time will have passed.
        state.date = None;
        state.poll_lost(cx)
    }

    /// Waits for space for a piece of this size. A peer that takes nothing is given up by the write timeout.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<(), Lost>> {
        let mut state = self.0.borrow_mut();
        let polled =
            state.sender().map_or(Poll::Ready(Err(Lost)), |sender| sender.poll_ready(cx, bytes).map_err(|_| Lost));
        if polled.is_pending() {
            state.date = None;
        }
        polled
    }

    /// Makes the response under way the last one.
    pub(crate) fn close_after_response(&self) {
        self.0.borrow_mut().protocol.close_after_response();
    }

    /// Drops the connection, which the engine then closes: what is queued is sent before.
    pub(crate) fn close(&self) {
        let mut state = self.0.borrow_mut();
        state.chunk = None;
        state.connection = None;
        let reader = state.end_request();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Resets the connection unless its end can be told from the end of the content.
    pub(crate) fn truncate(&self) {
        let state = self.0.borrow();
        if state.protocol.content_ends_with_connection()
            && let Some(sender) = state.sender()
        {
            sender.abort();
        }
    }

    /// The timers of the connection's worker.
    pub(crate) fn timer(&self) -> Option<Timer> {
        self.0.borrow().connection.as_ref().map(Connection::timer)
    }

    /// The state, if `request` is the one under way on a connection that is still here.
    fn state_of(&self, request: u64) -> Option<RefMut<'_, State>> {
        let state = self.0.borrow_mut();
        (state.request == request && state.connection.is_some()).then_some(state)
    }
}

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
        self.state_of(request)?.trailers.take()
    }

    fn end_wait(&self, request: u64) {
        // Called from a drop, which may come at any time; the wait is then ended with the request.
        if let Ok(mut state) = self.0.try_borrow_mut()
            && state.request == request
        {
            state.reader = None;
            state.end_wait();
        }
    }
}

impl State {
    fn sender(&self) -> Option<&ByteSender> {
        self.connection.as_ref().map(Connection::sender)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<RequestHead>> {
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
            let waiting = match next {
                Next::Drain => Armed::Content,
                _ if self.request == 0 || self.protocol.is_in_head() => Armed::Head,
                _ => Armed::KeepAlive,
            };
            match self.poll_receive(waiting, cx) {
                // Looked at after the waker is set: a shutdown that begins later wakes, one that began before is seen.
                Poll::Pending if self.is_over(waiting) => return Poll::Ready(None),
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

    /// The next request, if the one before is answered and its head was received whole.
    fn take_whole_head(&mut self) -> Option<RequestHead> {
        let chunk = self.chunk.as_mut()?;
        let (head, length) = self.protocol.receive_next(chunk)?;
        chunk.advance(length);
        if chunk.is_empty() {
            self.chunk = None;
        }
        Some(self.begin_request(head))
    }

    fn begin_request(&mut self, mut head: RequestHead) -> RequestHead {
        self.disarm();
        self.request += 1;
        if self.protocol.has_content() {
            self.with_content = true;
            self.failure = None;
            self.trailers = None;
        }
        if let Some(connection) = &self.connection {
            head.set_addresses(Addresses { peer: connection.peer_addr(), local: connection.local_addr() });
        }
        head
    }

    /// Whether a graceful shutdown ends the wait: nothing of another request was received.
    fn is_over(&self, waiting: Armed) -> bool {
        let idle = waiting == Armed::KeepAlive || !self.protocol.is_in_head();
        idle && self.connection.as_ref().is_none_or(Connection::is_draining)
    }

    fn refuse(&mut self, error: RequestError) -> Poll<Option<RequestHead>> {
        log::debug!("request refused: {error}");
        if let Some(connection) = &self.connection {
            // A peer that is gone already gets no answer, and needs none.
            let _ = connection.sender().append(|out| {
                self.protocol.refuse(error, date_now(), out);
            });
        }
        Poll::Ready(None)
    }

    /// A body that is still in somebody's hands reads nothing more: what is left is not its content. Gives who is to be
    /// told.
    fn end_request(&mut self) -> Option<Waker> {
        if !std::mem::take(&mut self.with_content) {
            return None;
        }
        self.failure.get_or_insert(BodyError::Finished);
        self.end_wait();
        self.reader.take()
    }

    /// Nobody waits for content any longer: the time for it does not run on.
    fn end_wait(&mut self) {
        if self.armed == Armed::Content && self.protocol.has_content() {
            self.disarm();
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
                Err(error) => return self.fail(error.into()),
            }
            if let Err(error) = self.send_continue() {
                return self.fail(BodyError::Connection(error.to_string()));
            }
            match self.poll_receive(Armed::Content, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    if let Err(error) = self.protocol.receive_end() {
                        return self.fail(error.into());
                    }
                }
                Poll::Ready(Err(ReceiveError::Deadline)) => {
                    // What follows later would be content: the connection cannot be used again.
                    self.protocol.close_after_response();
                    return self.fail(RequestError::Timeout.into());
                }
                Poll::Ready(Err(error)) => {
                    return self.fail(BodyError::Connection(error.to_string()));
                }
            }
        }
        Poll::Ready(Ok(None))
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

    /// Gives received bytes to the protocol machine. `None`: there are none.
    fn consume(&mut self) -> Result<Option<Input>, RequestError> {
        let Some(chunk) = &mut self.chunk else {
            return Ok(None);
        };
        let progress = self.protocol.receive(chunk)?;
        let whole = progress.consumed == chunk.len();
        let input = match progress.event {
            None => Input::Nothing,
            Some(Event::Head(head)) => Input::Head(head),
            Some(Event::Content(range)) if whole && range == (0..chunk.len()) => {
                // Nothing but content: moved, not copied, where the chunk owns its memory.
                let chunk = self.chunk.take();
                return Ok(chunk.map(|chunk| Input::Piece(chunk.into_vec().into())));
            }
            Some(Event::Content(range)) => Input::Piece(Bytes::copy_from_slice(&chunk[range])),
            Some(Event::End(trailers)) => {
                self.trailers = trailers;
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

    /// Waits for bytes: `true` if some came, `false` at the end of the stream.
    fn poll_receive(&mut self, waiting: Armed, cx: &mut Context<'_>) -> Poll<Result<bool, ReceiveError>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Ok(false));
        };
        self.date = None;
        match connection.poll_receive(cx) {
            Poll::Pending => {
                if self.armed != waiting {
                    let timeout = match waiting {
                        Armed::KeepAlive => self.config.keep_alive_timeout,
                        Armed::Content => self.config.content_timeout,
                        Armed::Head | Armed::Nothing => self.config.header_timeout,
                    };
                    connection.set_read_timeout(timeout);
                    self.armed = waiting;
                }
                Poll::Pending
            }
            Poll::Ready(Ok(Some(chunk))) => {
                // The time for a head does not start anew with each of its bytes.
                if waiting != Armed::Head {
                    self.disarm();
                }
                self.chunk = Some(chunk).filter(|chunk| !chunk.is_empty());
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(false)),
            Poll::Ready(Err(error)) => {
                self.disarm();
                Poll::Ready(Err(error))
            }
        }
    }

    fn disarm(&mut self) {
        if self.armed != Armed::Nothing {
            self.armed = Armed::Nothing;
            if let Some(connection) = &self.connection {
                connection.set_read_deadline(None);
            }
        }
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Lost> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Lost);
        };
        if self.chunk.is_some() || self.protocol.has_content() {
            return Poll::Pending;
        }
        match connection.poll_receive(cx) {
            Poll::Ready(Ok(Some(chunk))) => {
                self.chunk = Some(chunk).filter(|chunk| !chunk.is_empty());
                Poll::Pending
            }
            // The peer may have ended its side only, and still wait for the response.
            Poll::Ready(Ok(None)) | Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Lost),
        }
    }
}

/// The present date, formatted at most once a second on each thread.
fn date_now() -> HttpDate {
    thread_local! {
        static CACHE: RefCell<DateCache> = const { RefCell::new(DateCache::new()) };
    }
    CACHE.with_borrow_mut(|cache| cache.at(SystemTime::now()))
}
