//! The server's side of one HTTP/1.1 connection as a state machine.
//!
//! # Theory of operation
//! Bytes of the peer go into [`Protocol::receive`] and come out as [`Event`]s; a response goes into
//! [`Protocol::respond`] and [`Protocol::content`] and comes out as bytes. Reading and writing are two machines that
//! meet only where one exchange ends and the next may begin, in [`Protocol::advance`]. The next request of a pipeline is
//! not looked at before, so requests are answered in their order and the peer's bytes wait where backpressure sees them.
//!
//! ```text
//! reading:  Head ──▶ Content ──▶ Complete ──┐        Ended: the peer's stream ended, the request was refused,
//!            ▲  └──────────────────▲        │               or another protocol took over. From every state.
//!            │                              │
//!            └────── advance() ─────────────┤
//!            ┌──────────────────────────────┘
//! writing:  Idle ──▶ Awaiting ──▶ Content ──▶ Complete
//! ```
//!
//! It never blocks, never reads a clock and never panics on what the peer sends. Every transition is in this file;
//! `one_step` takes several of them at a time where an exchange is as usual.
//! Idle, it holds no heap memory, but for the position in an empty line that some peers send after a request.

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
use crate::protocol::event::Next;
use crate::protocol::exchange::Persistence;
use crate::protocol::reading::{ContentUse, Reading};
use crate::protocol::writing::Writing;

/// HTTP/1.1 of one connection, the server's side, without I/O: bytes in, events and bytes out.
///
/// Reading and writing are independent within one exchange; [`advance`](Protocol::advance) goes on to the next one.
///
/// ```
/// use std::sync::Arc;
/// use bytes::Bytes;
/// use tidegate_http::{DateCache, Event, Limits, Next, Protocol, Response};
///
/// let mut protocol = Protocol::new(Arc::new(Limits::default()));
/// let progress = protocol.receive(b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n")?;
/// let Some(Event::Head(head)) = progress.event else { panic!("the head is whole") };
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
    /// The machine of a new connection.
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
    pub fn with_server(mut self, server: Option<HeaderValue>) -> Protocol {
        self.server = server;
        self
    }

    /// Makes the exchange under way the last one. Without one, [`advance`](Protocol::advance) says [`Next::Close`] at once.
    pub fn close_after_response(&mut self) {
        self.persistence = Persistence::Closing;
    }

    /// Goes on to the next request if both sides of the exchange are complete, and says what is to be done.
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
