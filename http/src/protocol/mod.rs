//! The server side of one HTTP/1.1 connection as a state machine.
//!
//! # Theory of operation
//! The peer's bytes go into [`Protocol::receive`] and come out as [`Event`]s; a response goes into
//! [`Protocol::respond`] and [`Protocol::content`] and comes out as bytes. Reading and writing are two machines, in
//! `reading` and `writing`, that meet only where one exchange ends and the next can begin: in [`Protocol::advance`].
//! The next request of a pipeline is not read before that, so requests are answered in order, and the peer's bytes wait
//! where backpressure sees them.
//!
//! ```text
//! reading:  Head ──▶ Content ──▶ Complete ──┐        Ended, from every state: the peer's stream ended, the request
//!            ▲  └──────────────────▲        │               was refused, or the connection was upgraded.
//!            │                              │
//!            └────── advance() ─────────────┤
//!            ┌──────────────────────────────┘
//! writing:  Idle ──▶ Awaiting ──▶ Content ──▶ Complete
//! ```
//!
//! It never blocks, reads no clock, and never panics on the peer's bytes. Every transition is here, in `reading` and in
//! `writing`; `fast_path` takes several at a time for the common exchange. An idle machine holds no heap memory, except
//! after an empty line that some peers send after a request.

pub(crate) mod content_decoder;
pub(crate) mod date;
pub(crate) mod encode;
pub(crate) mod event;
pub(crate) mod exchange;
mod fast_path;
pub(crate) mod head_cache;
pub(crate) mod header_facts;
pub(crate) mod parse;
mod reading;
pub(crate) mod scan;
pub(crate) mod target;
mod writing;

use std::sync::Arc;

use http::header::HeaderValue;

use crate::limits::Limits;
use crate::protocol::exchange::Persistence;
use crate::protocol::reading::{ContentUse, Reading};
use crate::protocol::writing::Writing;

pub use crate::error::{RequestError, ResponseError};
pub use date::{DateCache, HttpDate};
pub use event::{Event, Next, Progress};

/// HTTP/1.1 for one connection, server side, without I/O: bytes in, events and bytes out.
///
/// [`Server`](crate::Server) runs it; use it directly to serve HTTP over another transport, or in tests. The order of
/// calls:
///
/// 1. [`receive`](Protocol::receive) the peer's bytes until it gives [`Event::Head`], then
///    [`Event::Content`] while [`has_content`](Protocol::has_content).
/// 2. Answer with [`respond_whole`](Protocol::respond_whole), or [`respond`](Protocol::respond),
///    [`content`](Protocol::content) and [`finish`](Protocol::finish). Reading and writing are independent within one
///    exchange: the response can begin before the content has arrived.
/// 3. [`advance`](Protocol::advance), which says whether to receive the next request or to close.
///
/// ```
/// use std::sync::Arc;
/// use bytes::Bytes;
/// use tidegate_http::protocol::{DateCache, Event, Next, Protocol};
/// use tidegate_http::{Limits, Response};
///
/// let mut protocol = Protocol::new(Arc::new(Limits::default()));
/// let progress = protocol.receive(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n")?;
/// let Some(Event::Head(head)) = progress.event else { panic!("the head is complete") };
/// assert_eq!(head.path(), "/a");
///
/// let mut out = Vec::new();
/// let date = DateCache::new().at(std::time::SystemTime::now());
/// let content = Bytes::from_static(b"Hello");
/// protocol.respond_whole(&Response::text(""), &content, date, &mut out)?;
/// assert!(out.ends_with(b"\r\n\r\nHello"));
/// assert_eq!(protocol.advance(), Next::Receive);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Protocol {
    limits: Arc<Limits>,
    server: Option<HeaderValue>,
    reading: Reading,
    writing: Writing,
    persistence: Persistence,
}

impl Protocol {
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Replaces the limits, for the rest of a request or from the next one on.
    pub(crate) fn set_limits(&mut self, limits: Arc<Limits>) {
        self.limits = limits;
    }
}

impl Protocol {
    /// Creates the machine of a new connection.
    pub fn new(limits: Arc<Limits>) -> Protocol {
        Protocol {
            limits,
            server: None,
            reading: Reading::Head(None),
            writing: Writing::Idle,
            persistence: Persistence::Persistent,
        }
    }

    /// Sends a Server field in every response. Default: none.
    #[must_use]
    pub fn with_server(mut self, server: Option<HeaderValue>) -> Protocol {
        self.server = server;
        self
    }

    /// Makes the current exchange the last one. Between exchanges, [`advance`](Protocol::advance) returns
    /// [`Next::Close`].
    pub fn close_after_response(&mut self) {
        self.persistence = Persistence::Closing;
    }

    /// Advances to the next request if both sides of the exchange are complete, and returns what to do next.
    pub fn advance(&mut self) -> Next {
        match self.writing {
            Writing::Awaiting(_) | Writing::Content(_) => return Next::Respond,
            Writing::Upgraded => return Next::Close,
            Writing::Idle | Writing::Complete => {}
        }
        if self.persistence == Persistence::Closing {
            return Next::Close;
        }
        match std::mem::replace(&mut self.reading, Reading::Ended) {
            Reading::Content(decoder, content_use) => {
                let content_use = match content_use {
                    ContentUse::Handler => ContentUse::Discarded { drained_bytes: 0 },
                    discarded @ ContentUse::Discarded { .. } => discarded,
                };
                self.reading = Reading::Content(decoder, content_use);
                Next::Drain
            }
            Reading::Complete => {
                self.reading = Reading::Head(None);
                self.writing = Writing::Idle;
                Next::Receive
            }
            reading @ Reading::Head(_) => {
                self.reading = reading;
                Next::Receive
            }
            Reading::Ended => Next::Close,
        }
    }
}
