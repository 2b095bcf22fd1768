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
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod limits;
pub(crate) mod parse;
pub(crate) mod scan;
pub(crate) mod target;

use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, StatusCode};

use crate::error::{RequestError, ResponseError};
use crate::protocol::content_decoder::{ContentDecoder, Found};
use crate::protocol::date::HttpDate;
use crate::protocol::encode::{
    CONTINUE, ConnectionField, LengthField, ProtocolFields, encode_chunk_size, encode_head, encode_last_chunk,
};
use crate::protocol::event::{Event, Next, Progress};
use crate::protocol::exchange::{Exchange, Expectation, Framing, Persistence, Upgradability, frame_response};
use crate::protocol::framing::Conclusion;
use crate::protocol::head::RequestHead;
use crate::protocol::limits::Limits;
use crate::protocol::parse::{parse_ahead, parse_head};
use crate::protocol::scan::{HeadScanner, PartialHead};
use crate::response::Response;

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

#[derive(Debug)]
enum Reading {
    /// Between requests, or within a head that came in pieces.
    Head(Option<Box<PartialHead>>),
    /// Within content.
    Content(ContentDecoder, Reader),
    /// The request was received whole.
    Complete,
    /// Nothing more is read.
    Ended,
}

#[derive(Debug)]
enum Reader {
    Handler,
    /// The response is complete; what is left of the content is thrown away up to a bound, beyond which the
    /// connection is not worth the work.
    Nobody {
        drained_bytes: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// There is no request to answer.
    Idle,
    /// A request waits for its response.
    Awaiting(Exchange),
    /// The head of the response is written.
    Content(Framing),
    /// The response is complete.
    Complete,
    /// Another protocol took over.
    Upgraded,
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

    /// Takes bytes of the peer, as many as make one event.
    ///
    /// # Errors
    /// The peer is refused. Nothing more is read; [`refuse`](Protocol::refuse) answers.
    pub fn receive(&mut self, input: &[u8]) -> Result<Progress, RequestError> {
        let result = match &mut self.reading {
            _ if input.is_empty() => Ok(Progress::nothing(0)),
            Reading::Head(_) => self.receive_head(input),
            Reading::Content(..) => self.receive_content(input),
            Reading::Complete => Ok(Progress::nothing(0)),
            Reading::Ended => Ok(Progress::nothing(input.len())),
        };
        if result.is_err() {
            self.end_reading();
        }
        result
    }

    /// The peer ended its stream; it may still wait for a response.
    ///
    /// # Errors
    /// It did so within a request.
    pub fn receive_end(&mut self) -> Result<(), RequestError> {
        let complete = match &self.reading {
            Reading::Head(_) => !self.is_in_head(),
            Reading::Content(_, reader) => matches!(reader, Reader::Nobody { .. }),
            Reading::Complete | Reading::Ended => true,
        };
        self.end_reading();
        if complete { Ok(()) } else { Err(RequestError::Incomplete) }
    }

    /// Whether part of a head was received: the time for the header timeout runs. The empty line that may come before
    /// a head (RFC 9112, section 2.2) is no part of it.
    pub fn is_in_head(&self) -> bool {
        matches!(&self.reading, Reading::Head(Some(partial)) if !partial.scanner.is_blank())
    }

    /// Whether content of the request under way is still to come.
    pub fn has_content(&self) -> bool {
        matches!(self.reading, Reading::Content(_, Reader::Handler))
    }

    /// The announced length of the content still to come; `None` for the chunked coding.
    pub fn content_remaining(&self) -> Option<u64> {
        match &self.reading {
            Reading::Content(decoder, _) => decoder.remaining(),
            _ => Some(0),
        }
    }

    /// Whether a request waits for its response and nothing of that was written.
    pub fn is_awaiting_response(&self) -> bool {
        matches!(self.writing, Writing::Awaiting(_))
    }

    /// Whether the peer waits for 100 (Continue) before it sends content.
    pub fn awaits_continue(&self) -> bool {
        matches!(self.writing, Writing::Awaiting(exchange) if exchange.expectation == Expectation::Pending)
    }

    /// Writes 100 (Continue) if the peer waits for it. To be called when the content is first asked for (RFC 9110,
    /// section 10.1.1). Says whether something was written.
    pub fn send_continue(&mut self, out: &mut Vec<u8>) -> bool {
        match &mut self.writing {
            Writing::Awaiting(exchange) if exchange.expectation == Expectation::Pending => {
                exchange.expectation = Expectation::Met;
                out.extend_from_slice(CONTINUE);
                true
            }
            _ => false,
        }
    }

    /// Makes the exchange under way the last one. Without one, [`advance`](Protocol::advance) says [`Next::Close`] at once.
    pub fn close_after_response(&mut self) {
        self.persistence = Persistence::Closing;
    }

    /// Writes the head of a response. `length` is that of the content to come, if known.
    ///
    /// Give the content with [`content`](Protocol::content) and end it with [`finish`](Protocol::finish), both also
    /// where the response is sent without content (HEAD, 204, 304): they know.
    ///
    /// # Errors
    /// There is no request to answer, or the status is informational. Nothing is written.
    pub fn respond(
        &mut self,
        response: &Response,
        length: Option<u64>,
        date: HttpDate,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponseError> {
        let Writing::Awaiting(exchange) = self.writing else {
            return Err(ResponseError::OutOfTurn);
        };
        if response.status().is_informational() {
            return Err(ResponseError::Status);
        }
        let (framing, field) = frame_response(&exchange, response.status(), length);
        self.decide_persistence(&exchange, response, framing);
        let fields = ProtocolFields {
            length: field,
            connection: exchange.connection_field(self.persistence),
            date: &date,
            server: self.server.as_ref(),
        };
        encode_head(response, &fields, out);
        self.writing = Writing::Content(framing);
        Ok(())
    }

    /// Writes a piece of content.
    ///
    /// # Errors
    /// As [`begin_content`](Protocol::begin_content). Nothing is written.
    pub fn content(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), ResponseError> {
        if let Some(suffix) = self.begin_content(piece.len(), out)? {
            out.extend_from_slice(piece);
            out.extend_from_slice(suffix);
        }
        Ok(())
    }

    /// Writes what comes before a piece of content of this length, and gives what must come after it, for callers who
    /// send large pieces without a copy. `None`: the piece must not be sent.
    ///
    /// # Errors
    /// No response head was written, or more content is given than was announced. Nothing is written.
    pub fn begin_content(&mut self, length: usize, out: &mut Vec<u8>) -> Result<Option<&'static [u8]>, ResponseError> {
        let Writing::Content(framing) = &mut self.writing else {
            return Err(ResponseError::OutOfTurn);
        };
        match framing {
            Framing::Discarded => Ok(None),
            Framing::Length(left) => {
                *left = left.checked_sub(length as u64).ok_or(ResponseError::LengthMismatch)?;
                Ok(Some(b""))
            }
            Framing::UntilClose => Ok(Some(b"")),
            // An empty chunk would end the content.
            Framing::Chunked if length == 0 => Ok(None),
            Framing::Chunked => {
                encode_chunk_size(length, out);
                Ok(Some(b"\r\n"))
            }
        }
    }

    /// Whether content given now is sent at all; `false` for HEAD, 204 and 304. A producer need not be asked then.
    pub fn wants_content(&self) -> bool {
        matches!(self.writing, Writing::Content(framing) if framing != Framing::Discarded)
    }

    /// Whether the response under way ends with the connection (HTTP/1.0): only a reset shows that it is incomplete.
    pub fn content_ends_with_connection(&self) -> bool {
        matches!(self.writing, Writing::Content(Framing::UntilClose))
    }

    /// Ends the content, with a trailer section if the chunked coding is used.
    ///
    /// # Errors
    /// No response head was written, or less content was given than was announced: the connection must be closed.
    pub fn finish(&mut self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        let Writing::Content(framing) = self.writing else {
            return Err(ResponseError::OutOfTurn);
        };
        match framing {
            Framing::Length(0) | Framing::UntilClose | Framing::Discarded => {}
            Framing::Length(_) => return Err(ResponseError::LengthMismatch),
            Framing::Chunked => encode_last_chunk(trailers, out),
        }
        self.writing = Writing::Complete;
        Ok(())
    }

    /// Writes a whole response.
    ///
    /// # Errors
    /// As [`respond`](Protocol::respond).
    pub fn respond_whole(
        &mut self,
        response: &Response,
        content: &Bytes,
        date: HttpDate,
        out: &mut Vec<u8>,
    ) -> Result<(), ResponseError> {
        if self.respond_same(response, content, &date, out) {
            return Ok(());
        }
        self.respond(response, Some(content.len() as u64), date, out)?;
        if self.wants_content() {
            out.extend_from_slice(content);
        }
        self.writing = Writing::Complete;
        Ok(())
    }

    /// Answers a refused request, unless an answer was begun. The connection closes afterwards.
    ///
    /// Says whether something was written.
    pub fn refuse(&mut self, error: RequestError, date: HttpDate, out: &mut Vec<u8>) -> bool {
        self.end_reading();
        if self.writing == Writing::Idle {
            // Refused before the head was understood: answered in the most careful way.
            self.writing = Writing::Awaiting(Exchange::UNKNOWN);
        }
        let text = Bytes::from(error.to_string());
        let response = Response::text("").with_status(error.status());
        self.respond_whole(&response, &text, date, out).is_ok()
    }

    /// Writes 101 and ends HTTP on this connection: the peer's next bytes belong to the other protocol.
    ///
    /// # Errors
    /// The status is not 101, the peer did not ask for an upgrade, or content of the request is still to come, which
    /// would be taken for the other protocol's. Nothing is written.
    pub fn upgrade(&mut self, response: &Response, date: HttpDate, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        let Writing::Awaiting(exchange) = self.writing else {
            return Err(ResponseError::OutOfTurn);
        };
        let asked = exchange.upgrade == Upgradability::Asked;
        let received = matches!(self.reading, Reading::Complete);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS || !asked || !received {
            return Err(ResponseError::Status);
        }
        let fields = ProtocolFields {
            length: LengthField::Absent,
            connection: ConnectionField::Upgrade,
            date: &date,
            server: self.server.as_ref(),
        };
        encode_head(response, &fields, out);
        self.reading = Reading::Ended;
        self.writing = Writing::Upgraded;
        Ok(())
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
            Reading::Content(decoder, reader) => {
                let reader = match reader {
                    Reader::Handler => Reader::Nobody { drained_bytes: 0 },
                    nobody @ Reader::Nobody { .. } => nobody,
                };
                self.reading = Reading::Content(decoder, reader);
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

    fn receive_head(&mut self, input: &[u8]) -> Result<Progress, RequestError> {
        let Reading::Head(partial) = &mut self.reading else {
            return Ok(Progress::nothing(0));
        };
        if partial.is_none()
            && let Some((head, conclusion, length)) = parse_ahead(input, &self.limits)
        {
            self.begin_exchange(&head, &conclusion);
            return Ok(Progress { consumed: length, event: Some(Event::Head(head)) });
        }
        let mut fresh = HeadScanner::default();
        let scanner = match partial {
            Some(partial) => &mut partial.scanner,
            None => &mut fresh,
        };
        let Some(end) = scanner.scan(input, &self.limits)? else {
            let partial = partial.get_or_insert_with(|| Box::new(PartialHead { scanner: fresh, bytes: Vec::new() }));
            partial.bytes.extend_from_slice(input);
            return Ok(Progress::nothing(input.len()));
        };
        let (head, conclusion) = match partial {
            Some(partial) => {
                partial.bytes.extend_from_slice(&input[..end]);
                parse_head(&partial.bytes, &self.limits)?
            }
            None => parse_head(&input[..end], &self.limits)?,
        };
        self.begin_exchange(&head, &conclusion);
        Ok(Progress { consumed: end, event: Some(Event::Head(head)) })
    }

    fn begin_exchange(&mut self, head: &RequestHead, conclusion: &Conclusion) {
        self.reading = match ContentDecoder::new(conclusion.framing) {
            Some(decoder) => Reading::Content(decoder, Reader::Handler),
            None => Reading::Complete,
        };
        if !conclusion.persistent {
            self.persistence = Persistence::Closing;
        }
        self.writing = Writing::Awaiting(Exchange::new(head, conclusion));
    }

    fn receive_content(&mut self, input: &[u8]) -> Result<Progress, RequestError> {
        let Reading::Content(decoder, reader) = &mut self.reading else {
            return Ok(Progress::nothing(0));
        };
        let decoded = decoder.decode(input, &self.limits)?;
        let complete = decoder.remaining() == Some(0) || matches!(decoded.found, Found::End(_));
        let event = match reader {
            Reader::Handler => match decoded.found {
                Found::Nothing => None,
                Found::Content(range) => Some(Event::Content(range)),
                Found::End(trailers) => Some(Event::End(trailers)),
            },
            Reader::Nobody { drained_bytes } => {
                *drained_bytes += decoded.consumed as u64;
                if *drained_bytes > self.limits.drain_bytes_max {
                    self.end_reading();
                    return Ok(Progress::nothing(decoded.consumed));
                }
                None
            }
        };
        // RFC 9110, section 10.1.1: 100 may be left out once content arrives.
        if let Writing::Awaiting(exchange) = &mut self.writing
            && exchange.expectation == Expectation::Pending
        {
            exchange.expectation = Expectation::Met;
        }
        if complete {
            self.reading = Reading::Complete;
        }
        Ok(Progress { consumed: decoded.consumed, event })
    }

    /// Whether the connection persists after this response is announced in its head, and must be known by then.
    fn decide_persistence(&mut self, exchange: &Exchange, response: &Response, framing: Framing) {
        // The peer may or may not send the content it was not asked for: what follows cannot be told.
        let undecided = exchange.expectation == Expectation::Pending;
        let too_much = match &self.reading {
            Reading::Content(decoder, _) => decoder.remaining().is_some_and(|left| left > self.limits.drain_bytes_max),
            _ => false,
        };
        if response.asks_to_close() || undecided || too_much || framing == Framing::UntilClose {
            self.persistence = Persistence::Closing;
        }
    }

    fn end_reading(&mut self) {
        self.reading = Reading::Ended;
        self.persistence = Persistence::Closing;
    }
}
