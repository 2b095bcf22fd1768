//! The writing machine: a response in, bytes out.
//!
//! Owns the state of the current response, its transitions, and the decision whether the connection persists. Called
//! through [`Protocol`].

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::{RequestError, ResponseError};
use crate::message::response::{Response, ResponseBody};
use crate::protocol::Protocol;
use crate::protocol::date::HttpDate;
use crate::protocol::encode::{
    CONTINUE, ConnectionField, LengthField, ProtocolFields, encode_chunk_size, encode_last_chunk,
};
use crate::protocol::exchange::{ContinueState, Exchange, Persistence, ResponseFraming, Upgradability, frame_response};
use crate::protocol::head_cache::write_head;
use crate::protocol::reading::Reading;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// No request to answer.
    Idle,
    /// A request awaits its response.
    Awaiting(Exchange),
    /// The head of the response is written.
    Content(ResponseFraming),
    /// The response is complete.
    Complete,
    /// The connection was upgraded to another protocol.
    Upgraded,
}

impl Protocol {
    /// Returns whether a request awaits its response, and nothing of that is written yet.
    pub fn is_awaiting_response(&self) -> bool {
        matches!(self.writing, Writing::Awaiting(_))
    }

    /// Returns whether the peer waits for 100 (Continue) before it sends content.
    pub fn awaits_continue(&self) -> bool {
        matches!(self.writing, Writing::Awaiting(exchange) if exchange.continue_state == ContinueState::Pending)
    }

    /// Writes 100 (Continue) if the peer waits for it, and returns whether it did. Call it when the content is first
    /// read (RFC 9110 section 10.1.1).
    pub fn send_continue(&mut self, out: &mut Vec<u8>) -> bool {
        match &mut self.writing {
            Writing::Awaiting(exchange) if exchange.continue_state == ContinueState::Pending => {
                exchange.continue_state = ContinueState::Settled;
                out.extend_from_slice(CONTINUE);
                true
            }
            _ => false,
        }
    }

    /// Writes the head of a response. `length` is the length of its content, if known.
    ///
    /// Write the content with [`content`](Protocol::content) and end it with [`finish`](Protocol::finish). Call both
    /// for every response: where it has no content (HEAD, 204, 205, 304) they write nothing.
    ///
    /// # Errors
    /// No request awaits a response, or the status is informational. Nothing is written.
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
        let (framing, field) = frame_response(&exchange, response, length);
        self.decide_persistence(&exchange, response, framing);
        let fields = ProtocolFields {
            length: field,
            connection: exchange.connection_field(self.persistence),
            date: &date,
            server: self.server.as_ref(),
        };
        write_head(response, &fields, out);
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

