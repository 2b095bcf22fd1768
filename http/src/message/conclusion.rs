//! The meaning of a request's fields for its content and its connection.
//!
//! Plain values. `protocol::header_facts` draws the conclusion; it is kept with the head, because an equal head has the
//! same meaning.

/// How the end of a request's content is determined (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// There is no content.
    None,
    /// The number of bytes, never zero.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
}

/// The meaning of a request's fields for its content and its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conclusion {
    pub(crate) framing: RequestFraming,
    /// Whether another request can follow.
    pub(crate) persistent: bool,
    /// Whether the peer waits for 100 (Continue) before it sends content.
    pub(crate) expects_continue: bool,
    /// Whether the peer asks for another protocol and is allowed to.
    pub(crate) upgrade: bool,
}
