//! What the protocol machine says to its caller.

use std::ops::Range;

use http::HeaderMap;

use crate::message::head::RequestHead;

/// What was found at the start of the input.
#[derive(Debug)]
pub enum Event {
    /// A request begins. [`Protocol::has_content`](crate::Protocol::has_content) says whether content follows.
    Head(RequestHead),
    /// Content at these positions of the input, decoded. It is the last if [`Protocol::has_content`](crate::Protocol::has_content) is false now.
    Content(Range<usize>),
    /// Content in the chunked coding is complete, with the trailer section if there was one.
    End(Option<Box<HeaderMap>>),
}

/// What one call of [`Protocol::receive`](crate::Protocol::receive) did.
#[derive(Debug)]
pub struct Progress {
    /// Bytes of the input that are done with. The positions of [`Event::Content`] are among them.
    pub consumed: usize,
    /// `None`: more input is needed, or the exchange must end first.
    pub event: Option<Event>,
}

/// What is to be done between two requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The response is not complete.
    Respond,
    /// Content of the request is still to come: give it to [`Protocol::receive`](crate::Protocol::receive), which throws it away.
    Drain,
    /// The next request may be received.
    Receive,
    /// The connection is to be closed once everything is sent.
    Close,
}

impl Progress {
    pub(crate) fn nothing(consumed: usize) -> Progress {
        Progress { consumed, event: None }
    }
}
