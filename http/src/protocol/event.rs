//! The results of the protocol machine: what it received, and what to do next.

use std::ops::Range;

use http::HeaderMap;

use crate::message::head::RequestHead;

/// An event found at the start of the input.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The head of a request. [`Protocol::has_content`](crate::protocol::Protocol::has_content) says whether content
    /// follows.
    Head(RequestHead),
    /// Decoded content, at these positions of the input. It is the last if
    /// [`Protocol::has_content`](crate::protocol::Protocol::has_content) is false now.
    Content(Range<usize>),
    /// The end of content in the chunked coding, with the trailer section if there was one.
    End(Option<Box<HeaderMap>>),
}

/// The result of one call of [`Protocol::receive`](crate::protocol::Protocol::receive).
#[derive(Debug)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the input that are consumed, [`Event::Content`] included.
    pub consumed: usize,
    /// The event; `None` if more input is needed, or the exchange must end first.
    pub event: Option<Event>,
}

/// What to do next: the result of [`Protocol::advance`](crate::protocol::Protocol::advance).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Complete the response.
    Respond,
    /// Receive the rest of the request's content: [`Protocol::receive`](crate::protocol::Protocol::receive) discards
    /// it.
    Drain,
    /// Receive the next request.
    Receive,
    /// Close the connection once everything is sent.
    Close,
}

impl Progress {
    pub(crate) fn nothing(consumed: usize) -> Progress {
        Progress { consumed, event: None }
    }
}
