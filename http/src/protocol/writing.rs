//! The writing machine: a response in, bytes out.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::error::{RequestError, ResponseError};
use crate::message::response::Response;
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
    /// There is no request to answer.
    Idle,
    /// A request waits for its response.
    Awaiting(Exchange),
    /// The head of the response is written.
    Content(ResponseFraming),
    /// The response is complete.
    Complete,
    /// Another protocol took over.
    Upgraded,
}

impl Protocol {
    /// Whether a request waits for its response and nothing of that was written.
    pub fn is_awaiting_response(&self) -> bool {
        matches!(self.writing, Writing::Awaiting(_))
    }

    /// Whether the peer waits for 100 (Continue) before it sends content.
    pub fn awaits_continue(&self) -> bool {
        matches!(self.writing, Writing::Awaiting(exchange) if exchange.continue_state == ContinueState::Pending)
    }

    /// Writes 100 (Continue) if the peer waits for it. To be called when the content is first asked for (RFC 9110,
    /// section 10.1.1). Says whether something was written.
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

    /// Whether content given now is sent at all; `false` for HEAD, 204 and 304. A producer need not be asked then.
    pub fn wants_content(&self) -> bool {
        matches!(self.writing, Writing::Content(framing) if framing != ResponseFraming::Discarded)
    }

    /// Whether the response under way ends with the connection (HTTP/1.0): only a reset shows that it is incomplete.
    pub fn content_ends_with_connection(&self) -> bool {
        matches!(self.writing, Writing::Content(ResponseFraming::UntilClose))
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
        write_head(response, &fields, out);
        self.reading = Reading::Ended;
        self.writing = Writing::Upgraded;
        Ok(())
    }

    /// Whether the connection persists after this response is announced in its head, and must be known by then.
    fn decide_persistence(&mut self, exchange: &Exchange, response: &Response, framing: ResponseFraming) {
        // The peer may or may not send the content it was not asked for: what follows cannot be told.
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