    /// Writes the bytes that go before a piece of content of this length, and returns those that go after it: for
    /// callers that send large pieces without a copy. `None`: the piece must not be sent.
    ///
    /// # Errors
    /// No response head was written, or the content is longer than announced. Nothing is written.
    pub fn begin_content(&mut self, length: usize, out: &mut Vec<u8>) -> Result<Option<&'static [u8]>, ResponseError> {
        let Writing::Content(framing) = &mut self.writing else {
            return Err(ResponseError::OutOfTurn);
        };
        match framing {
            ResponseFraming::Discarded => Ok(None),
            ResponseFraming::Length(left) => {
                *left = left.checked_sub(length as u64).ok_or(ResponseError::LengthMismatch)?;
                Ok(Some(b""))
            }
            ResponseFraming::UntilClose => Ok(Some(b"")),
            // An empty chunk would end the content.
            ResponseFraming::Chunked if length == 0 => Ok(None),
            ResponseFraming::Chunked => {
                encode_chunk_size(length, out);
                Ok(Some(b"\r\n"))
            }
        }
    }

    /// Returns whether content is sent at all: false for HEAD, 204, 205 and 304, where its producer need not run.
    pub fn wants_content(&self) -> bool {
        matches!(self.writing, Writing::Content(framing) if framing != ResponseFraming::Discarded)
    }

    /// Returns whether the response ends with the connection (HTTP/1.0), so that only a reset shows that it is
    /// incomplete.
    pub fn content_ends_with_connection(&self) -> bool {
        matches!(self.writing, Writing::Content(ResponseFraming::UntilClose))
    }

    /// Returns whether content of unknown length is sent in chunks, or until the connection closes; `None` if no such
    /// content is being sent.
    pub(crate) fn is_content_chunked(&self) -> Option<bool> {
        match self.writing {
            Writing::Content(ResponseFraming::Chunked) => Some(true),
            Writing::Content(ResponseFraming::UntilClose) => Some(false),
            _ => None,
        }
    }

    /// Ends the content, with the trailer section if the chunked coding is used.
    ///
    /// # Errors
    /// No response head was written, or the content is shorter than announced: the connection must be closed.
    pub fn finish(&mut self, trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), ResponseError> {
        let Writing::Content(framing) = self.writing else {
            return Err(ResponseError::OutOfTurn);
        };
        match framing {
            ResponseFraming::Length(0) | ResponseFraming::UntilClose | ResponseFraming::Discarded => {}
            ResponseFraming::Length(_) => return Err(ResponseError::LengthMismatch),
            ResponseFraming::Chunked => encode_last_chunk(trailers, out),
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
        if self.try_respond_like_last(response, content, &date, out) {
            return Ok(());
        }
        self.respond(response, Some(content.len() as u64), date, out)?;
        if self.wants_content() {
            out.extend_from_slice(content);
        }
        self.writing = Writing::Complete;
        Ok(())
    }

    /// Answers a refused request, unless its response has begun, and returns whether it did. The connection must be
    /// closed afterwards.
    pub fn refuse(&mut self, error: RequestError, date: HttpDate, out: &mut Vec<u8>) -> bool {
        self.refuse_with(Protocol::refusal(error), date, out)
    }

    /// Returns the answer to a refused request.
    pub(crate) fn refusal(error: RequestError) -> Response {
        Response::text(error.to_string()).with_status(error.status())
    }

    /// Answers a refused request with a response whose content is whole.
    pub(crate) fn refuse_with(&mut self, mut response: Response, date: HttpDate, out: &mut Vec<u8>) -> bool {
        self.end_reading();
        if self.writing == Writing::Idle {
            // Refused before its head was complete.
            self.writing = Writing::Awaiting(Exchange::UNKNOWN);
        }
        let text = match response.take_body() {
            ResponseBody::Bytes(text) => text,
            _ => Bytes::new(),
        };
        self.respond_whole(&response, &text, date, out).is_ok()
    }

    /// Writes 101 and ends HTTP on this connection: the peer's next bytes belong to the other protocol.
    ///
    /// # Errors
    /// The status is not 101, the peer did not ask for an upgrade, or content of the request is still to come, which
    /// would be taken for bytes of the other protocol. Nothing is written.
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
        write_head(response, &fields, out);
        self.reading = Reading::Ended;
        self.writing = Writing::Upgraded;
        Ok(())
    }

    /// Decides whether the connection persists after this response: its head announces it.
    fn decide_persistence(&mut self, exchange: &Exchange, response: &Response, framing: ResponseFraming) {
        // The peer was not asked for the content and can send it or not, so the next bytes are ambiguous.
        let undecided = exchange.continue_state == ContinueState::Pending;
        let too_much = match &self.reading {
            Reading::Content(decoder, _) => decoder.remaining().is_some_and(|left| left > self.limits.drain_bytes_max),
            _ => false,
        };
        if response.has_close_option() || undecided || too_much || framing == ResponseFraming::UntilClose {
            self.persistence = Persistence::Closing;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::protocol::date::DateCache;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn how_content_ends_is_known_while_it_is_sent() {
        for (request, length, chunked, ends_with_connection, wanted) in [
            (GET, None, Some(true), false, true),
            (GET, Some(1), None, false, true),
            ("GET / HTTP/1.0\r\n\r\n", None, Some(false), true, true),
            ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", None, None, false, false),
        ] {
            let mut protocol = Protocol::new(Arc::default());
            assert!(protocol.receive(request.as_bytes()).expect("valid").event.is_some());
            assert!(protocol.is_awaiting_response());
            let facts = |protocol: &Protocol| {
                (protocol.is_content_chunked(), protocol.content_ends_with_connection(), protocol.wants_content())
            };
            assert_eq!(facts(&protocol), (None, false, false), "no content is being sent");
            let (response, date) = (Response::text(""), DateCache::new().at(UNIX_EPOCH));
            protocol.respond(&response, length, date, &mut Vec::new()).expect("its turn");
            assert!(!protocol.is_awaiting_response());
            assert_eq!(facts(&protocol), (chunked, ends_with_connection, wanted), "{request:?}, {length:?}");
        }
    }

    #[test]
    fn a_peer_waits_for_continue_until_it_is_sent() {
        let mut protocol = Protocol::new(Arc::default());
        assert!(!protocol.is_awaiting_response() && !protocol.awaits_continue());
        let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        assert!(protocol.receive(post).expect("valid").event.is_some());
        assert!(protocol.awaits_continue());
        assert!(protocol.send_continue(&mut Vec::new()));
        assert!(!protocol.awaits_continue());
    }
}
