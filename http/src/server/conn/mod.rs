//! A connection while it speaks HTTP: the engine's byte stream on one side, the protocol machine on the other.
//!
//! Owns the connection, the bytes received and not yet consumed, and the deadlines. Shared by the serving loop and the
//! body of the request under way, both on one thread and in one task; no borrow is held across an await. It decides
//! nothing about HTTP: the protocol machine does. When the conn is closed or the connection is handed over, whoever
//! still holds a body is told that its request is over.

mod coalesce;
mod content;
mod receive;
mod respond;

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use http::HeaderMap;
use tidegate_engine::time::Timer;
use tidegate_engine::{ByteSender, Chunk, Connection};

pub(crate) use coalesce::Coalesced;

use crate::error::BodyError;
use crate::limits::Limits;
use crate::message::head::RequestHead;
use crate::protocol::Protocol;
use crate::protocol::date::{DateCache, HttpDate};
use crate::server::config::HttpConfig;

/// The connection is of no more use for HTTP; dropping it is all that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLost;

pub(crate) struct Conn(RefCell<State>);

struct State {
    /// `None` once it is closed or handed over.
    connection: Option<Connection>,
    protocol: Protocol,
    /// Received and not consumed; never empty.
    chunk: Option<Chunk>,
    read_deadline: ReadDeadline,
    /// The number of the request under way, from 1.
    request: u64,
    /// The request under way came with content, which somebody may be reading.
    has_body: bool,
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
enum ReadDeadline {
    None,
    /// The rest of a head. Not renewed by bytes that arrive.
    Head,
    /// The first byte of the next request.
    KeepAlive,
    /// More content.
    Content,
}

impl Conn {
    pub(crate) fn new(connection: Connection, config: Arc<HttpConfig>, limits: Arc<Limits>) -> Conn {
        let protocol = Protocol::new(limits).with_server(config.server.clone());
        connection.set_write_timeout(Some(config.write_timeout));
        Conn(RefCell::new(State {
            connection: Some(connection),
            protocol,
            chunk: None,
            read_deadline: ReadDeadline::None,
            request: 0,
            has_body: false,
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
        state.has_body.then_some(state.request)
    }

    /// Ready if the peer has reset the connection while nobody reads from it. Does not look while content is to be
    /// read: the reader sees it then.
    pub(crate) fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<ConnectionLost> {
        let mut state = self.0.borrow_mut();
        // The handler waits: by its answer, time will have passed.
        state.date = None;
        state.poll_lost(cx)
    }

    /// Waits for space for a piece of this size. A peer that takes nothing is given up by the write timeout.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<(), ConnectionLost>> {
        let mut state = self.0.borrow_mut();
        let polled = state.sender().map_or(Poll::Ready(Err(ConnectionLost)), |sender| {
            sender.poll_ready(cx, bytes).map_err(|_| ConnectionLost)
        });
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
    pub(crate) fn mark_incomplete(&self) {
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
}

impl State {
    fn sender(&self) -> Option<&ByteSender> {
        self.connection.as_ref().map(Connection::sender)
    }

    fn clear_read_deadline(&mut self) {
        if self.read_deadline != ReadDeadline::None {
            self.read_deadline = ReadDeadline::None;
            if let Some(connection) = &self.connection {
                connection.set_read_deadline(None);
            }
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
