//! The reading machine: the peer's bytes in, events out.
//!
//! Owns the state of the current request, and its transitions. Called through [`Protocol`].

use crate::error::RequestError;
use crate::message::conclusion::Conclusion;
use crate::message::head::RequestHead;
use crate::protocol::Protocol;
use crate::protocol::content_decoder::{ContentDecoder, Found};
use crate::protocol::event::{Event, Progress};
use crate::protocol::exchange::{ContinueState, Exchange, Persistence};
use crate::protocol::parse::{parse_head, parse_unscanned};
use crate::protocol::scan::{HeadScanner, PartialHead};
use crate::protocol::writing::Writing;

#[derive(Debug)]
pub(super) enum Reading {
    /// Between requests, or within a head that arrives in pieces.
    Head(Option<Box<PartialHead>>),
    /// Within content.
    Content(ContentDecoder, ContentUse),
    /// The request is complete.
    Complete,
    /// Nothing more is read.
    Ended,
}

#[derive(Debug)]
pub(super) enum ContentUse {
    /// The handler can read it.
    Handler,
    /// The response is complete: the rest of the content is discarded, up to
    /// [`drain_bytes_max`](crate::Limits::drain_bytes_max) bytes.
    Discarded { drained_bytes: u64 },
}

impl Protocol {
    /// Receives bytes of the peer, up to one event.
    ///
    /// # Errors
    /// The request is refused. Nothing more is read; answer with [`refuse`](Protocol::refuse).
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

    /// Receives the end of the peer's stream. The peer can still wait for a response.
    ///
    /// # Errors
    /// [`RequestError::Incomplete`] if the stream ended within a request.
    pub fn receive_end(&mut self) -> Result<(), RequestError> {
        let complete = match &self.reading {
            Reading::Head(_) => !self.is_in_head(),
            Reading::Content(_, content_use) => matches!(content_use, ContentUse::Discarded { .. }),
            Reading::Complete | Reading::Ended => true,
        };
        self.end_reading();
        if complete { Ok(()) } else { Err(RequestError::Incomplete) }
    }

    /// Returns whether a part of a head was received, so that the header timeout runs. An empty line before the head
    /// (RFC 9112 section 2.2) does not count.
    pub fn is_in_head(&self) -> bool {
        matches!(&self.reading, Reading::Head(Some(partial)) if !partial.scanner.is_blank())
    }

    /// Returns whether the request has content left to receive.
    pub fn has_content(&self) -> bool {
        matches!(self.reading, Reading::Content(_, ContentUse::Handler))
    }

    /// Returns the bytes of content still to come; `None` for the chunked coding.
    pub fn content_remaining(&self) -> Option<u64> {
        match &self.reading {
            Reading::Content(decoder, _) => decoder.remaining(),
            _ => Some(0),
        }
    }

    fn receive_head(&mut self, input: &[u8]) -> Result<Progress, RequestError> {
        let Reading::Head(partial) = &mut self.reading else {
            return Ok(Progress::nothing(0));
        };
        if partial.is_none()
            && let Some((head, conclusion, length)) = parse_unscanned(input, &self.limits)
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

    #[inline]
    pub(super) fn begin_exchange(&mut self, head: &RequestHead, conclusion: &Conclusion) {
        self.reading = match ContentDecoder::new(conclusion.framing) {
            Some(decoder) => Reading::Content(decoder, ContentUse::Handler),
            None => Reading::Complete,
        };
        if !conclusion.persistent {
            self.persistence = Persistence::Closing;
        }
        self.writing = Writing::Awaiting(Exchange::new(head, conclusion));
    }

    fn receive_content(&mut self, input: &[u8]) -> Result<Progress, RequestError> {
        let Reading::Content(decoder, content_use) = &mut self.reading else {
            return Ok(Progress::nothing(0));
        };
        // Discarding ends at the first byte beyond the bound, unread, wherever the input was cut.
        let input = match content_use {
            ContentUse::Handler => input,
            ContentUse::Discarded { drained_bytes } => {
                let left = self.limits.drain_bytes_max - *drained_bytes;
                if left == 0 {
                    self.end_reading();
                    return Ok(Progress::nothing(input.len()));
                }
                &input[..usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))]
            }
        };
        let decoded = decoder.decode(input, &self.limits)?;
        let complete = decoder.remaining() == Some(0) || matches!(decoded.found, Found::End(_));
        let event = match content_use {
            ContentUse::Handler => match decoded.found {
                Found::Nothing => None,
                Found::Content(range) => Some(Event::Content(range)),
                Found::End(trailers) => Some(Event::End(trailers)),
            },
            ContentUse::Discarded { drained_bytes } => {
                *drained_bytes += decoded.consumed as u64;
                None
            }
        };
        // RFC 9110 section 10.1.1: 100 can be omitted once content arrives.
        if let Writing::Awaiting(exchange) = &mut self.writing
            && exchange.continue_state == ContinueState::Pending
        {
            exchange.continue_state = ContinueState::Settled;
        }
        if complete {
            self.reading = Reading::Complete;
        }
        Ok(Progress { consumed: decoded.consumed, event })
    }

    pub(super) fn end_reading(&mut self) {
        self.reading = Reading::Ended;
        self.persistence = Persistence::Closing;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::Limits;

    #[test]
    fn replaced_limits_hold_for_the_rest_of_the_request() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut protocol = Protocol::new(Arc::default());
        assert!(protocol.receive(head).expect("valid").event.is_some());
        let limits = Arc::new(Limits::default().body_bytes_max(2));
        protocol.set_limits(Arc::clone(&limits));
        assert!(Arc::ptr_eq(protocol.limits(), &limits));
        assert_eq!(protocol.receive(b"3\r\n").err(), Some(RequestError::BodyTooLarge));
    }
}
