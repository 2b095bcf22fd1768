//! A connection while it speaks HTTP: the engine's byte stream on one side, the protocol machine on the other.
//!
//! Owns the connection, the bytes received and not yet consumed, and the deadlines. `receive` gives the next head,
//! `content` feeds the request's body, `coalesce` and `respond` send. Shared by the task of the connection and the body
//! of the current request, on one thread; no borrow is held across an await. It decides nothing about HTTP: the
//! protocol machine does. When the connection is closed or upgraded, a body that still exists gives
//! [`BodyError::Finished`].

mod coalesce;
mod content;
mod extra;
mod receive;
mod respond;
mod shared_content;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tidegate_engine::time::Timer;
use tidegate_engine::{Address, ByteSender, Chunk, Connection};

pub(crate) use coalesce::Coalesced;
use extra::Extra;

use crate::error::BodyError;
use crate::limits::Limits;
use crate::message::head::RequestHead;
use crate::message::response::Response;
use crate::protocol::Protocol;
use crate::protocol::date::{DateCache, HttpDate};
use crate::server::config::HttpConfig;

/// The connection cannot be used for HTTP any more, and must be dropped. The reason is logged where it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionLost;

/// A connection that speaks HTTP.
pub(crate) struct Conn(RefCell<State>);

struct State {
    /// `None` once it is closed or upgraded.
    connection: Option<Connection>,
    protocol: Protocol,
    /// Bytes received and not consumed; never empty.
    chunk: Option<Chunk>,
    read_deadline: ReadDeadline,
    /// The number of the current request, from 1.
    request: u64,
    /// What has to be ended with the current request; a body that can be reading is one.
    ends: Ends,
    /// The reason why the content of the current request cannot be read further.
    failure: Option<BodyError>,
    /// The waker of the task that waits for content, which can be another than the connection's.
    reader: Option<Waker>,
    /// What few requests need.
    extra: Option<Box<Extra>>,
    /// Whether others than the connection's task send content of the current response, which is then the last one.
    shares_content: bool,
    /// The date of responses, read once for the requests of one chunk.
    date: Option<HttpDate>,
    config: Arc<HttpConfig>,
}

/// What has to be ended with a request: a set. Most requests have none of it, which one comparison shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends(u8);

impl Ends {
    /// The request has content, and so a body.
    const BODY: Ends = Ends(1);
    /// The request has settings of its route, or a record.
    const EXTRA: Ends = Ends(2);

    fn contains(self, other: Ends) -> bool {
        self.0 & other.0 != 0
    }

    fn insert(&mut self, other: Ends) {
        self.0 |= other.0;
    }
}

/// What the read deadline of the connection is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadDeadline {
    None,
    /// The rest of a head. Not renewed as bytes arrive.
    Head,
    /// The first byte of the next request.
    KeepAlive,
    /// More content.
    Content,
    /// The rest of content that nobody reads. Not renewed as bytes arrive.
    Drain,
}

impl Conn {
    /// `has_deadline` is whether the read deadline is set for the first head already.
    pub(crate) fn new(
        connection: Connection,
        config: Arc<HttpConfig>,
        limits: Arc<Limits>,
        has_deadline: bool,
    ) -> Conn {
        let protocol = Protocol::new(limits).with_server(config.server.clone());
        connection.set_write_timeout(config.write_timeout);
        Conn(RefCell::new(State {
            connection: Some(connection),
            protocol,
            chunk: None,
            read_deadline: if has_deadline { ReadDeadline::Head } else { ReadDeadline::None },
            request: 0,
            ends: Ends::default(),
            failure: None,
            reader: None,
            extra: None,
            shares_content: false,
            date: None,
            config,
        }))
    }

    /// Ends the current request and waits for the head of the next one; `None` if the connection must be closed.
    pub(crate) fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Option<RequestHead>> {
        let mut state = self.0.borrow_mut();
        if let Some(reader) = state.end_request() {
            drop(state);
            reader.wake();
            state = self.0.borrow_mut();
        }
        state.poll_head(cx)
    }

    /// The number of the current request, and whether it has content.
    pub(crate) fn current_request(&self) -> (u64, bool) {
        let state = self.0.borrow();
        (state.request, state.ends.contains(Ends::BODY))
    }

    /// Ready once the peer has gone, even if bytes are unread: it has reset the connection or, unless
    /// [`half_close`](HttpConfig::half_close) is set, ended its side of it.
    pub(crate) fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<ConnectionLost> {
        let mut state = self.0.borrow_mut();
        // The handler waits, so its response will need a new date.
        state.date = None;
        state.poll_lost(cx)
    }

    /// Waits for space for a piece of this size. The write timeout ends the wait for a peer that takes nothing.
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

    /// Shows an answer of the server to the application's `on_response`.
    #[cold]
    pub(crate) fn observe(&self, mut response: Response) -> Response {
        // Cloned: the function must not run while the state is borrowed.
        let on_response = self.0.borrow().config.observer().cloned();
        if let Some(on_response) = on_response {
            on_response.observe_current(&mut response);
        }
        response
    }

    /// Makes the current response the last one.
    pub(crate) fn close_after_response(&self) {
        self.0.borrow_mut().protocol.close_after_response();
    }

    /// Drops the connection: the engine sends what is queued, then closes it.
    pub(crate) fn close(&self) {
        let mut state = self.0.borrow_mut();
        state.chunk = None;
        if state.ends.contains(Ends::EXTRA) {
            // While the connection is there: the record says how much was sent.
            state.end_extra();
        }
        state.connection = None;
        let reader = state.end_request();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Resets the connection if the response ends with it, so that the peer sees that content is missing.
    pub(crate) fn mark_incomplete(&self) {
        let state = self.0.borrow();
        if state.protocol.content_ends_with_connection()
            && let Some(sender) = state.sender()
        {
            sender.abort();
        }
    }

    /// Returns the peer's address, for the log.
    pub(crate) fn peer(&self) -> Peer {
        self.0.borrow().peer()
    }

    /// Returns the timeout of the current handler, with the timer for it.
    pub(crate) fn handler_timeout(&self) -> Option<(Duration, Timer)> {
        let state = self.0.borrow();
        let timeout = state.config.handler_timeout.filter(|timeout| *timeout < Duration::MAX)?;
        Some((timeout, state.connection.as_ref()?.timer()))
    }
}

impl State {
    fn sender(&self) -> Option<&ByteSender> {
        self.connection.as_ref().map(Connection::sender)
    }

    /// Returns the peer's address, for the log.
    fn peer(&self) -> Peer {
        Peer(self.connection.as_ref().map(Connection::peer_addr))
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

/// The peer in a line of the log; `None` once the connection is closed.
pub(crate) struct Peer(Option<Address>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("a peer that has disconnected"),
        }
    }
}

/// Returns the current date, formatted at most once a second on each thread.
fn date_now() -> HttpDate {
    thread_local! {
        static CACHE: RefCell<DateCache> = const { RefCell::new(DateCache::new()) };
    }
    CACHE.with_borrow_mut(|cache| cache.at(SystemTime::now()))
}
